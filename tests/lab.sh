#!/usr/bin/env bash
# The test laboratory: real Dynamo and NIXL packages without their 6 GB of CUDA, under target/lab/.
# Results go to standard output, one path; everything else to standard error.
set -euo pipefail
shopt -s inherit_errexit

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lab=${NIXL_RETROFIT_LAB:-$repository/target/lab}

usage() {
    cat <<'TEXT'
usage: tests/lab.sh env NIXL_VERSION [DYNAMO_VERSION]
           a virtual environment with that NIXL and ai-dynamo-runtime (default 1.6.1; none: NIXL alone)
       tests/lab.sh wheel DISTRIBUTION VERSION [PYTHON_VERSION]
           that wheel, downloaded once; for this machine's Python, or for 3.12, 3.13, ...
       tests/lab.sh debian PACKAGE
           that package of this Debian, unpacked and not installed
       tests/lab.sh python
           a Python interpreter with pip, numpy, pydantic and a stand-in for torch
       tests/lab.sh libfabric
           the folder with libfabric 2.1.0 (impi-rt), its providers tcp and shm, and libcudart.so.13; installs libhwloc15
       tests/lab.sh debian13
           the root folder of a Debian 13 with its own libfabric1 (needs root)
       tests/lab.sh tool DISTRIBUTION VERSION
           the folder with the programs, the Python interpreter too, of an environment with that distribution
Each prints one path. NIXL_RETROFIT_LAB names another folder than target/lab/.
TEXT
}

say() { printf 'lab: %s\n' "$*" >&2; }
fail() { printf 'lab: %s\n' "$*" >&2; exit 1; }

# One maker at a time for each thing; the lock ends with the process.
lock() {
    mkdir -p "$lab/locks"
    exec {lock_fd}>"$lab/locks/$1"
    flock "$lock_fd"
}

# Runs a command whose output matters only when it fails.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        rm -f "$log"
        say "this failed: $*"
        return 1
    fi
    rm -f "$log"
}

base_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail 'Python 3.10 to 3.13 is needed (Dynamo and NIXL have no wheels for another one), and none is on PATH'
}

# Debian's Python comes without ensurepip.
ensure_venv_module() {
    "$1" -c 'import venv, ensurepip' 2>/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say 'installing python3-venv'
        quietly apt-get update
        quietly apt-get install -y --no-install-recommends python3-venv
        "$1" -c 'import venv, ensurepip' 2>/dev/null && return
    fi
    fail "$1 cannot make virtual environments: install its venv module (Debian and Ubuntu: apt-get install python3-venv)"
}

# A folder is complete once it has its stamp. The stamp names what the folder was made from where that has changed since
# the first version of this script: an older folder is then made again. A virtual environment contains its own path, so
# it cannot be built elsewhere and renamed.
is_complete() { # FOLDER [MADE_FROM]
    [ -e "$1/.complete" ] && [ "$(cat "$1/.complete")" = "${2:-}" ]
}

purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# The environment that has pip; all the others are filled from here.
pip_python() {
    local folder=$lab/tools/python python
    if ! is_complete "$folder"; then
        (
            lock python
            is_complete "$folder" && exit
            python=$(base_python)
            ensure_venv_module "$python"
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
            # shellcheck disable=SC2064 # the name of today's folder, not of a later one
            trap "rm -rf '$beside'" EXIT
            quietly "$python" -m pip download --no-deps --only-binary=:all: --no-cache-dir ${3:+--python-version "$3"} \
                --dest "$beside" "$distribution==$version"
            mv "$beside" "$folder"
        )
    fi
    printf '%s\n' "$folder"/*.whl
}

# NIXL's wheels: from 0.7.1 on `nixl` only chooses between nixl-cu12 and nixl-cu13, before that it holds the libraries.
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
            # numpy, pydantic and the stand-in for torch, seen through a .pth file: nothing is downloaded twice.
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

# Installing would change what the libraries under test find on this machine: UCX, for one, loads its RDMA modules once
# libibverbs is there.
debian() {
    local package=$1 folder=$lab/debian/$1
    if ! is_complete "$folder"; then
        (
            lock "debian-$package"
            is_complete "$folder" && exit
            command -v apt-get >/dev/null || fail "$package is a Debian package, and there is no apt-get"
            apt-cache show "$package" >/dev/null 2>&1 || quietly apt-get update || fail "apt-get update needs root"
            say "unpacking $package"
            rm -rf "$folder"
            mkdir -p "$folder/packages"
            # apt's own user cannot write there, which it only mentions.
            (cd "$folder/packages" && quietly apt-get download "$package")
            quietly dpkg-deb -x "$folder"/packages/*.deb "$folder"
            rm -rf "$folder/packages"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

# libhwloc.so.15 is the system's: NIXL's wheels expect it there.
ensure_hwloc() {
    ldconfig -p | grep -q 'libhwloc\.so\.15 ' && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say 'installing libhwloc15'
        quietly apt-get update
        quietly apt-get install -y --no-install-recommends libhwloc15
        ldconfig -p | grep -q 'libhwloc\.so\.15 ' && return
    fi
    fail 'libhwloc.so.15 is missing: install it (Debian and Ubuntu: apt-get install libhwloc15)'
}

# libfabric loads every provider module (lib*-fi.so) in its own folder, so only those of the tests are there. With psm3,
# which loads on a machine that has libibverbs, NIXL's tcp rails fail or stall between two machines; the modules for
# other hardware would likewise make the result depend on what is installed.
libfabric() {
    local folder=$lab/libfabric python impi cudart made_from
    local files=(libfabric.so.1 libtcp-fi.so libshm-fi.so libcudart.so.13)
    ensure_hwloc
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

debian_mirror() {
    local release
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && printf '%s %s' "$ID" "${VERSION_CODENAME:-}")
    [ "${release% *}" = debian ] ||
        fail 'the Debian is made from the Debian mirror of this machine; run this on Debian'
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        awk -v suite="${release#* }-updates" '
            $1 == "deb" { sub(/\[[^]]*\] */, ""); if ($3 == suite && !found++) print $2 }
            $1 == "URIs:" { uri = $2 }
            $1 == "Suites:" && index($0 " ", " " suite " ") && !found++ { print uri }'
}

# A Debian whose libfabric NIXL 1.5.0's plugin does not survive.
debian13() {
    local folder=$lab/debian13 mirror
    if ! is_complete "$folder"; then
        (
            lock debian13
            is_complete "$folder" && exit
            [ "$(id -u)" = 0 ] || fail 'debootstrap makes the Debian, and it needs root'
            if ! command -v debootstrap >/dev/null; then
                say 'installing debootstrap'
                quietly apt-get update
                quietly apt-get install -y --no-install-recommends debootstrap
            fi
            mirror=$(debian_mirror)
            [ -n "$mirror" ] || fail 'no Debian mirror found in /etc/apt'
            say "making $folder with debootstrap"
            rm -rf "$folder"
            quietly debootstrap --variant=minbase --include=libfabric1,libhwloc15,libnuma1,libstdc++6 trixie \
                "$folder" "$mirror"
            mkdir -p "$folder/lab" "$folder/program"
            touch "$folder/.complete"
        )
    fi
    printf '%s\n' "$folder"
}

case "${1:-} $#" in
    'debian 2') debian "$2" ;;
    'env 2' | 'env 3') environment "${@:2}" ;;
    'wheel 3' | 'wheel 4') wheel "${@:2}" ;;
    'tool 3') tool "$2" "$3" ;;
    'libfabric 1') libfabric ;;
    'debian13 1') debian13 ;;
    'python 1') pip_python ;;
    '--help 1' | '-h 1' | 'help 1') usage ;;
    *) usage >&2; exit 2 ;;
esac
