#!/usr/bin/env bash
# Passes all tests; what is missing is installed by root with apt-get, and named otherwise. Nothing is skipped.
# usage: tests/run.sh [--all-releases] [STAGE]...
#   --all-releases   every stable Dynamo release and the newest nightly, in place of one of each distinct source
#   STAGE            only these: format lint build tests releases quickstart docker benchmark bandwidth
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stages='format lint build tests releases quickstart docker benchmark bandwidth'
releases=()
chosen=()
for argument in "$@"; do
    case " $stages --all-releases " in
        *" $argument "*) ;;
        *) sed -n '/^# usage:/,/^set/{/^set/d; s/^# //p}' "$0" >&2; exit 2 ;;
    esac
    if [ "$argument" = --all-releases ]; then releases=(--all); else chosen+=("$argument"); fi
done
[ ${#chosen[@]} != 0 ] || read -ra chosen <<<"$stages"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0
broken=()
export CARGO_TERM_COLOR=never CARGO_TARGET_DIR=$PWD/target
program=target/release/nixl-retrofit

need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        printf '%s is missing: install it, then run this again\n' "$1"
        return 1
    fi
    apt-get update >/dev/null && apt-get install -y --no-install-recommends "$1" >/dev/null
}

format() { cargo fmt --check; }
lint() { cargo clippy --locked --all-targets -- -D warnings; }
build() { cargo build --locked --release; }

# The tests run the program as Cargo builds it for tests: that compiles in a fraction of the time.
tests() {
    need git && need patch && cargo test --locked --no-fail-fast
}

releases() {
    local python
    python=$(tests/lab.sh python)
    "$python" tests/releases.py test "${releases[@]}" "$program"
}

quickstart() { tests/quickstart.sh; }
docker() { tests/docker.sh; }
# The claim is 1.8, which the script by itself holds the program to. Here it guards against getting slower: on a machine
# that does other things too, a sixth up or down is nothing unusual.
benchmark() { BENCHMARK_RATIO=1.5 tests/benchmark.sh; }
# As with the benchmark: the script by itself holds the engines to 0.95.
bandwidth() { BANDWIDTH_RATIO=0.7 tests/bandwidth.sh; }

# Adds up the closing lines in a stage's output, those of cargo test and the plain ones; a stage without any is one
# test of its own, and one that ended badly without counting a failure has failed once.
count() {
    local log=$1 status=$2 ok bad ignored counted
    read -r ok bad ignored counted < <(awk '
        /^test result: / { ok += $4; bad += $6; ignored += $8; n++ }
        /^[0-9]+ passed, [0-9]+ failed$/ { ok += $1; bad += $3; n++ }
        END { print ok + 0, bad + 0, ignored + 0, n + 0 }' "$log")
    if [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        bad=1
    elif [ "$counted" = 0 ]; then
        ok=1
    fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + ignored))
}

# A stage in a shell of its own, where an error ends it. Its output is marked at the left: the closing lines in it
# are not this script's.
stage() {
    local name=$1 status=0 started=$SECONDS
    printf '\n=== %s\n' "$name"
    set +e
    (set -e; "$name") </dev/null 2>&1 | tee "$logs/$name" | sed -u 's/^/| /'
    status=${PIPESTATUS[0]}
    set -e
    count "$logs/$name" "$status"
    if [ "$status" = 0 ]; then
        printf '=== %s: passed in %d s\n' "$name" $((SECONDS - started))
    else
        printf '=== %s: FAILED after %d s (exit status %d)\n' "$name" $((SECONDS - started)) "$status"
        broken+=("$name")
    fi
}

for name in "${chosen[@]}"; do
    # What follows the build would test an old program.
    stage "$name"
    [ "$name" != build ] || [[ " ${broken[*]} " != *' build '* ]] || break
done

printf '\n'
[ ${#broken[@]} = 0 ] || printf 'failed stages: %s\n' "${broken[*]}"
closing="$passed passed, $failed failed"
[ "$skipped" = 0 ] || closing+=", $skipped skipped"
printf '%s\n' "$closing"
[ ${#broken[@]} = 0 ] && [ "$passed" != 0 ]
