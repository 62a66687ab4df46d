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

# NAME VERSION [PLATFORM]: of torch, the smallest wheel has the same Python sources. Only the sources stay.
package() {
    local folder=$lab/corpora/$1-$2 beside
    [ ! -d "$folder" ] || return 0
    say "downloading $1 $2"
    mkdir -p "$lab/corpora"
    beside=$(mktemp -d "$lab/corpora/.incomplete.XXXXXX")
    quietly "$python" -m pip download --no-deps --only-binary=:all: --no-cache-dir --python-version 3.13 \
        ${3:+--platform "$3"} --dest "$beside" "$1==$2"
    "$python" - "$beside" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
for wheel in folder.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
    wheel.unlink()
PYTHON
    mv "$beside" "$folder"
}
package ai-dynamo 1.6.1
package ai-dynamo-runtime 1.6.1
package lmcache 0.5.6
package modelexpress 0.7.0
package sglang 0.5.10
package sympy 1.14.0
package torch 2.15.0 macosx_14_0_arm64
package transformers 5.24.0
package vllm 0.33.0

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
