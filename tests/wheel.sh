#!/usr/bin/env bash
# Builds the wheel from the package that `cargo publish` would upload, with src/python/unicode_names2/: the program for
# glibc 2.17 (manylinux2014), with zig as the linker, its manual pages and completions, and a list of what it is made of (SBOM). Then
# does the main job with it: from a fresh virtual environment, and in the oldest Debian at hand (needs root).
# usage: tests/wheel.sh [build|reproducible|aarch64]
#   build          only builds: the wheel in target/wheel/dist, its program in target/release for the other tests
#   reproducible   builds a second time elsewhere and compares; takes a whole build
#   aarch64        cross-compiles the wheel for aarch64 to target/wheel/aarch64/dist and does the main job with it under
#                  qemu-user; takes a whole build

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case "$*" in
    '' | build | reproducible | aarch64) ;;
    *) usage ;;
esac
work=$repository/target/wheel
maximum=6291456 # bytes of the program: 6 MiB
passed=0

ok() {
    passed=$((passed + 1))
    printf 'ok      %s\n' "$*"
}

# Unpacks what would be published. Sources that did not change keep their times, so that Cargo compiles nothing: FOLDER
unpack_package() {
    local folder=$1 archive
    rm -rf "$folder/package" "$folder/fresh"
    quietly cargo package --locked --allow-dirty --no-verify --target-dir "$folder"
    archive=$(echo "$folder"/package/nixl-retrofit-*.crate)
    mkdir "$folder/fresh"
    # Without the archive's times, which are the same in every version.
    tar -xmf "$archive" -C "$folder/fresh" --strip-components=1
    # A published package can name no crate in a folder: the wheel has ours, as a build from a checkout.
    cp -r src/python/unicode_names2 "$folder/fresh/src/python"
    cp Cargo.lock "$folder/fresh"
    sed -n '/^\[patch/,/^$/p' Cargo.toml >>"$folder/fresh/Cargo.toml"
    if ! diff -rq --exclude=nixl_retrofit.data "$folder/fresh" "$folder/source" >/dev/null 2>&1; then
        rm -rf "$folder/source"
        mv "$folder/fresh" "$folder/source"
    fi
}

# The folder that maturin packs beside the program, which an emulator may have to run: FOLDER PROGRAM...
print_data() {
    local share=$1/data/share name
    rm -rf "$1"
    shift
    mkdir -p "$share"/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
    "$@" man >"$share/man/man1/nixl-retrofit.1"
    for name in apply check revert smoke audit doctor; do
        "$@" man "$name" >"$share/man/man1/nixl-retrofit-$name.1"
    done
    "$@" completions bash >"$share/bash-completion/completions/nixl-retrofit"
    "$@" completions zsh >"$share/zsh/site-functions/_nixl-retrofit"
    "$@" completions fish >"$share/fish/vendor_completions.d/nixl-retrofit.fish"
}

# No path of this machine is in the program, so that two machines build the same bytes: FOLDER TARGET
pack() {
    local folder=$1 target=$2 cargo_home=${CARGO_HOME:-$HOME/.cargo}
    rm -rf "$folder/dist"
    RUSTFLAGS="--remap-path-prefix=$folder/source=. --remap-path-prefix=$cargo_home=cargo" quietly "$maturin" build \
        --release --locked --zig --target "$target" --compatibility manylinux2014 \
        --manifest-path "$folder/source/Cargo.toml" --target-dir "$folder/target" --out "$folder/dist"
}

