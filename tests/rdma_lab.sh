#!/usr/bin/env bash
# Runs the program on a real RDMA device: two virtual machines with Debian's kernel and SoftRoCE on one socket network, in
# software emulation. Each sees this machine's root below a layer in memory. The first runs tests/rdma_lab/cases.py, the
# second is its peer. About three minutes. Debian's archive is the kernel's source; apt checks its hashes.
# usage: tests/rdma_lab.sh
#   PROGRAM   the program to test (default: target/release/nixl-retrofit)

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
is_root || fail 'the machines read all of this machine: run this as root'
need 'command -v qemu-system-x86_64' qemu-system-x86
need 'command -v busybox' busybox-static
need 'command -v cpio' cpio
need 'command -v modprobe' kmod
need 'command -v rdma' iproute2
need 'ls /usr/lib/*/libibverbs/librxe-rdmav*.so' ibverbs-providers
program=$(readlink -f "${PROGRAM:-$program}")
need_program
nixl=$(tests/lab.sh env 1.5.0 none)
fabric=$(tests/lab.sh libfabric)

# Seconds for both machines; a quiet two-core machine takes half of it.
limit=${RDMA_LAB_SECONDS:-600}
machine=$lab/rdma
# rdma_rxe needs crc32_generic, which its module does not name (Linux 6.1).
modules='crc32_generic virtio_pci virtio_net 9p 9pnet_virtio overlay rdma_rxe ib_uverbs rdma_ucm'

make_machine() {
    local image version root
    mkdir -p "$machine"
    exec {lock}>"$machine/lock"
    flock "$lock"
    [ "$machine/initrd" -nt tests/rdma_lab/init.sh ] && return 0
    say 'fetching the kernel'
    image=$(apt-cache depends linux-image-amd64 | grep -o 'linux-image-[0-9][^ ]*' | head -1)
    [ -n "$image" ] || fail 'apt knows no linux-image-amd64: run apt-get update'
    rm -rf "$machine/kernel" "$machine/root"
    (cd "$machine" && quietly apt-get download "$image" && quietly dpkg-deb -x linux-image-*.deb kernel && rm linux-image-*.deb)
    version=$(basename "$machine"/kernel/lib/modules/*)
    quietly depmod -b "$machine/kernel" "$version"
    root=$machine/root
    mkdir -p "$root"/{bin,proc,sys,dev,host,memory,new,modules}
    cp "$(command -v busybox)" "$root/bin/"
    for module in $modules; do
        modprobe -d "$machine/kernel" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$machine/modules"
    xargs -a "$machine/modules" cp -t "$root/modules"
    sed 's|.*/||' "$machine/modules" >"$root/modules/order"
    install -m 755 tests/rdma_lab/init.sh "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$machine/initrd.part"
    mv "$machine/initrd.part" "$machine/initrd"
}

# boot NUMBER NETDEV: its console goes to $work/NUMBER. On a busy machine the kernel's check of the emulated timer fails.
boot() {
    timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 2560 -smp 2 -nographic -no-reboot \
        -kernel "$machine"/kernel/boot/vmlinuz-* -initrd "$machine/initrd" \
        -append "console=ttyS0 quiet panic=-1 no_timer_check lab=$work number=$1" \
        -netdev "socket,id=wire,$2" -device "virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0$1" \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
        </dev/null >"$work/$1" 2>"$work/$1.errors"
}

make_machine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp tests/rdma_lab/cases.py "$work/"
cp "$program" "$work/nixl-retrofit"
printf '%s\n' "$nixl" "$fabric" >"$work/places"
printf '%s\n' "$lab" >"$work/packages"
port=$((20000 + $$ % 20000))
boot 2 "listen=127.0.0.1:$port" &
peer=$!
sleep 1
status=0
boot 1 "connect=127.0.0.1:$port" || status=$?
kill "$peer" 2>/dev/null || true
wait "$peer" 2>/dev/null || true
tr -d '\r' <"$work/1" | sed -n '/^rdma lab: begin/,/^rdma lab: end/p' | grep -v '^rdma lab: ' >"$work/report" || true
cat "$work/report"
if ! grep -q '^[0-9]* passed, [0-9]* failed$' "$work/report"; then
    tail -n 25 "$work/1" "$work/1.errors" "$work/2" >&2
    fail "the machine came to no end within $limit s (qemu's exit status $status)"
fi
grep -q '^[1-9][0-9]* passed, 0 failed$' "$work/report" || { tail -n 15 "$work/2" >&2; exit 1; }
