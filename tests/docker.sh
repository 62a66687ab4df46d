#!/usr/bin/env bash
# Builds Dockerfile.example with a real Docker engine, on a base image made on the spot: Debian with a real Dynamo
# and a real NIXL in /opt/dynamo/venv. Needs target/release/nixl-retrofit, and root where no engine runs already.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
lab=${NIXL_RETROFIT_LAB:-$PWD/target/lab}
binary=target/release/nixl-retrofit
suite=trixie suite_python=3.13 # what that Debian has
dynamo=1.6.1 nixl=1.5.0
base=nixl-retrofit-test/base:$$ broken=nixl-retrofit-test/broken:$$ patched=nixl-retrofit-test/patched:$$
scratch=$(mktemp -d)
engine_pid=
passed=0 failed=0

say() { printf 'docker: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The engine that was started here ends; images in someone else's engine are removed.
clean_up() {
    if [ -n "$engine_pid" ]; then
        kill "$engine_pid" 2>/dev/null || true
        wait "$engine_pid" 2>/dev/null || true
        awk -v under="$scratch/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r |
            while read -r mount; do umount "$mount" || true; done
    else
        docker rmi --force "$patched" "$broken" "$base" >/dev/null 2>&1 || true
    fi
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT

# --- The engine

install_packages() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "$1 is missing, and it can only be installed here by root with apt-get"
    fi
    say "installing $*"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$scratch/apt.log" 2>&1 || { tail -n 20 "$scratch/apt.log" >&2; fail "apt-get could not install $*"; }
}

# A private engine: its socket, images and state are in a temporary folder, so that no other engine is touched.
start_engine() {
    [ "$(id -u)" = 0 ] || fail 'no Docker engine answers (docker info), and only root can start one'
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
        install_packages docker.io
    fi
    local driver
    for driver in overlay2 vfs; do
        say "starting an engine with storage driver $driver"
        dockerd --host "unix://$scratch/docker.sock" --data-root "$scratch/data" --exec-root "$scratch/exec" \
            --pidfile "$scratch/docker.pid" --storage-driver "$driver" --iptables=false --ip6tables=false \
            --bridge=none >"$scratch/dockerd.log" 2>&1 &
        engine_pid=$!
        export DOCKER_HOST=unix://$scratch/docker.sock
        if engine_answers; then
            return
        fi
        kill "$engine_pid" 2>/dev/null || true
        wait "$engine_pid" 2>/dev/null || true
    done
    tail -n 20 "$scratch/dockerd.log" >&2
    fail 'the Docker engine does not start'
}

engine_answers() {
    local _
    for _ in $(seq 300); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$engine_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# --- The base image

# The Debian mirror that this machine's own apt uses, in either form of its sources. No other archive than Debian's
# has a suite for updates.
debian_mirror() {
    local release
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && printf '%s %s' "$ID" "${VERSION_CODENAME:-}")
    [ "${release% *}" = debian ] ||
        fail 'the base image is made from the Debian mirror of this machine; run this on Debian'
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        awk -v suite="${release#* }-updates" '
            $1 == "deb" { sub(/\[[^]]*\] */, ""); if ($3 == suite && !found++) print $2 }
            $1 == "URIs:" { uri = $2 }
            $1 == "Suites:" && index($0 " ", " " suite " ") && !found++ { print uri }'
}

debian_tarball() {
    local tarball=$lab/docker-$suite.tar mirror
    if [ ! -e "$tarball" ]; then
        command -v debootstrap >/dev/null || install_packages debootstrap
        [ "$(id -u)" = 0 ] || fail 'debootstrap makes the base image, and it needs root'
        mirror=$(debian_mirror)
        [ -n "$mirror" ] || fail 'no Debian mirror found in /etc/apt'
        say "making a Debian $suite with debootstrap"
        debootstrap --variant=minbase --include=python3,python3-venv,libhwloc15,libnuma1 "$suite" "$scratch/root" \
            "$mirror" >"$scratch/debootstrap.log" 2>&1 ||
            { tail -n 20 "$scratch/debootstrap.log" >&2; fail 'debootstrap failed'; }
        tar -C "$scratch/root" --exclude=./dev --exclude='./var/cache/apt/archives/*.deb' \
            --exclude='./var/lib/apt/lists/*' -cf "$scratch/base.tar" .
        mkdir -p "$lab"
        mv "$scratch/base.tar" "$tarball.$$" && mv "$tarball.$$" "$tarball"
        rm -rf "$scratch/root"
    fi
    printf '%s\n' "$tarball"
}