# The list of parts names the folder of the sources, which another machine does not have: FOLDER
drop_folder() {
    "$(tests/lab.sh python)" - "$1"/dist/*.whl "$1/source" <<'PYTHON'
import base64, hashlib, sys, zipfile

wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    members = {info: archive.read(info) for info in archive.infolist()}
(parts,) = (info for info in members if "/sboms/" in info.filename)
(record,) = (info for info in members if info.filename.endswith(".dist-info/RECORD"))
members[parts] = members[parts].replace(folder.encode(), b"/nixl-retrofit")
digest = base64.urlsafe_b64encode(hashlib.sha256(members[parts]).digest()).rstrip(b"=").decode()
rows = members[record].decode().splitlines()
(row,) = (number for number, row in enumerate(rows) if row.startswith(parts.filename + ","))
rows[row] = f"{parts.filename},sha256={digest},{len(members[parts])}"
members[record] = ("\n".join(rows) + "\n").encode()
with zipfile.ZipFile(wheel, "w") as archive:
    for info, content in members.items():
        archive.writestr(info, content, compresslevel=9)
PYTHON
}

# FOLDER TARGET [EMULATOR...]
build() {
    local folder=$1 target=$2
    shift 2
    mkdir -p "$folder"
    unpack_package "$folder"
    rm -rf "$folder/source/nixl_retrofit.data"
    pack "$folder" "$target"
    # What the program prints about itself goes into the wheel, so it is packed again.
    print_data "$folder/source/nixl_retrofit.data" "$@" "$folder/target/$target/release/nixl-retrofit"
    pack "$folder" "$target"
    drop_folder "$folder"
}

maturin=$(tests/lab.sh tool maturin 1.16.0)/maturin
PATH=$(tests/lab.sh tool ziglang 0.15.2):$PATH # maturin looks for `python3 -m ziglang`
# The commit's time and number, where git tells them.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)
export PATH SOURCE_DATE_EPOCH

# The main job, inside of a root folder when $inside says so: PROGRAM ENVIRONMENT SMOKE
inside=()
main_job() {
    local program=$1 environment=$2 smoke=$3 status=0
    "${inside[@]}" "$program" check --quiet "$environment" || status=$?
    [ "$status" = 1 ] || fail "check ended with $status"
    "${inside[@]}" "$program" apply --quiet --smoke "$smoke" "$environment"
    "${inside[@]}" "$program" check --quiet "$environment"
    "${inside[@]}" "$program" revert --quiet "$environment"
}

if [ "$*" = aarch64 ]; then
    cross=$(tests/lab.sh aarch64)
    work=$work/aarch64
    RUSTC=$cross/rustc build "$work" aarch64-unknown-linux-gnu "$cross/qemu" -L "$cross/root"
    wheel=$(echo "$work"/dist/*.whl)
    rm -rf "$work/unpacked" "$work/site"
    "$(tests/lab.sh python)" -m zipfile -e "$wheel" "$work/unpacked"
    chmod +x "$work"/unpacked/*.data/scripts/nixl-retrofit
    ok "$(basename "$wheel"), $(stat -c %s "$wheel") bytes"
    cp -a --reflink=auto "$cross/site" "$work/site"
    # The kernel starts qemu for aarch64's programs: in this user namespace, which has handlers of its own.
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    enter=$(printf 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc; printf %%s %q >/proc/sys/fs/binfmt_misc/register; ' \
        ":aarch64:M::$magic:$mask:$(realpath "$cross/qemu"):F"
        printf 'mount --bind %q %q; mount --bind %q %q; mount -t proc proc %q; mount --rbind /sys %q; mount --rbind /dev %q; mount -t tmpfs shm %q; ' \
            "$work/site" "$cross/root/site" "$(echo "$work"/unpacked/*.data/scripts)" "$cross/root/wheel" \
            "$cross/root/proc" "$cross/root/sys" "$cross/root/dev" "$cross/root/dev/shm"
        printf 'exec chroot %q "$@"' "$cross/root")
    inside=(unshare --user --map-root-user --mount --pid --fork bash -euc "$enter" enter)
    ok "$("${inside[@]}" /wheel/nixl-retrofit --version) under qemu-user"
    main_job /wheel/nixl-retrofit /site require
    ok 'check, apply with a transfer over UCX, and revert: Dynamo 1.6.1 and NIXL 1.5.0 for aarch64'
    printf '%d passed, 0 failed\n' "$passed"
    exit 0
fi

build "$work" x86_64-unknown-linux-gnu
wheel=$(echo "$work"/dist/*.whl)
rm -rf "$work/unpacked"
"$(tests/lab.sh python)" -m zipfile -e "$wheel" "$work/unpacked"
install -D "$work"/unpacked/*.data/scripts/nixl-retrofit "$program"
[ "$*" != build ] || exit 0
ok "$(basename "$wheel"), $(stat -c %s "$wheel") bytes"

if [ "$*" = reproducible ]; then
    second=$(mktemp -d)
    trap 'rm -rf "$second"' EXIT
    build "$second" x86_64-unknown-linux-gnu
    cmp "$wheel" "$second"/dist/*.whl
    ok "a second build in $second has the same SHA-256: $(sha256sum <"$wheel" | cut -d ' ' -f 1)"
    printf '%d passed, 0 failed\n' "$passed"
    exit 0
fi

# A fresh virtual environment.
rm -rf "$work/venv"
python3 -m venv --without-pip "$work/venv"
"$(tests/lab.sh python)" -m pip --python "$work/venv/bin/python" install --quiet --no-index --no-deps "$wheel"
installed=$work/venv/bin/nixl-retrofit
version=$("$installed" --version)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
[[ $version == *"($commit)" || -z $commit ]] || fail "the version does not name the commit: $version"
for page in '' apply check revert smoke audit doctor; do
    "$installed" man ${page:+"$page"} | cmp - "$work/venv/share/man/man1/nixl-retrofit${page:+-$page}.1"
done
"$installed" completions bash | cmp - "$work/venv/share/bash-completion/completions/nixl-retrofit"
"$installed" completions zsh | cmp - "$work/venv/share/zsh/site-functions/_nixl-retrofit"
"$installed" completions fish | cmp - "$work/venv/share/fish/vendor_completions.d/nixl-retrofit.fish"
ok "$version, its manual pages and completions"

size=$(stat -c %s "$installed")
[ "$size" -le "$maximum" ] || fail "the program has $size bytes, more than $maximum"
ok "the program has $size bytes"
need 'command -v objdump' binutils
need 'command -v git' git
newest=$(objdump -T "$installed" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
[ "$(printf '%s\n' GLIBC_2.17 "$newest" | sort -V | tail -n 1)" = GLIBC_2.17 ] || fail "the program needs $newest"
ok "the program needs $newest at most"
! grep -rqF -e "$repository" -e "${CARGO_HOME:-$HOME/.cargo}" "$work/unpacked" || fail 'the wheel has paths of this machine'
ok 'the wheel has no path of this machine'

# Where it cannot run, its build says so, before anything of it is compiled.
script=$(find "$work"/target/release/build -path '*/nixl-retrofit-*/build-script-build' -printf '%T@ %p\n' | sort -n |
    tail -n 1 | cut -d ' ' -f 2)
