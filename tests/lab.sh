#!/usr/bin/env bash
# The test laboratory: real Dynamo and NIXL packages without their 6 GB of CUDA, under target/lab/ or in
# NIXL_RETROFIT_LAB. Prints one path to standard output, everything else to standard error.
# usage: tests/lab.sh env NIXL_VERSION [DYNAMO_VERSION]
#            a virtual environment with that NIXL and ai-dynamo-runtime (default 1.6.1; `none`: only NIXL)
#        tests/lab.sh wheel DISTRIBUTION VERSION [PYTHON_VERSION]
#            that wheel, for this machine's Python or for 3.12, 3.13, ...
#        tests/lab.sh sources DISTRIBUTION VERSION
#            a folder with the Python sources of that wheel, without its metadata
#        tests/lab.sh crate NAME VERSION
#            a folder with the sources of that crate, without its dependencies
#        tests/lab.sh debian PACKAGE
#            a folder with that package of this machine's Debian, unpacked but not installed
#        tests/lab.sh python
#            a Python interpreter with pip, numpy, pydantic and a stand-in for torch
#        tests/lab.sh libfabric
#            a folder with libfabric 2.1.0 (impi-rt), its providers tcp and shm, and libcudart.so.13; installs
#            libhwloc15
#        tests/lab.sh debian13
#            the root folder of a Debian 13 with libfabric1 (needs root)
#        tests/lab.sh oldest
#            the root folder of the oldest Debian that the mirror has, with Python (needs root)
#        tests/lab.sh debian12 | ubuntu24.04
#            the root folder of that release, with Python (needs root)
#        tests/lab.sh packages PYTHON_VERSION
#            a folder with wheels: Dynamo 1.6.1, NIXL 1.5.0 and what a transfer imports, pip, pipx and uv
#        tests/lab.sh aarch64
#            a folder to build and run for aarch64: `rustc`, Debian's, with the standard library for it; `qemu`; `root`, a
#            root folder with its C library and an empty /tmp, /site and /wheel; `site`, Dynamo 1.6.1 and NIXL 1.5.0
#        tests/lab.sh image
#            a tar archive of a Debian 13 with Dynamo 1.6.1 and NIXL 1.5.0 in /opt/dynamo/venv (needs root)
#        tests/lab.sh dockerd
#            the Docker engine; installs docker.io
#        tests/lab.sh tool DISTRIBUTION VERSION
#            the folder with the programs, among them python, of an environment with that distribution

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# One process makes a thing at a time. The kernel drops the lock when the process ends.
lock() {
    mkdir -p "$lab/locks"
    exec {lock_fd}>"$lab/locks/$1"
    flock "$lock_fd"
}

base_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail 'no Python 3.10 to 3.13 on PATH: Dynamo and NIXL have wheels for no other version'
}

# A folder is complete once it has its stamp. The stamp names what the folder was made from where that has changed since
# the first version of this script: an older folder is then made again. A virtual environment contains its own path, so
# it cannot be built elsewhere and renamed.
is_complete() { # FOLDER [MADE_FROM]
    [ -e "$1/.complete" ] && [ "$(cat "$1/.complete")" = "${2:-}" ]
}

purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# The only environment with pip; it installs into the others.
pip_python() {
    local folder=$lab/tools/python python
    if ! is_complete "$folder"; then
        (
            lock python
            is_complete "$folder" && exit
            python=$(base_python)
            need "'$python' -c 'import venv, ensurepip'" python3-venv # Debian's Python has no ensurepip
            say "making $folder"
            rm -rf "$folder"
            quietly "$python" -m venv "$folder"
            quietly "$folder/bin/python" -m pip install numpy 'pydantic>=2.10.6,<=2.13.5'
            cp -R "$repository/fixtures/torch_stand_in/torch" "$(purelib "$folder")/"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder/bin/python"
}

empty_environment() {
    rm -rf "$1"
    quietly "$("$lab/tools/python/bin/python" -c 'import sys; print(sys._base_executable)')" -m venv --without-pip "$1"
}

wheel() {
    local distribution=$1 version=$2 python folder beside
    folder=$lab/wheels/$distribution-$version${3:+-py$3}
    if [ ! -d "$folder" ]; then
        python=$(pip_python)
        (
            lock "wheel-$(basename "$folder")"
            [ -d "$folder" ] && exit
            say "downloading $distribution $version"
            mkdir -p "$lab/wheels"
            beside=$(mktemp -d "$lab/wheels/.incomplete.XXXXXX")
            # shellcheck disable=SC2064 # this folder, whatever the variable holds later
            trap "rm -rf '$beside'" EXIT
            quietly "$python" -m pip download --no-deps --only-binary=:all: --no-cache-dir ${3:+--python-version "$3"} \
                --dest "$beside" "$distribution==$version"
            mv "$beside" "$folder"
        )
    fi
    printf '%s\n' "$folder"/*.whl
}

# Of torch, the smallest wheel has the same Python sources as the others. Only the sources stay.
sources() {
    local folder=$lab/corpora/$1-$2 python platform beside
    case "$1" in
        torch) platform=macosx_14_0_arm64 ;;
        *) platform='' ;;
    esac
    if [ ! -d "$folder" ]; then
        python=$(pip_python)
        (
            lock "sources-$(basename "$folder")"
            [ -d "$folder" ] && exit
            say "downloading $1 $2"
            mkdir -p "$lab/corpora"
            beside=$(mktemp -d "$lab/corpora/.incomplete.XXXXXX")
            # shellcheck disable=SC2064 # this folder, whatever the variable holds later
            trap "rm -rf '$beside'" EXIT
            quietly "$python" -m pip download --no-deps --only-binary=:all: --no-cache-dir --python-version 3.13 \
                ${platform:+--platform "$platform"} --dest "$beside" "$1==$2"
            "$python" - "$beside" <<'PYTHON'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
for wheel in folder.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
    wheel.unlink()
PYTHON
            mv "$beside" "$folder"
        )
    fi
    printf '%s\n' "$folder"
}

# cargo checks the archive's SHA-256 and unpacks it.
crate() {
    local found
    quietly cargo info --color never "$1@$2"
    found=("${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$1-$2")
    [ -d "${found[0]}" ] || fail "cargo did not unpack $1 $2"
    printf '%s\n' "${found[0]}"
}

# From 0.7.1 on, `nixl` only chooses between nixl-cu12 and nixl-cu13; before, it holds the libraries itself.
nixl_wheels() {
    if [ "$(printf '%s\n' "$1" 0.7.1 | sort -V | head -n 1)" = 0.7.1 ]; then
        wheel nixl-cu13 "$1"
    fi
    wheel nixl "$1"
}

environment() {
    local nixl=$1 dynamo=${2:-1.6.1} folder wheels python
    folder=$lab/env/nixl-$nixl-dynamo-$dynamo
    if ! is_complete "$folder"; then
        python=$(pip_python)
        (
            lock "env-$nixl-$dynamo"
            is_complete "$folder" && exit
            wheels=$(nixl_wheels "$nixl")
            if [ "$dynamo" != none ]; then
                wheels+=$'\n'$(wheel ai-dynamo-runtime "$dynamo")
            fi
            say "making $folder"
            empty_environment "$folder"
            mapfile -t wheels <<<"$wheels"
            quietly "$python" -m pip --python "$folder/bin/python" install --no-deps --no-index "${wheels[@]}"
            # A .pth file shares numpy, pydantic and the stand-in for torch.
            purelib "${python%/bin/python}" >"$(purelib "$folder")/lab-shared.pth"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

tool() {
    local folder=$lab/tools/$1-$2 python
    if ! is_complete "$folder"; then
        python=$(pip_python)
        (
            lock "tool-$1-$2"
            is_complete "$folder" && exit
            say "installing $1 $2"
            empty_environment "$folder"
            quietly "$python" -m pip --python "$folder/bin/python" install "$1==$2"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder/bin"
}

# Unpacked, because an installed package changes what the libraries under test find: UCX loads its RDMA modules where
# libibverbs is installed.
debian() {
    local package=$1 folder=$lab/debian/$1
    if ! is_complete "$folder"; then
        (
            lock "debian-$package"
            is_complete "$folder" && exit
            command -v apt-get >/dev/null || fail "$package is a Debian package, and apt-get is missing"
            apt-cache show "$package" >/dev/null 2>&1 || quietly apt-get update || fail 'apt-get update failed; it needs root'
            say "unpacking $package"
            rm -rf "$folder"
            mkdir -p "$folder/packages"
            # apt only warns that its own user cannot write there.
            (cd "$folder/packages" && quietly apt-get download "$package")
            quietly dpkg-deb -x "$folder"/packages/*.deb "$folder"
            rm -rf "$folder/packages"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# libfabric loads every provider module (lib*-fi.so) in its own folder, so only those of the tests are there. With psm3,
# which loads on a machine that has libibverbs, NIXL's tcp rails fail or stall between two machines; the modules for
# other hardware would likewise make the result depend on what is installed.
libfabric() {
    local folder=$lab/libfabric python impi cudart made_from
    local files=(libfabric.so.1 libtcp-fi.so libshm-fi.so libcudart.so.13)
    need "ldconfig -p | grep 'libhwloc\.so\.15 '" libhwloc15 # NIXL's wheels expect the system's
    made_from="impi-rt 2021.16.2, nvidia-cuda-runtime 13.0.96: ${files[*]}"
    if ! is_complete "$folder" "$made_from"; then
        python=$(pip_python)
        impi=$(wheel impi-rt 2021.16.2)
        cudart=$(wheel nvidia-cuda-runtime 13.0.96)
        (
            lock libfabric
            is_complete "$folder" "$made_from" && exit
            say "making $folder"
            rm -rf "$folder"
            mkdir -p "$folder"
            "$python" - "$folder" "$impi" "$cudart" "${files[@]}" <<'PYTHON'
import pathlib, sys, zipfile

folder, impi, cudart, *missing = sys.argv[1:]
for wheel in map(zipfile.ZipFile, (impi, cudart)):
    for member in wheel.namelist():
        name = member.rpartition("/")[2]
        if name in missing:
            (pathlib.Path(folder) / name).write_bytes(wheel.read(member))
            missing.remove(name)
if missing:
    sys.exit(f"the wheels lack {' '.join(missing)}")
PYTHON
            printf '%s' "$made_from" >"$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# The mirror in this machine's apt sources. Of all archives there, only Debian's has a suite for updates.
debian_mirror() {
    local release mirror
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && printf '%s %s' "$ID" "${VERSION_CODENAME:-}")
    [ "${release% *}" = debian ] || fail 'debootstrap takes the Debian mirror of this machine: run this on Debian'
    mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } |
        awk -v suite="${release#* }-updates" '
            $1 == "deb" { sub(/\[[^]]*\] */, ""); if ($3 == suite && !found++) print $2 }
            $1 == "URIs:" { uri = $2 }
            $1 == "Suites:" && index($0 " ", " " suite " ") && !found++ { print uri }')
    [ -n "$mirror" ] || fail 'no Debian mirror found in /etc/apt'
    printf '%s\n' "$mirror"
}

