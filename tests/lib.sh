# shellcheck shell=bash
# Sourced by the scripts in this folder. They run in the repository's root folder.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
script=$(basename "$0" .sh)
lab=${NIXL_RETROFIT_LAB:-target/lab}
[[ $lab == /* ]] || lab=$repository/$lab
program=$repository/target/release/nixl-retrofit

say() { printf '%s: %s\n' "$script" "$*" >&2; }
fail() { say "$*"; exit 1; }

# The script's own opening comment, from `# usage:` on.
usage_text() { sed -n '/^# usage:/,/^$/s/^# //p' "$repository/tests/$script.sh"; }
usage() { usage_text >&2; exit 2; }

is_root() { [ "$(id -u)" = 0 ]; }

# Prints a command's output only if the command fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || { tail -n 25 "$log" >&2; say "exit status $status: $*"; }
    rm -f "$log"
    return "$status"
}

# Installs Debian packages unless a command succeeds: 'COMMAND' PACKAGE...
need() {
    local present=$1
    shift
    eval "$present" >/dev/null 2>&1 && return
    if ! is_root || ! command -v apt-get >/dev/null; then
        fail "missing: $*; install it and try again (Debian, Ubuntu: apt-get install $*)"
    fi
    say "installing $*"
    mkdir -p "$repository/target"
    # Of two stages at once, apt-get's update refuses the second one.
    (
        flock 9
        quietly apt-get update || true
        DEBIAN_FRONTEND=noninteractive quietly apt-get install -o DPkg::Lock::Timeout=300 -y --no-install-recommends "$@" || true
    ) 9>"$repository/target/packages.lock"
    eval "$present" >/dev/null 2>&1 || fail "cannot install $*"
}

need_program() { [ -x "$program" ] || fail "$program is missing: run cargo build --release --locked"; }

# Restarts the script in namespaces of its own, where no other process changes the network or shared memory. The network
# has a second interface, v0 with the address 10.9.0.1: libfabric's tcp provider does not take the loopback.
# Pass the script's arguments; nothing can be downloaded after this. Where keeps_network is set, the network stays.
isolate() {
    local _ namespaces=(--ipc --mount)
    [ -n "${keeps_network:-}" ] || namespaces+=(--net)
    if [ -z "${ISOLATED:-}" ]; then
        is_root || fail 'namespaces need root: run this as root'
        ISOLATED=yes exec unshare "${namespaces[@]}" "$repository/tests/$script.sh" "$@"
    fi
    mount -t tmpfs isolated /dev/shm
    [ -z "${keeps_network:-}" ] || return 0
    ip link set lo up
    ip link add v0 type veth peer name v1
    ip addr add 10.9.0.1/24 dev v0
    ip link set v0 up
    ip link set v1 up
    # libfabric ignores an interface without a carrier, and the carrier takes a moment.
    for _ in $(seq 50); do
        ip -oneline link show v0 | grep -q 'state UP' && return
        sleep 0.1
    done
    fail 'the interface v0 has no carrier'
}
