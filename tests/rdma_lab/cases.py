"""What the program says on a machine with a real RDMA device. tests/rdma_lab.sh boots the machines that run this."""

import json
import os
import re
import subprocess
import sys
import time

LAB = "/tmp/lab"
PROGRAM = LAB + "/nixl-retrofit"
NIXL, FABRIC = open(LAB + "/places").read().split()
PORT = "7000"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/tmp", "NIXL_RETROFIT_TOKEN": "a token of this laboratory"}
VERBS = "/dev/infiniband/uverbs0"
DRIVERS = "/usr/lib/x86_64-linux-gnu/libibverbs"
results = []
begun = time.monotonic()


def took():
    """Seconds since the last result."""
    global begun
    before, begun = begun, time.monotonic()
    return f"{begun - before:.0f} s"


def site_packages():
    root, folders, _ = next(os.walk(NIXL + "/lib"))
    return f"{root}/{folders[0]}/site-packages"


def cure():
    """The wheel's libibverbs under the system's name, as the warning about two copies says."""
    for folder, _, files in os.walk(site_packages()):
        for name in files:
            if name.startswith("libibverbs-"):
                os.makedirs("/tmp/verbs", exist_ok=True)
                os.symlink(os.path.join(folder, name), "/tmp/verbs/libibverbs.so.1")
                return {"LD_LIBRARY_PATH": f"/tmp/verbs:{DRIVERS}"}
    sys.exit("the wheel has no libibverbs")


def smoke(*arguments, before=(), timeout=60, **variables):
    command = [*before, PROGRAM, "smoke", "--size", "256k", "--timeout", str(timeout), "--output-format", "json"]
    command += [*arguments, site_packages()]
    done = subprocess.run(command, env={**ENVIRONMENT, **variables}, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout) if done.stdout else {"error": done.stderr, "smoke": None, "findings": []}
    return done.returncode, document


def doctor(*arguments):
    """The exit status, and the identifiers of what was found."""
    question = ["--no-load", "--backend", "UCX", "--fabric", "rdma"]
    command = [PROGRAM, "doctor", *question, "--output-format", "json", site_packages(), *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    found = [finding["id"] for finding in json.loads(done.stdout or '{"findings": []}')["findings"]]
    return done.returncode, found, done.stderr


def judged(name, result, is_found):
    """Whether doctor finds two copies of libibverbs."""
    status, found, errors = result
    is_right = ("two-libibverbs" in found) == is_found and status in (0, 1)
    results.append(is_right)
    print(f"{'ok' if is_right else 'WRONG'}: {name}, {took()}", *([] if is_right else [status, found, errors]), flush=True)


def case(name, result, status, fabric, *words):
    """Words are regular expressions for the document as text."""
    code, document = result
    text = json.dumps(document)
    made = document["smoke"] or {}
    wrong = [f"status {code}, expected {status}"] if code != status else []
    if made.get("fabric") != fabric:
        wrong.append(f"fabric {made.get('fabric')}, expected {fabric}")
    wrong += [f"no {word!r}" for word in words if not re.search(word, text)]
    results.append(not wrong)
    print(f"{'ok' if not wrong else 'WRONG'}: {name}, {took()}", *wrong, sep="; " if wrong else "", flush=True)
    if wrong:
        shown = {key: made.get(key) for key in ("status", "transports", "warnings", "failure")}
        print(json.dumps([shown, document["findings"], document.get("error")], indent=1), flush=True)


def first():
    cured = cure()
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
    case("unmodified wheel", smoke(), 0, "shm", "rdma-device-unused", "two copies of libibverbs", "rxe0")
    case("unmodified wheel, rc asked for", smoke(UCX_TLS="rc,ud"), 1, None, "ucx-asked-unavailable", "two copies of libibverbs")
    case("rc", smoke("--require-fabric", "rdma", UCX_TLS="rc", **cured), 0, "ib", "rc_verbs/rxe0:1")
    case("ud", smoke("--require-fabric", "rdma", UCX_TLS="ud", **cured), 0, "ib", "ud_verbs/rxe0:1")
    case("rc, native", smoke("--engine", "native", UCX_TLS="rc,ud", **cured), 0, "ib", "rc_verbs/rxe0:1")
    # NIXL takes half of a smoke's time in the emulation, and has no part in these verdicts.
    alone = ("--engine", "native")
    case("EFA required", smoke(*alone, "--require-fabric", "efa", UCX_TLS="rc,ud", **cured), 1, "ib", "has no EFA, `rxe0`")
    beside = smoke("--backend", "LIBFABRIC", "--library-path", FABRIC)
    case("LIBFABRIC beside the device", beside, 0, "tcp", "LIBFABRIC has no use for `rxe0`")
    # UCX tries again until the deadline.
    locked = smoke(before=(*nobody, "prlimit", "--memlock=65536"), timeout=30, UCX_TLS="rc,ud", **cured)
    case("memory-lock limit", locked, 1, None, "max locked memory", "raise the limit on locked memory .64 KiB here")
    os.chmod(VERBS, 0o600)
    case("permission", smoke(*alone, before=nobody, **cured), 0, "shm", f"may not open `{VERBS}`")
    os.chmod(VERBS, 0o666)
    between = smoke("--connect", f"10.78.0.2:{PORT}", "--require-fabric", "rdma", UCX_TLS="rc,ud", **cured)
    case("two machines", between, 0, "ib", "lab2")
    judged("doctor finds the two copies", doctor(), True)
    judged("doctor mends them", doctor("--fix", "two-libibverbs"), False)
    case("rc after doctor's cure", smoke("--require-fabric", "rdma", UCX_TLS="rc,ud"), 0, "ib", "rc_verbs/rxe0:1")
    judged("doctor takes the cure back", doctor("--undo"), True)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)


def second():
    print(smoke("--listen", f"10.78.0.2:{PORT}", timeout=600, UCX_TLS="rc,ud", **cure()), flush=True)


first() if os.environ["NUMBER"] == "1" else second()
