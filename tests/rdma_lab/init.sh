#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a virtual machine of tests/rdma_lab.sh.
b=/bin/busybox
$b mount -t proc p /proc
$b mount -t sysfs s /sys
$b mount -t devtmpfs d /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
$b mount -t tmpfs m /memory
$b mkdir /memory/upper /memory/work /memory/packages /memory/packages-work
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /host
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work o /new
$b mount -t proc p /new/proc
$b mount -t sysfs s /new/sys
$b mount --bind /dev /new/dev
for folder in dev/shm tmp run; do
    $b mkdir -p "/new/$folder"
    $b mount -t tmpfs t "/new/$folder"
done
number=$($b sed -n 's/.*\bnumber=\([0-9]*\).*/\1/p' /proc/cmdline)
lab=$($b sed -n 's/.*\blab=\([^ ]*\).*/\1/p' /proc/cmdline)
# The packages may be below one of these folders, whose files a tmpfs hides.
packages=$($b cat "/host$lab/packages")
if ! [ -e "/new$packages" ]; then
    $b mkdir -p "/new$packages"
    $b mount -t overlay -o "lowerdir=/host$packages,upperdir=/memory/packages,workdir=/memory/packages-work" o "/new$packages"
fi
$b cp -r "/host$lab" /new/tmp/lab
$b chmod 755 /new/tmp/lab
$b hostname "lab$number"
$b ip link set lo up
$b ip addr add "10.78.0.$number/24" dev eth0
$b ip link set eth0 up
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NUMBER="$number"
echo
echo "rdma lab: begin"
$b chroot /new /bin/bash -c 'cd /; rdma link add rxe0 type rxe netdev eth0; ulimit -l unlimited; python3 /tmp/lab/cases.py'
echo "rdma lab: end"
$b poweroff -f