# What a Dynamo image holds that matters here, downloaded outside: the container needs no network and no settings.
gather_wheels() {
    local python
    mkdir "$scratch/base" "$scratch/base/wheels"
    cp "$(tests/lab.sh wheel ai-dynamo-runtime "$dynamo" "$suite_python")" "$(tests/lab.sh wheel nixl "$nixl")" \
        "$(tests/lab.sh wheel nixl-cu13 "$nixl" "$suite_python")" "$scratch/base/wheels/"
    mkdir -p "$lab/docker-wheels"
    python=$(tests/lab.sh python)
    say 'gathering numpy and pydantic'
    "$python" -m pip download --quiet --only-binary=:all: --python-version "$suite_python" \
        --find-links "$lab/docker-wheels" --dest "$lab/docker-wheels" numpy 'pydantic<=2.13.5' >&2
    mkdir "$scratch/base/common"
    cp "$lab"/docker-wheels/*.whl "$scratch/base/common/"
    cp -R fixtures/torch_stand_in/torch "$scratch/base/torch"
}

make_base_image() {
    local tarball
    tarball=$(debian_tarball)
    gather_wheels
    say 'making the base image'
    docker import "$tarball" nixl-retrofit-test/debian:$$ >/dev/null
    cat >"$scratch/base/Dockerfile" <<TEXT
FROM nixl-retrofit-test/debian:$$
COPY . /packages
RUN python3 -m venv /opt/dynamo/venv && \
    /opt/dynamo/venv/bin/pip install --quiet --no-index --find-links /packages/common numpy pydantic && \
    /opt/dynamo/venv/bin/pip install --quiet --no-index --no-deps /packages/wheels/*.whl && \
    cp -R /packages/torch /opt/dynamo/venv/lib/python3*/site-packages/ && rm -r /packages
ENV VIRTUAL_ENV=/opt/dynamo/venv PATH=/opt/dynamo/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
TEXT
    docker build --network=none -t "$base" "$scratch/base" >"$scratch/base.log" 2>&1 ||
        { tail -n 20 "$scratch/base.log" >&2; fail 'the base image cannot be built'; }
    # The same with NIXL's plugins taken away: an image in which no transfer is possible.
    printf 'FROM %s\nRUN find /opt/dynamo/venv -name "libplugin_*.so" -delete\n' "$base" |
        docker build --network=none -t "$broken" - >"$scratch/broken.log" 2>&1 ||
        { tail -n 20 "$scratch/broken.log" >&2; fail 'the broken base image cannot be built'; }
}

# --- The checks

build_example() {
    docker build --network=host -f Dockerfile.example --build-arg "BASE_IMAGE=$1" --build-arg "RUST_IMAGE=$base" \
        --build-arg "BINARY=$binary" -t "$patched" .
}

check() {
    local what=$1 seconds=$SECONDS
    shift
    if "$@" >"$scratch/check.log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok      %s (%d s)\n' "$what" $((SECONDS - seconds))
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n' "$what"
        tail -n 60 "$scratch/check.log" | sed 's/^/        /'
    fi
}

unpatched_image_is_found() {
    local status=0
    docker run --rm --network=none -v "$PWD/$binary:/usr/local/bin/nixl-retrofit:ro" "$base" \
        nixl-retrofit check || status=$?
    [ "$status" = 1 ]
}

example_builds() { build_example "$base" 2>&1 | tee "$scratch/example.log"; }

