#!/usr/bin/env bash
# From a bare checkout: builds the program, installs ai-dynamo-runtime 1.6.1 and NIXL 1.5.0 under target/lab/, patches
# that Dynamo and tests it with a transfer. Needs Rust, Python 3 and a network.
# usage: tests/quickstart.sh
#   QUICKSTART_BUILT=yes   take target/release/nixl-retrofit as it is

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
export PATH=$repository/target/release:$PATH

# Shows a command, runs it and checks its exit status: EXPECTED COMMAND...
run() {
    local expected=$1 status=0
    shift
    printf '\n$ %s\n' "$*"
    "$@" || status=$?
    [ "$status" = "$expected" ] || fail "exit status $status, expected $expected"
    [ "$status" = 0 ] || printf '(exit status %d: apply would change something)\n' "$status"
}

command -v cargo >/dev/null || fail 'cargo is missing: install Rust with rustup, then try again'
command -v python3 >/dev/null || fail 'python3 is missing: install Python 3.10 or newer, then try again'

say 'takes about 5 minutes on two cores, 150 MB from PyPI and crates.io, and 1.5 GB in target/; as root, installs python3-venv if missing'
[ "${QUICKSTART_BUILT:-no}" = yes ] || run 0 cargo build --release --locked --target-dir target
need_program
printf '\n$ tests/lab.sh env 1.5.0 1.6.1\n'
environment=$(tests/lab.sh env 1.5.0 1.6.1)
printf '%s\n' "$environment"

# A copy, made anew each time: the tests use the original.
dynamo=${NIXL_RETROFIT_LAB:-target/lab}/quickstart
rm -rf "$dynamo"
run 0 cp -a --reflink=auto "$environment" "$dynamo"

run 1 nixl-retrofit check "$dynamo"
run 0 nixl-retrofit apply --smoke require "$dynamo"
run 0 nixl-retrofit check "$dynamo"

printf '\nTry it, then restore the original:\n'
printf '  NIXL_BACKEND=UCX target/release/nixl-retrofit smoke %s\n' "$dynamo"
printf '  target/release/nixl-retrofit revert %s\n' "$dynamo"