build_script() { # SYSTEM C_LIBRARY PROCESSOR
    env CARGO_CFG_TARGET_OS="$1" CARGO_CFG_TARGET_ENV="$2" CARGO_CFG_TARGET_ARCH="$3" "$script" 2>&1
}
for target in 'macos gnu aarch64' 'linux musl x86_64' 'linux gnu riscv64'; do
    # shellcheck disable=SC2086 # its three words
    [[ $(build_script $target || true) == *'builds for x86-64 and aarch64 Linux with glibc'* ]] || fail "builds for $target"
done
ok 'the build refuses macOS, musl and other processors'
# The linker script against unwind tables: not for a linker that stops at it.
mkdir -p "$work/out"
printf '%s\n' '#!/bin/sh' 'case " $* " in *" -T "*) exit 1 ;; esac' 'exec cc "$@"' >"$work/other-linker"
chmod +x "$work/other-linker"
host=$(rustc -vV | sed -n 's/^host: //p')
scripts_for() { # LINKER
    OUT_DIR=$work/out RUSTC=rustc RUSTC_LINKER=$1 TARGET=$host HOST=$host PROFILE=release CARGO_ENCODED_RUSTFLAGS='' \
        CARGO_MANIFEST_DIR=$repository CARGO_PKG_VERSION=0 build_script linux gnu x86_64 | grep -c 'bins=.*tables.ld' || true
}
[ "$(scripts_for cc)" = 1 ] || fail 'unwind tables stay in the program'
[ "$(scripts_for "$work/other-linker")" = 0 ] || fail 'a linker gets a script that it does not know'
ok 'unwind tables are left out where the linker can'

# What Cargo.toml tells cargo-binstall.
names=$("$(tests/lab.sh python)" - "$repository/Cargo.toml" <<'PYTHON'
import sys, tomllib

package = tomllib.load(open(sys.argv[1], "rb"))["package"]
table = package["metadata"]["binstall"]
url = table["overrides"]["x86_64-unknown-linux-gnu"]["pkg-url"]
for template in (url.rpartition("/")[2], table["bin-dir"]):
    print(template.replace("{ version }", package["version"]).replace("{ bin }", package["name"]))
PYTHON
)
[ "$names" = "$(basename "$wheel")"$'\n'"$(cd "$work/unpacked" && echo *.data/scripts/nixl-retrofit)" ] ||
    fail "cargo-binstall would look for: $names"
