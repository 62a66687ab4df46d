#!/usr/bin/env bash
# Stops apply and revert at their system calls with SIGKILL, ENOSPC, EIO, EACCES, EROFS and EINTR, runs check, apply and
# revert on what is left, and has 64 runs at once on one tree. Prints counts; fails unless those of faults are 0.
# Needs root, to give files away.
# usage: tests/faults.sh [--full] [--scenario NAME] [PROGRAM]
#   --full            every call with every fault, and 20 rounds of 64 runs; else a sample that is always the same. What is
#                     left is one of a few states: eight trees in each are looked at, else one
#   --scenario NAME   only this one, or `together`
#   PROGRAM           [target/release/nixl-retrofit]

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options=()
while [[ ${1:-} == --* ]]; do
    case $1 in
        --full) options+=("$1") ;;
        --scenario) options+=("$1" "${2:?}") && shift ;;
        *) usage ;;
    esac
    shift
done
[ $# -le 1 ] || usage
program=${1:-$program}
need_program
is_root || fail 'giving files away needs root: run this as root'
need 'command -v strace' strace
need 'command -v cc' gcc libc6-dev
need 'command -v python3' python3
exec python3 -B tests/faults "${options[@]}" "$program"
