#!/usr/bin/env bash
# Parses every Rust source of Cargo's registry folder. Runs check on every Python source of the standard libraries and of large packages, and apply, apply and revert on each
# with a call added. Python's own compile() and ast say what must be found. Prints counts; fails unless those of faults
# are 0. Takes a quarter of an hour and 0.7 GB from the package index; CI does not run it.
# usage: tests/corpora.sh [--only NAME]... [PROGRAM]
#   --only NAME   only the corpora with this in their name: 3.12, vllm
#   PROGRAM       [target/release/nixl-retrofit]

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options=()
while [ "${1:-}" = --only ]; do
    options+=("$1" "${2:?}")
    shift 2
done
[[ $# -le 1 && ${1:-} != -* ]] || usage
program=${1:-$program}
need_program
python=$(tests/lab.sh python)

for package in "ai-dynamo 1.6.1" "ai-dynamo-runtime 1.6.1" "lmcache 0.5.6" "modelexpress 0.7.0" "sglang 0.5.10" \
    "sympy 1.14.0" "torch 2.15.0" "transformers 5.24.0" "vllm 0.33.0"; do
    # shellcheck disable=SC2086 # name and version
    tests/lab.sh sources $package >/dev/null
done

# Every Python from 3.9 on: those of pyenv, of uv, and of the system.
pythons=()
candidates=(~/.pyenv/versions/3.*/bin/python3 ~/.local/share/uv/python/cpython-3.*/bin/python3 /usr/bin/python3.{9,??})
for candidate in "${candidates[@]}"; do
    if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        pythons+=(--python "$candidate")
    fi
done
[ ${#pythons[@]} != 0 ] || fail 'no Python from 3.9 on'
[ ${#options[@]} != 0 ] || cargo test --locked --lib -- --ignored --nocapture every_rust_file_at_hand
exec "$python" -B tests/corpora.py "${options[@]}" "${pythons[@]}" --packages "$lab/corpora" "$program"
