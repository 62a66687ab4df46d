#!/usr/bin/env bash
# Builds the wheel: the binary for glibc 2.17 (manylinux2014), with zig as the linker, the man page and the completions.
# Then installs it into a fresh virtual environment and does the main job with it on real packages.
# usage: tests/wheel.sh

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
work=$repository/target/wheel
maximum=$((6 << 20)) # bytes of the binary
passed=0

ok() {
    passed=$((passed + 1))
    printf 'ok: %s\n' "$*"
}

maturin=$(tests/lab.sh tool maturin 1.16.0)
zig=$(tests/lab.sh tool ziglang 0.15.2)
export PATH=$maturin:$zig:$PATH

# The sources as they are here, with what the program prints about itself as the wheel's data.
source=$work/source
rm -rf "$source" "$work/dist" "$work/venv"
mkdir -p "$source"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -C "$source"
data=$source/shell/data/share
mkdir -p "$data"/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
[ -x "$program" ] || quietly cargo build --release --locked
"$program" man >"$data/man/man1/nixl-retrofit.1"
"$program" completions bash >"$data/bash-completion/completions/nixl-retrofit"
"$program" completions zsh >"$data/zsh/site-functions/_nixl-retrofit"
"$program" completions fish >"$data/fish/vendor_completions.d/nixl-retrofit.fish"
printf 'data = "shell"\n' >>"$source/pyproject.toml"

NIXL_RETROFIT_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
export NIXL_RETROFIT_COMMIT
quietly maturin build --release --locked --zig --compatibility manylinux2014 --manifest-path "$source/Cargo.toml" \
    --target-dir "$work/target" --out "$work/dist"
wheel=$(echo "$work"/dist/*.whl)
ok "$(basename "$wheel"), $(stat -c %s "$wheel") bytes"

python3 -m venv --without-pip "$work/venv"
"$(tests/lab.sh python)" -m pip install --quiet --no-index --no-deps --python "$work/venv/bin/python" "$wheel"
installed=$work/venv/bin/nixl-retrofit
size=$(stat -c %s "$installed")
[ "$size" -le "$maximum" ] || fail "the binary has $size bytes, more than $maximum"
ok "the binary has $size bytes"
newest=$(objdump -T "$installed" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
[ "$(printf '%s\n' GLIBC_2.17 "$newest" | sort -V | tail -n 1)" = GLIBC_2.17 ] || fail "the binary needs $newest"
ok "the binary needs $newest at most"
[ "$("$installed" --version)" = "$("$program" --version)" ] || fail 'the versions differ'
"$installed" man | cmp - "$work/venv/share/man/man1/nixl-retrofit.1"
"$installed" completions bash | cmp - "$work/venv/share/bash-completion/completions/nixl-retrofit"
ok "$("$installed" --version), its man page and completions"

# The main job, with the driver's stand-in that the wheel was built with.
environment=$work/environment
rm -rf "$environment"
cp -a --reflink=auto "$(tests/lab.sh env 1.5.0 1.6.1)" "$environment"
status=0
"$installed" check --quiet "$environment" || status=$?
[ "$status" = 1 ] || fail "check ended with $status"
libraries=$(tests/lab.sh libfabric)
"$installed" apply --quiet --smoke require "$environment"
"$installed" smoke --quiet --backend LIBFABRIC --library-path "$libraries" "$environment"
"$installed" check --quiet "$environment"
"$installed" revert --quiet "$environment"
ok 'check, apply and both transfers on Dynamo 1.6.1 and NIXL 1.5.0, and revert'
rm -rf "$environment" "$source"
printf '%d passed, 0 failed\n' "$passed"