# A root folder with these packages, separated by commas: FOLDER SUITE PACKAGES
bootstrap() {
    local mirror
    is_root || fail 'debootstrap needs root: run this as root'
    need 'command -v debootstrap' debootstrap
    mirror=$(debian_mirror)
    quietly debootstrap --variant=minbase --include="$3" "$2" "$1" "$mirror"
}

# A root folder that is made once, of the first of these suites that the mirror still has: NAME PACKAGES SUITE...
# It has empty folders to mount on.
root_folder() {
    local name=$1 packages=$2 folder=$lab/$1 suite made=
    shift 2
    if ! is_complete "$folder"; then
        (
            lock "$name"
            is_complete "$folder" && exit
            say "making $folder with debootstrap"
            for suite; do
                rm -rf "$folder"
                if bootstrap "$folder" "$suite" "$packages"; then
                    made=$suite
                    break
                fi
            done
            [ -n "$made" ] || fail "debootstrap can make none of: $*"
            mkdir "$folder"/{lab,program,wheel}
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# NIXL 1.5.0's plugin ends its process with this Debian's libfabric.
debian13() { root_folder debian13 libfabric1,libhwloc15,libnuma1,libstdc++6 trixie; }

# Debian 11 (glibc 2.31), while the mirror keeps it. A mount namespace shows what is not in it.
oldest() { root_folder oldest libhwloc15,libnuma1,libstdc++6,python3-venv bullseye bookworm; }

debian12() { root_folder debian12 libhwloc15,libnuma1,python3-venv bookworm; }

# Debian's debootstrap knows Ubuntu's archive, as the default of this script, but not its keys.
ubuntu24_04() {
    local folder=$lab/ubuntu24.04
    if ! is_complete "$folder"; then
        (
            lock ubuntu24.04
            is_complete "$folder" && exit
            is_root || fail 'debootstrap needs root: run this as root'
            need 'command -v debootstrap' debootstrap
            say "making $folder with debootstrap"
            rm -rf "$folder"
            quietly debootstrap --variant=minbase --no-check-gpg --components=main,universe \
                --include=libhwloc15,libnuma1,python3-venv noble "$folder" '' gutsy
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# What an image's build would download.
packages() {
    local folder=$lab/packages-py$1 python wheels
    if ! is_complete "$folder"; then
        python=$(pip_python)
        wheels=$(
            wheel ai-dynamo-runtime 1.6.1 "$1"
            wheel nixl 1.5.0
            wheel nixl-cu13 1.5.0 "$1"
        )
        (
            lock "packages-py$1"
            is_complete "$folder" && exit
            say "downloading wheels to $folder"
            rm -rf "$folder"
            mapfile -t wheels <<<"$wheels"
            quietly "$python" -m pip download --only-binary=:all: --python-version "$1" --no-cache-dir --dest "$folder" \
                numpy 'pydantic<=2.13.5' pip pipx uv
            ln "${wheels[@]}" "$folder/"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# What apt does where it knows arm64 too. It has lists of its own, because a foreign architecture would change what this
# machine installs.
apt_arm64() { # PROGRAM ARGUMENT...
    local state=$lab/apt program=$1
    shift
    mkdir -p "$state"/{lists,cache/archives}/partial
    "$program" -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::lists="$state/lists" \
        -o Dir::Cache="$state/cache" "$@"
}

# Unpacks Debian's packages and those among their dependencies that match: FOLDER PATTERN PACKAGE...
unpack_with_dependencies() {
    local folder=$1 pattern=$2 packages package
    shift 2
    packages=$(apt_arm64 apt-cache depends --recurse --important "$@" | grep -Ex "$pattern" || true)
    mkdir -p "$folder" "$folder.packages"
    # shellcheck disable=SC2086 # a word a package
    (cd "$folder.packages" && quietly apt_arm64 apt-get download "$@" $packages)
    for package in "$folder".packages/*.deb; do
        quietly dpkg-deb -x "$package" "$folder"
    done
    rm -r "$folder.packages"
}

# Debian's rustc-web is its newest rustc; unlike rustup's, its standard library for another processor is a package.
aarch64() {
    local folder=$lab/aarch64 python
    [ "$(uname -m)" = x86_64 ] || fail 'it cross-compiles on x86-64'
    if ! is_complete "$folder"; then
        python=$(pip_python)
        (
            lock aarch64
            is_complete "$folder" && exit
            say "making $folder from Debian's packages and NIXL's and Dynamo's wheels"
            rm -rf "$folder"
            quietly apt_arm64 apt-get update
            unpack_with_dependencies "$folder/debian" '(libstd-rust-web-[0-9.]+|libllvm[0-9]+)' rustc-web:amd64 \
                libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64
            printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$folder/debian/usr/lib/x86_64-linux-gnu" \
                "$folder/debian/usr/bin/rustc" >"$folder/rustc"
            chmod +x "$folder/rustc"
            unpack_with_dependencies "$folder/qemu-user" none qemu-user-static:amd64
            ln -s qemu-user/usr/bin/qemu-aarch64-static "$folder/qemu"
            unpack_with_dependencies "$folder/root" '[^ ]*:arm64' libhwloc15:arm64 libnuma1:arm64 libssl3:arm64 \
                libstdc++6:arm64 zlib1g:arm64
            mkdir -p "$folder"/root/{dev,proc,site,sys,tmp,wheel}
            quietly "$python" -m pip install --no-deps --only-binary=:all: --no-cache-dir --no-compile \
                --python-version 3.12 --platform manylinux_2_28_aarch64 --target "$folder/site" \
                ai-dynamo-runtime==1.6.1 nixl==1.5.0 nixl-cu13==1.5.0
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# The parts of a Dynamo image that matter here. It has no RDMA libraries, with which UCX crashes as a process exits, and
# therefore no libfabric1. Wheels are downloaded outside of it, where pip is configured.
image() {
    local dynamo=1.6.1 nixl=1.5.0 suite_python=3.13 archive python wheels root
    archive=$lab/image-dynamo-$dynamo-nixl-$nixl.tar
    if [ ! -e "$archive" ]; then
        python=$(pip_python)
        wheels=$(
            wheel ai-dynamo-runtime "$dynamo" "$suite_python"
            wheel nixl "$nixl"
            wheel nixl-cu13 "$nixl" "$suite_python"
        )
        (
            lock image
            [ -e "$archive" ] && exit
            say "making $archive with debootstrap"
            mapfile -t wheels <<<"$wheels"
            root=$(mktemp -d "$lab/.image.XXXXXX")
            # shellcheck disable=SC2064 # this folder, whatever the variable holds later
            trap "rm -rf '$root' '$archive.part'" EXIT
            chmod 755 "$root"
            bootstrap "$root" trixie python3,python3-venv,libhwloc15,libnuma1
            mkdir "$root/packages" "$root/packages/dynamo"
            cp "${wheels[@]}" "$root/packages/dynamo/"
            quietly "$python" -m pip download --only-binary=:all: --python-version "$suite_python" --no-cache-dir \
                --dest "$root/packages" numpy 'pydantic<=2.13.5'
            quietly env -i PATH=/usr/sbin:/usr/bin:/bin chroot "$root" bash -ec 'cd /packages
                python3 -m venv /opt/dynamo/venv
                /opt/dynamo/venv/bin/pip install --no-cache-dir --no-index ./*.whl
                /opt/dynamo/venv/bin/pip install --no-cache-dir --no-index --no-deps dynamo/*.whl'
            cp -R "$repository/fixtures/torch_stand_in/torch" "$root"/opt/dynamo/venv/lib/python3*/site-packages/
            rm -r "$root/packages"
            tar -C "$root" --exclude=./dev --exclude='./var/cache/apt/archives/*.deb' \
                --exclude='./var/lib/apt/lists/*' -cf "$archive.part" .
            mv "$archive.part" "$archive"
        )
    fi
    printf '%s\n' "$archive"
}

docker_engine() {
    need 'command -v docker && command -v dockerd' docker.io
    command -v dockerd
}

case "${1:-} $#" in
    'debian 2') debian "$2" ;;
    'env 2' | 'env 3') environment "${@:2}" ;;
    'wheel 3' | 'wheel 4') wheel "${@:2}" ;;
    'crate 3') crate "$2" "$3" ;;
    'sources 3') sources "$2" "$3" ;;
    'tool 3') tool "$2" "$3" ;;
    'libfabric 1') libfabric ;;
    'debian13 1') debian13 ;;
    'oldest 1') oldest ;;
    'debian12 1') debian12 ;;
    'ubuntu24.04 1') ubuntu24_04 ;;
    'packages 2') packages "$2" ;;
    'aarch64 1') aarch64 ;;
    'image 1') image ;;
    'dockerd 1') docker_engine ;;
    'python 1') pip_python ;;
    '--help 1' | '-h 1' | 'help 1') usage_text ;;
    *) usage ;;
esac
