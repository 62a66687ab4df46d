#!/usr/bin/env bash
# How long `doctor` takes without and with the loading check, and `ldd` over the same libraries, in one run; and doctor's
# peak memory. Without `--no-exec`, `doctor` also starts the environment's Python, for its paths. Needs hyperfine.
# usage: tests/doctor_speed.sh PROGRAM [ENVIRONMENT]
#            ENVIRONMENT: a virtual environment with NIXL (default: the laboratory's NIXL 1.5.0 with Dynamo 1.6.1)

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

{ [ $# -ge 1 ] && [ $# -le 2 ]; } || usage
program=$1
environment=${2:-$("$repository/tests/lab.sh" env 1.5.0)}
command -v hyperfine >/dev/null || fail 'hyperfine is not installed'

list=$(mktemp)
trap 'rm -f "$list"' EXIT
# It exits with 1 where something is missing.
("$program" doctor --no-load "$environment" --output-format json || true) |
    python3 -c 'import json, sys
for library in json.load(sys.stdin)["doctor"]["libraries"]: print(library["path"])' >"$list"
say "$(wc -l <"$list") libraries"

hyperfine --ignore-failure --warmup 2 --style basic \
    --command-name 'doctor --no-load' "'$program' doctor --no-load '$environment'" \
    --command-name 'the same, --no-exec' "'$program' doctor --no-load --no-exec '$environment'" \
    --command-name doctor "'$program' doctor '$environment'" \
    --command-name ldd "xargs -n 1 ldd -r <'$list'" \
    --command-name 'ldd, one process' "xargs ldd -r <'$list'"
/usr/bin/time -f 'peak of doctor: %M KiB' "$program" doctor "$environment" >/dev/null || true
