#!/bin/bash
# A prolog for slurmd (Prolog= in slurm.conf): a node that cannot transfer over EFA takes no job. Slurm drains a node whose
# prolog fails, and keeps the exit status as the reason.
#
# CHOOSE: the environment to look at.
set -u
environment=/opt/dynamo/venv

# Nodes without EFA are none of this prolog's.
grep -qs 0x1d0f /sys/class/infiniband/*/device/vendor || exit 0

if ! nixl-retrofit smoke --quiet --backend LIBFABRIC --require-fabric efa --size 1M --timeout 30s "$environment"; then
    logger --tag=prolog "no transfer over EFA on $(hostname): nixl-retrofit doctor --expect-node $environment says why"
    exit 1
fi
