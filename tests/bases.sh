#!/usr/bin/env bash
# From nothing, in each base: makes an environment with Dynamo 1.6.1 and NIXL 1.5.0 as its images have it, then installs the
# wheel in every way of docs/install.md, its lines of a Dockerfile included, without a network, and does the main job.
# usage: tests/bases.sh [BASE...]
#            of debian12 and ubuntu24.04 [both]; needs root, and the wheel that tests/wheel.sh has built

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bases=("$@")
[ $# -gt 0 ] || bases=(debian12 ubuntu24.04)
is_root || fail 'a root folder is entered by root: run this as root'
wheels=("$repository"/target/wheel/dist/*.whl)
[ -e "${wheels[0]}" ] || fail 'no wheel in target/wheel/dist: run tests/wheel.sh build'
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

# What is executed below is what the page says.
# shellcheck disable=SC2016 # Markdown
for words in '`uvx nixl-retrofit check`' '`pipx install nixl-retrofit`' '`pip install nixl-retrofit`'; do
    grep -qF "$words" docs/install.md || fail "docs/install.md does not have $words"
done
# The RUN lines of the page's Dockerfile, each a script.
"$(tests/lab.sh python)" - docs/install.md "$scratch" <<'PYTHON'
import pathlib, re, sys

page, folder = map(pathlib.Path, sys.argv[1:])
dockerfile = re.search(r"```dockerfile\n(.*?)```", page.read_text(), re.S).group(1).replace("\\\n", "")
runs = re.findall(r"^RUN (.*)$", dockerfile, re.M)
assert len(runs) == 2, dockerfile
(folder / "dockerfile.sh").write_text("\n".join(runs) + "\n")
PYTHON

# Inside of the base.
cat >"$scratch/make.sh" <<'SCRIPT'
python3 -m venv /opt/dynamo/venv
/opt/dynamo/venv/bin/pip install --quiet numpy pydantic
/opt/dynamo/venv/bin/pip install --quiet --no-deps ai-dynamo-runtime nixl nixl-cu13
cp -R /torch "$(echo /opt/dynamo/venv/lib/python3*/site-packages)/"
python3 -m venv /opt/tools
/opt/tools/bin/pip install --quiet pipx uv
SCRIPT
cat >"$scratch/run.sh" <<'SCRIPT'
exits() { # STATUS COMMAND...
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    [ "$status" = "$wanted" ] || { echo "exit status $status, expected $wanted: $*"; exit 3; }
}
PATH=/opt/tools/bin:$PATH
(
    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install --quiet nixl-retrofit
    export PATH=/tmp/venv/bin:$PATH
    exits 1 nixl-retrofit check
)
(
    pipx install nixl-retrofit
    export PATH=$HOME/.local/bin:$PATH
    exits 1 nixl-retrofit check
    nixl-retrofit apply --smoke require
    exits 0 nixl-retrofit check
    nixl-retrofit revert
)
exits 1 uvx nixl-retrofit check
# With a hash that is pinned, and with a wrong one.
python3 -m venv /tmp/pinned
version=$(basename /wheel/*.whl | cut -d - -f 2)
pin() { printf 'nixl-retrofit==%s --hash=sha256:%s\n' "$version" "$1" >/tmp/pinned.txt; }
pin "$(printf wrong | sha256sum | cut -d ' ' -f 1)"
exits 1 /tmp/pinned/bin/pip install --quiet --require-hashes -r /tmp/pinned.txt
pin "$(sha256sum /wheel/*.whl | cut -d ' ' -f 1)"
/tmp/pinned/bin/pip install --quiet --require-hashes -r /tmp/pinned.txt
bash -euxc "$(cat /dockerfile.sh)"
exits 0 nixl-retrofit check
NIXL_BACKEND=UCX nixl-retrofit smoke
nixl-retrofit revert
exits 1 nixl-retrofit check
SCRIPT

# In namespaces of its own: ROOT SCRIPT
inside() {
    # shellcheck disable=SC2016 # expanded by the shell inside
    unshare --mount --net --ipc --pid --fork bash -euc '
        root=$1
        ip link set lo up
        mount -t proc proc "$root/proc"
        mount -t sysfs sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs shm "$root/dev/shm"
        mount --bind "$2" "$root/wheels"
        mount --bind "$3" "$root/wheel"
        exec env -i HOME=/root VIRTUAL_ENV=/opt/dynamo/venv PATH=/opt/dynamo/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            PIP_NO_INDEX=1 PIP_FIND_LINKS="/wheels /wheel" UV_NO_INDEX=1 UV_FIND_LINKS="/wheels,/wheel" UV_OFFLINE=1 \
            chroot "$root" bash -eu "$4"' \
        inside "$1" "$packages" "$repository/target/wheel/dist" "$2" 2>&1
}

for base in "${bases[@]}"; do
    made_from=$(tests/lab.sh "$base")
    root=$scratch/$base
    cp -a --reflink=auto "$made_from" "$root"
    packages=$(tests/lab.sh packages "$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')")
    mkdir -p "$root/wheels" "$root/wheel"
    cp "$scratch"/*.sh "$root/"
    cp -R fixtures/torch_stand_in/torch "$root/torch"
    # shellcheck source=/dev/null
    name=$(. "$root/etc/os-release" && printf '%s' "$PRETTY_NAME")
    if inside "$root" /make.sh >"$scratch/output" && inside "$root" /run.sh >>"$scratch/output"; then
        passed=$((passed + 1))
        printf 'ok      %s: pip, pipx, uvx and a Dockerfile, each with the main job\n' "$name"
    else
        failed=$((failed + 1))
        say "FAILED: $name"
        tail -n 40 "$scratch/output" >&2
    fi
    rm -rf "$root"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
