#!/usr/bin/env bash
# Runs many smokes of each kind. None may fail, hang, or leave a process, a file or shared memory behind; nor may those of the
# kind `killed`, whose supervisor gets SIGKILL at a random moment of its run.
# Needs root for namespaces, and target/release/nixl-retrofit.
# usage: tests/soak.sh [--here] [COUNT [KIND]...]
#   --here  in this machine's own network; libfabric is told to use tcp
#   COUNT   runs of each kind [200]
#   KIND    only these: nixl-ucx nixl-libfabric native-ucx native-libfabric two-machines killed

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
all='nixl-ucx nixl-libfabric native-ucx native-libfabric two-machines killed'

arguments=("$@")
if [ "${1:-}" = --here ]; then
    keeps_network=yes
    shift
    export FI_PROVIDER=tcp # psm3, which comes with rdma-core, outranks it
fi
count=${1:-200}
[[ $count =~ ^[1-9][0-9]*$ ]] || usage
kinds=("${@:2}")
[ ${#kinds[@]} != 0 ] || read -ra kinds <<<"$all"
for kind in "${kinds[@]}"; do [[ " $all " == *" $kind "* ]] || usage; done
need_program
environment=$(tests/lab.sh env 1.5.0 none)
libfabric=$(tests/lab.sh libfabric)
isolate "${arguments[@]}"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Every process of a smoke inherits these, so leavings can find it and its temporary files.
export SOAK_MARK=soak-$$ TMPDIR=$scratch/temporary
mkdir "$TMPDIR"

# Lists files, shared memory segments and processes of smokes.
leavings() {
    ls -A /dev/shm "$TMPDIR"
    awk '{ print $2 }' /proc/sysvipc/shm
    # A process may end in the meantime.
    { grep -lsz "^SOAK_MARK=$SOAK_MARK\$" /proc/[0-9]*/environ || true; } | while read -r file; do
        tr '\0' ' ' 2>/dev/null <"${file%environ}cmdline" | grep nixl-retrofit || true
    done
}

smoke() { timeout 90 "$program" smoke --size 16M "$@" "$environment"; }

# A smoke takes 0.4 to 0.8 s. What it has started ends once the janitor has removed what it left.
killed() {
    local backend=UCX more=() supervisor status=0 _
    if [ $((RANDOM % 2)) = 0 ]; then backend=LIBFABRIC more=(--library-path "$libfabric"); fi
    "$program" smoke --size 16M --backend "$backend" "${more[@]}" "$environment" &
    supervisor=$!
    sleep "0.$(printf %03d $((RANDOM % 700)))"
    kill -KILL "$supervisor" 2>/dev/null || true
    wait "$supervisor" 2>/dev/null || status=$?
    for _ in $(seq 300); do
        leavings | cmp -s - "$scratch/before" && break
        sleep 0.01
    done
    leavings | diff "$scratch/before" - || return 1
    if [ "$status" = 137 ]; then ended=$((ended + 1)); fi
    echo 'smoke passed: or killed'
}

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
        killed) killed ;;
    esac
}

passed=0 failed=0
for kind in "${kinds[@]}"; do
    leavings >"$scratch/before"
    begin=$SECONDS bad=0 ended=0
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
    [ "$kind" != killed ] || printf '%s: %d supervisors ended by SIGKILL\n' "$kind" "$ended"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
