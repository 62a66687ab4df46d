#!/usr/bin/env bash
# Patches images as their builds do it: BuildKit with the program mounted for one RUN, as several users, on a read-only root,
# from the wheel, and twice with one SOURCE_DATE_EPOCH; Dockerfile.example by BuildKit and by buildah.
# usage: tests/builders.sh
#            with what `tests/wheel.sh build` makes and a Docker engine of its own; needs root, and three minutes once the base
#            is there

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# = 0 ] || usage
need_program
is_root || fail 'the engine needs root: run this as root'
dockerd=$(tests/lab.sh dockerd)
wheels=("$repository"/target/wheel/dist/*.whl)
[ -e "${wheels[0]}" ] || fail 'the wheel is missing: run tests/wheel.sh build'
need 'command -v buildah' buildah
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
quietly "$client" import --change "ENV VIRTUAL_ENV=$venv PATH=$venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$archive" imported
# The archive has no /dev, which the first RUN makes.
quietly "$client" build --network=none --tag base - <<<$'FROM imported\nRUN :'

mkdir "$scratch/context"
cp "$program" "${wheels[0]}" "$scratch/context/"
apply='RUN --mount=type=bind,from=tool,source=/tool,target=/mnt /mnt/nixl-retrofit apply --smoke require'
module="$venv/lib/python3*/site-packages/dynamo/nixl_connect/__init__.py"
cat >"$scratch/context/Dockerfile" <<END
FROM base AS tool
COPY nixl-retrofit *.whl /tool/
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
FROM base AS wheel
RUN --mount=type=bind,from=tool,source=/tool,target=/mnt \\
    pip install --no-index --no-cache-dir /mnt/*.whl && nixl-retrofit apply --smoke require
# Without bytecode: a removed file's mark has the time of the build, whatever wrote it.
FROM base AS uncompiled
RUN find $venv -name __pycache__ -path '*nixl_connect*' -prune -exec rm -r {} +
FROM uncompiled AS dated
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,from=tool,source=/tool,target=/mnt /mnt/nixl-retrofit apply --smoke off
# Neither the owner nor in the group.
FROM base AS stranger
USER 65534:65534
$apply
END

build() { "$client" build --network=none --progress=plain --target "$1" --tag "$1" "$scratch/context"; }
in_image() { "$client" run --rm --network=none --read-only --volume "$program:/mnt/nixl-retrofit:ro" "$@"; }

# The last layer of a build at that time, made anew: SECONDS
last_layer() {
    "$client" build --network=none --no-cache --build-arg SOURCE_DATE_EPOCH="$1" --target dated --tag dated "$scratch/context" >&2
    "$client" inspect --format '{{json .RootFS.Layers}}' dated | sed 's/.*,//'
}

# Two builds at one time are the same; at another time they are not, so the comparison tells.
same() { # COMMAND that prints what a build at the time that is its argument makes
    local one other later
    one=$("$1" 1700000000) && other=$("$1" 1700000000) && later=$("$1" 1700000001)
    echo "$one $other $later"
    [ "$one" = "$other" ] && [ "$one" != "$later" ]
}

# Dockerfile.example from this folder, with the program and without a Rust image.
example() { # BUILDER...
    "$@" --file Dockerfile.example --build-arg BASE_IMAGE=base --build-arg RUST_IMAGE=base \
        --build-arg BINARY=target/release/nixl-retrofit --tag example .
}

# With storage of its own. `chroot` isolates where no container engine may.
buildah=(buildah --root "$scratch/buildah" --runroot "$scratch/run" --storage-driver overlay)
buildah_base() {
    local container
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$archive" / &&
        "${buildah[@]}" config --env VIRTUAL_ENV=$venv --env PATH=$venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container" &&
        "${buildah[@]}" commit --quiet --rm "$container" base
}
buildah_example() { example "${buildah[@]}" build --isolation chroot --pull-never --no-cache --timestamp 1700000000; }
buildah_layers() { "${buildah[@]}" inspect --type image --format '{{.OCIv1.RootFS.DiffIDs}}' example; }
# The builder sets the times here; everything else is the program's.
same_again() {
    local first
    first=$(buildah_layers)
    buildah_example || return 1
    echo "$first $(buildah_layers)"
    [ "$first" = "$(buildah_layers)" ]
}
in_buildah() {
    local container status=0
    container=$("${buildah[@]}" from --pull-never example)
    "${buildah[@]}" run --isolation chroot "$container" -- "$@" || status=$?
    "${buildah[@]}" rm "$container"
    return "$status"
}

# The layer has what apply writes, and nothing of the program.
layer() {
    local upper
    upper=$("$client" inspect --format '{{.GraphDriver.Data.UpperDir}}' root)
    [ -z "$(find "$upper" -type f ! -name RECORD ! -name __init__.py)" ] && [ -z "$(find "$upper" -name '*retrofit*')" ]
}

passed=0 failed=0
check() { # WHAT COMMAND...
    local what=$1 status=0 started=$SECONDS
    shift
    "$@" >"$scratch/output" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        say "$what ($((SECONDS - started)) s)"
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
check 'the wheel instead of the compile stage: builds, with the transfer' build wheel
check 'the wheel: check finds the image patched' "$client" run --rm --network=none --read-only wheel nixl-retrofit check
check 'two builds at one SOURCE_DATE_EPOCH make the same layer' same last_layer
check 'Dockerfile.example: BuildKit builds it' example "$client" build --network=none --progress=plain
check 'Dockerfile.example: check finds the image patched' "$client" run --rm --network=none example nixl-retrofit check
check 'buildah: the base is made' buildah_base
check 'Dockerfile.example: buildah builds it' buildah_example
check 'Dockerfile.example: check finds the image of buildah patched' in_buildah nixl-retrofit check
check 'Dockerfile.example: two builds of buildah at one --timestamp are the same layers' same_again
check 'a stranger is told what to do' refuses 'Permission denied.*nothing was changed' 'USER root' build stranger
check 'a read-only root is told' refuses 'Read-only file system.*nothing was changed' 'owner of the environment' \
    in_image base /mnt/nixl-retrofit apply
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
