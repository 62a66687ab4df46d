#!/usr/bin/env bash
# Patches images as their builds do it: BuildKit with the program mounted for one RUN, as several users, on a read-only root.
# usage: tests/builders.sh
#            with the release build and a Docker engine of its own; needs root, and two minutes once the base is there

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# = 0 ] || usage
need_program
is_root || fail 'the engine needs root: run this as root'
dockerd=$(tests/lab.sh dockerd)
# The engine's own client has BuildKit built in; newer ones look for a plugin.
client=/usr/bin/docker
archive=$(tests/lab.sh image)
scratch=$(mktemp -d)
export DOCKER_HOST=unix://$scratch/docker.sock DOCKER_BUILDKIT=1
setpriv --pdeathsig TERM unshare --mount --propagation private "$dockerd" --host "$DOCKER_HOST" \
    --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
    --iptables=false --ip6tables=false --bridge=none >"$scratch/log" 2>&1 &
engine=$!
# shellcheck disable=SC2064 # this process and folder
trap "kill $engine; wait $engine 2>/dev/null || true; rm -rf '$scratch'" EXIT
for _ in $(seq 100); do
    "$client" info >/dev/null 2>&1 && break
    sleep 0.2
done
venv=/opt/dynamo/venv
say 'importing the base image'
quietly "$client" import --change "ENV VIRTUAL_ENV=$venv PATH=$venv/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$archive" base

mkdir "$scratch/context"
cp "$program" "$scratch/context/"
apply='RUN --mount=type=bind,from=tool,source=/tool,target=/mnt /mnt/nixl-retrofit apply --smoke require'
module="$venv/lib/python3*/site-packages/dynamo/nixl_connect/__init__.py"
cat >"$scratch/context/Dockerfile" <<END
FROM base AS tool
COPY nixl-retrofit /tool/nixl-retrofit
FROM base AS root
$apply
# Owns the files, and is not in their group.
FROM base AS owner
RUN chown -R 1234:50 $venv
USER 1234:100
$apply
# As OpenShift runs a container: any user, in group 0.
FROM base AS group0
RUN chgrp -R 0 $venv && chmod -R g=u $venv
USER 1000660000:0
$apply
# Neither the owner nor in the group.
FROM base AS stranger
USER 65534:65534
$apply
END

build() { "$client" build --network=none --progress=plain --target "$1" --tag "$1" "$scratch/context"; }
in_image() { "$client" run --rm --network=none --read-only --volume "$program:/mnt/nixl-retrofit:ro" "$@"; }

# The layer has what apply writes, and nothing of the program.
layer() {
    local upper
    upper=$("$client" inspect --format '{{.GraphDriver.Data.UpperDir}}' root)
    [ -z "$(find "$upper" -type f ! -name RECORD ! -name __init__.py)" ] && [ -z "$(find "$upper" -name '*retrofit*')" ]
}

passed=0 failed=0
check() { # WHAT COMMAND...
    local what=$1 status=0
    shift
    "$@" >"$scratch/output" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "FAILED: $what"
        tail -n 30 "$scratch/output" >&2
    fi
}

# Fails, says both, and prints status 2.
refuses() { # WORDS HELP COMMAND...
    local words=$1 help=$2
    shift 2
    ! "$@" >"$scratch/refusal" 2>&1 || return 1
    cat "$scratch/refusal"
    grep -q "$words" "$scratch/refusal" && grep -q "help: .*$help" "$scratch/refusal"
}

for user in root owner group0; do
    check "$user builds, without a network" build "$user"
    check "$user: the image is patched, and its root may be read-only" in_image "$user" /mnt/nixl-retrofit check
    check "$user: the transfer passes on a read-only root" in_image "$user" /mnt/nixl-retrofit smoke
done
check 'nothing but the module and its RECORD is in the layer' layer
# shellcheck disable=SC2016 # expanded in the container
check 'the owner stays' in_image owner sh -c 'test "$(stat -c %u '"$module"')" = 1234'
check 'a stranger is told what to do' refuses 'Permission denied.*nothing was changed' 'USER root' build stranger
check 'a read-only root is told' refuses 'Read-only file system.*nothing was changed' 'owner of the environment' \
    in_image base /mnt/nixl-retrofit apply
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