ok 'the names in the table of cargo-binstall'
"$(tests/lab.sh python)" - "$work"/unpacked/*.dist-info/sboms/*.json "$repository/Cargo.lock" <<'PYTHON'
import json, sys, tomllib

bom = json.load(open(sys.argv[1]))
listed = {(part["name"], part["version"]) for part in bom["components"]}
locked = {(package["name"], package["version"]) for package in tomllib.load(open(sys.argv[2], "rb"))["package"]}
assert bom["bomFormat"] == "CycloneDX" and listed, bom
assert listed <= locked, listed - locked
PYTHON
ok 'the CycloneDX list of its parts, all of them in Cargo.lock'

environment=$work/environment
rm -rf "$environment"
cp -a --reflink=auto "$(tests/lab.sh env 1.5.0 1.6.1)" "$environment"
main_job "$installed" "$environment" require
ok 'check, apply with a transfer over UCX, and revert: Dynamo 1.6.1 and NIXL 1.5.0'
libraries=$(tests/lab.sh libfabric)
# The driver's stand-in is what zig has linked.
"$installed" smoke --quiet --backend LIBFABRIC --library-path "$libraries" "$environment"
ok 'a transfer over LIBFABRIC'

# The GitHub action and the pre-commit hook, as CI runs them, with this wheel. (The hook's own build needs setuptools from the
# package index.)
export PIP_FIND_LINKS=$work/dist
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tools=$(tests/lab.sh tool kubernetes-validate 1.37.0) # for its YAML
"$tools/python" - >"$scratch/action.sh" <<'PYTHON'
import yaml
for step in yaml.safe_load(open(".github/actions/nixl-retrofit/action.yml"))["runs"]["steps"]:
    print("(\nset -e\n" + step["run"] + ")")
PYTHON
action() { # EXPECT
    RUNNER_TEMP=$scratch GITHUB_STEP_SUMMARY=$scratch/summary.md VERSION='' IMAGE='' TARGET=$environment EXPECT=$1 \
        bash -e "$scratch/action.sh" >"$scratch/action.log" 2>&1
}
action original || fail "the action ended with $?: $(cat "$scratch/action.log")"
! action patched || fail 'the action passes an environment that is not patched'
grep -q '^::error file=' "$scratch/action.log" || fail "no annotation: $(cat "$scratch/action.log")"
[ -s "$scratch/summary.md" ] || fail 'no summary'
ok 'the GitHub action: passes the original, annotates it where a patched one is expected, writes a summary'
git -C "$scratch" init --quiet connector
cp docs/examples/ci/pre-commit-config.yaml "$scratch/connector/.pre-commit-config.yaml"
printf 'from nixl._api import nixl_agent\nagent = nixl_agent("me")\n' >"$scratch/connector/ignores.py"
printf 'import os\n' >"$scratch/connector/other.py"
git -C "$scratch/connector" add .
pre_commit=$(tests/lab.sh tool pre-commit 4.7.0)/pre-commit
hook() { # FILE
    (cd "$scratch/connector" && PRE_COMMIT_HOME=$scratch/hooks "$pre_commit" run --files "$1") >"$scratch/hook.log" 2>&1
}
hook other.py || fail "the hook fails on a file without an agent: $(cat "$scratch/hook.log")"
! hook ignores.py || fail 'the hook passes a call that ignores every setting'
grep -q nixl_agent_config "$scratch/hook.log" || fail "the hook shows no diff: $(cat "$scratch/hook.log")"
ok 'the pre-commit hook: fails on a call that ignores every setting, passes a file without one'
unset PIP_FIND_LINKS

# The oldest Debian's Python is too old for Dynamo's wheels: it gets their folder. NIXL needs a newer OpenSSL than it has.
root=$(tests/lab.sh oldest)
enter=$(printf 'mount --bind %q %q; mount --bind %q %q; mount -t proc proc %q; mount -t tmpfs shm %q; exec chroot %q "$@"' \
    "$(echo "$environment"/lib/python3*/site-packages)" "$root/lab" "$work/dist" "$root/wheel" "$root/proc" \
    "$root/dev/shm" "$root")
inside=(unshare --mount bash -euc "$enter" enter)
"${inside[@]}" bash -euc 'rm -rf /venv; python3 -m venv /venv; /venv/bin/pip install --quiet --no-index /wheel/*.whl'
main_job /venv/bin/nixl-retrofit /lab off
ok "check, apply and revert, installed by pip in Debian $(cat "$root/etc/debian_version")"
rm -rf "$environment" "$root/venv"
printf '%d passed, 0 failed\n' "$passed"
