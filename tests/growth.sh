#!/usr/bin/env bash
# Measures how time and memory of `check` grow with a file: its size, and how many calls, bindings and scopes it has.
# The fastest of five rounds counts. Fails if user time per byte differs by more than a factor of 1.5 along a row, or the peak
# exceeds 60 bytes a byte.
# usage: tests/growth.sh [--quick] [--row NAME] [PROGRAM]
#   --quick      up to 1 MB and 1,000 calls
#   --row NAME   only the rows with this in their name: calls
#   PROGRAM      an optimized build [target/release/nixl-retrofit]

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options=()
while [[ ${1:-} == --* ]]; do
    case $1 in
        --quick) options+=("$1") ;;
        --row) options+=("$1" "${2:?}") && shift ;;
        *) usage ;;
    esac
    shift
done
[ $# -le 1 ] || usage
program=${1:-$program}
need_program
need '[ -x /usr/bin/time ]' time # GNU time: a process that starts small, so that its own memory is not the peak
need 'command -v python3' python3
exec python3 -B tests/growth.py "${options[@]}" "$program"
