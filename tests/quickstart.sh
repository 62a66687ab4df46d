#!/usr/bin/env bash
# The main job on a real Dynamo, from a bare checkout: builds the program, makes a laboratory under target/lab/ with
# ai-dynamo-runtime 1.6.1 and NIXL 1.5.0, and patches and proves it there. Needs Rust, Python 3 and a network.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
laboratory=${NIXL_RETROFIT_LAB:-target/lab}
export PATH=$PWD/target/release:$PATH

fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

# Shows a command, runs it, and says how it ended where that is not what was to be expected.
run() {
    local expected=$1 status=0
    shift
    printf '\n$ %s\n' "$*"
    "$@" || status=$?
    [ "$status" = "$expected" ] || fail "exit status $status, expected $expected"
    [ "$status" = 0 ] || printf '(exit status %d: there is something to change)\n' "$status"
}

command -v cargo >/dev/null || fail 'cargo is missing: install Rust with rustup, then run this again'
command -v python3 >/dev/null || fail 'python3 is missing: install Python 3.10 or newer, then run this again'

run 0 cargo build --release --locked --target-dir target
printf '\n$ tests/lab.sh env 1.5.0 1.6.1\n'
environment=$(tests/lab.sh env 1.5.0 1.6.1)
printf '%s\n' "$environment"

# A fresh copy each time, so that there is something to patch; the tests have the other one to themselves.
dynamo=$laboratory/quickstart
rm -rf "$dynamo"
run 0 cp -a --reflink=auto "$environment" "$dynamo"

run 1 nixl-retrofit check "$dynamo"
run 0 nixl-retrofit apply --smoke require "$dynamo"
run 0 nixl-retrofit check "$dynamo"

printf '\nIt is yours to play with; revert gives the original back:\n'
printf '  NIXL_BACKEND=UCX target/release/nixl-retrofit smoke %s\n' "$dynamo"
printf '  target/release/nixl-retrofit revert %s\n' "$dynamo"
