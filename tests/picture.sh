#!/usr/bin/env bash
# Makes the pictures of README.md from what the program prints on a terminal, in a container with a real Dynamo and NIXL.
# usage: tests/picture.sh
#            with the program of `cargo build`, after a change to its output; needs root. `tests/readme.rs` compares the text of
#            the pictures with README.md's, and that with the program's output.

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
is_root || fail 'namespaces need root: run this as root'
program=$repository/target/debug/nixl-retrofit
[ -x "$program" ] || fail "$program is missing: run cargo build"
environment=$(tests/lab.sh env 1.5.0 1.6.1)
room=$(mktemp -d "$(dirname "$environment")/.picture.XXXXXX")
# shellcheck disable=SC2064 # this folder
trap "rm -rf '$room'" EXIT
cp -al "$environment" "$room/venv"
# shellcheck disable=SC2016 # expanded inside
unshare --mount --net sh -euc '
    mount -t tmpfs none /opt
    mkdir -p /opt/dynamo/venv
    mount --bind "$1" /opt/dynamo/venv
    ip link set lo up
    cd /
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$2" apply --smoke require --color always' \
    sh "$room/venv" "$program" >"$room/output"
mkdir -p docs/images
python3 tests/picture.py README.md docs/images/apply-light.svg docs/images/apply-dark.svg <"$room/output"