# The report of the transfer, in the output of the build itself.
transfer_ran_in_the_build() {
    cat "$scratch/example.log"
    grep -Eq 'smoke passed: UCX over [a-z]' "$scratch/example.log"
}

patched_image_passes() { docker run --rm --network=none "$patched" nixl-retrofit check; }

smoke_passes_in_the_image() {
    docker run --rm --network=none "$patched" nixl-retrofit smoke --output-format json >"$scratch/smoke.json"
    cat "$scratch/smoke.json"
    python3 - "$scratch/smoke.json" <<'PYTHON'
import json, sys
smoke = json.load(open(sys.argv[1]))["smoke"]
assert smoke["status"] == "passed" and smoke["backend"] == "UCX" and smoke["verified"] is True
PYTHON
}

record_agrees() {
    docker run --rm --network=none -i "$patched" python - <<'PYTHON'
import base64, csv, glob, hashlib
(record,) = glob.glob("/opt/dynamo/venv/lib/python3*/site-packages/ai_dynamo_runtime-*.dist-info/RECORD")
site_packages = record.rsplit("/", 2)[0]
name = "dynamo/nixl_connect/__init__.py"
data = open(f"{site_packages}/{name}", "rb").read()
digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
lines = [line for line in csv.reader(open(record, newline="")) if line[0] == name]
print(lines)
assert lines == [[name, "sha256=" + digest, str(len(data))]], (digest, len(data))
assert b"NIXL_BACKEND" in data
PYTHON
}

# The real Dynamo with the real NIXL, in the image: the variable decides which backend the agent has.
variable_is_honoured() {
    docker run --rm --network=none -e "NIXL_BACKEND=$1" -i "$patched" python - "$2" <<'PYTHON'
import logging, sys
asked = []
class Keeper(logging.Handler):
    def emit(self, record):
        asked.append(record.getMessage())
logging.basicConfig(level=logging.INFO, handlers=[Keeper()])
import dynamo.nixl_connect as nixl_connect
connection = nixl_connect.Connection(nixl_connect.Connector(), 1)
print(asked, list(connection._nixl.backends))
assert f"NIXL Connect: Using backend(s): {[sys.argv[1]]}" in asked
assert list(connection._nixl.backends) == [sys.argv[1]]
PYTHON
}

broken_image_stops_the_build() {
    local status=0
    build_example "$broken" >"$scratch/stopped.log" 2>&1 || status=$?
    cat "$scratch/stopped.log"
    [ "$status" != 0 ] &&
        grep -Eq 'apply --smoke require.*(returned a non-zero code|exit code): 1\b' "$scratch/stopped.log"
}

# That the files which .dockerignore lets through are enough to compile: no Rust image can be pulled everywhere.
context_compiles() {
    mkdir "$scratch/context"
    # What .dockerignore lets through, the ready binary aside.
    local name
    while read -r name; do
        cp -R "$name" "$scratch/context/"
    done < <(sed -n '/^!target/d; s/^!//p' .dockerignore)
    CARGO_TARGET_DIR=$PWD/target cargo check --quiet --locked --manifest-path "$scratch/context/Cargo.toml"
}

main() {
    [ -x "$binary" ] || fail "$binary is missing: cargo build --release --locked"
    # The older builder, which every engine has: it builds all stages, in order.
    export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}
    docker info >/dev/null 2>&1 || start_engine
    make_base_image
    check 'check finds the base image unpatched' unpatched_image_is_found
    check 'Dockerfile.example builds' example_builds
    check 'the UCX transfer ran inside the build' transfer_ran_in_the_build
    check 'docker run IMAGE nixl-retrofit check' patched_image_passes
    check 'the transfer passes in the image, verified' smoke_passes_in_the_image
    check 'RECORD agrees with the patched file' record_agrees
    check 'NIXL_BACKEND=ucx makes an agent with UCX' variable_is_honoured ucx UCX
    check 'an image without NIXL plugins stops the build' broken_image_stops_the_build
    check "Dockerfile.example's sources are enough to compile" context_compiles
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]
}

main "$@"
