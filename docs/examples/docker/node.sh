#!/bin/sh
# On a node: is this image able to transfer over EFA here?
#
#   ./node.sh IMAGE
set -eu

# --network host: EFA belongs to the host's network. --device: the device files of RDMA. memlock: registered memory is
# locked. --shm-size: UCX's shared memory.
run() {
    docker run --rm --network host --device /dev/infiniband --ulimit memlock=-1 --shm-size 8g "$@"
}

run "$1" nixl-retrofit doctor --expect-node --backend LIBFABRIC --fabric efa
run "$1" nixl-retrofit smoke --backend LIBFABRIC --require-fabric efa
