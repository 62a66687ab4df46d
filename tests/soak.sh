#!/usr/bin/env bash
# Smokes of each kind one after the other: none may fail, hang, or leave a process, a file or shared memory behind.
# Needs root, for a network namespace, and target/release/nixl-retrofit.
# usage: tests/soak.sh [COUNT [KIND]...]
#   COUNT   of each kind (200)
#   KIND    only these: nixl-ucx nixl-libfabric native-ucx native-libfabric two-machines
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=$PWD/target/release/nixl-retrofit
all='nixl-ucx nixl-libfabric native-ucx native-libfabric two-machines'
fail() { printf 'soak: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '/^# usage:/,/^set/{/^set/d; s/^# //p}' "$0" >&2; exit 2; }

count=${1:-200}
[[ $count =~ ^[1-9][0-9]*$ ]] || usage
kinds=("${@:2}")
[ ${#kinds[@]} != 0 ] || read -ra kinds <<<"$all"
for kind in "${kinds[@]}"; do [[ " $all " == *" $kind "* ]] || usage; done
[ -x "$program" ] || fail 'target/release/nixl-retrofit is missing: cargo build --release --locked'
[ "$(id -u)" = 0 ] || fail 'a network namespace of its own needs root: run this as root'
if [ -z "${SOAK_NAMESPACE:-}" ]; then
    environment=$(tests/lab.sh env 1.5.0 none)
    libfabric=$(tests/lab.sh libfabric)
    export environment libfabric SOAK_NAMESPACE=yes
    exec unshare --net "$0" "$count" "${kinds[@]}"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 10.9.0.1/24 dev v0
ip link set v0 up
ip link set v1 up
for _ in $(seq 50); do
    ip -oneline link show v0 | grep -q 'state UP' && break
    sleep 0.1
done
# What a smoke starts carries this in its environment, and has its temporary files here.
export SOAK_MARK=soak-$$ TMPDIR=$scratch/temporary
mkdir "$TMPDIR"

# Files, shared memory segments and our processes, but for this script's.
leavings() {
    ls -A /dev/shm "$TMPDIR"
    awk '{ print $2 }' /proc/sysvipc/shm
    # Processes end while this looks.
    { grep -lsz "^SOAK_MARK=$SOAK_MARK\$" /proc/[0-9]*/environ || true; } | while read -r file; do
        tr '\0' ' ' 2>/dev/null <"${file%environ}cmdline" | grep nixl-retrofit || true
    done
}

smoke() { timeout 90 "$program" smoke --size 16M "$@" "$environment"; }

one() {
    case $1 in
        nixl-ucx) smoke --backend UCX ;;
        nixl-libfabric) smoke --backend LIBFABRIC --library-path "$libfabric" ;;
        native-ucx) smoke --engine native --backend UCX ;;
        native-libfabric) smoke --engine native --backend LIBFABRIC --library-path "$libfabric" ;;
        two-machines)
            smoke --listen 127.0.0.1:7000 >"$scratch/listening" 2>&1 &
            local listening=$!
            smoke --connect 127.0.0.1:7000 --backend UCX
            wait "$listening"
            ;;
    esac
}

passed=0 failed=0
for kind in "${kinds[@]}"; do
    leavings >"$scratch/before"
    begin=$SECONDS bad=0
    for number in $(seq "$count"); do
        if one "$kind" >"$scratch/output" 2>&1 && grep -q '^smoke passed' "$scratch/output"; then
            passed=$((passed + 1))
        else
            bad=$((bad + 1))
            printf '%s, run %d:\n' "$kind" "$number"
            cat "$scratch/output"
        fi
    done
    leavings >"$scratch/after"
    if ! diff "$scratch/before" "$scratch/after" >"$scratch/left"; then
        printf '%s left behind:\n' "$kind"
        cat "$scratch/left"
        bad=$((bad + 1))
    fi
    failed=$((failed + bad))
    printf '%s: %d runs in %d s, %d bad\n' "$kind" "$count" $((SECONDS - begin)) "$bad"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
