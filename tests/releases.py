#!/usr/bin/env python3
"""Runs nixl-retrofit on released Dynamos, and drives their real module with a stand-in for NIXL that records calls.

usage: tests/releases.py test [--all] [--jobs N] PROGRAM   one release of each distinct source; --all: every stable
                                                           release and the newest pre-release
       tests/releases.py fetch VERSION FOLDER              the release in miniature, as a site-packages folder
       tests/releases.py nightly                           the newest pre-release's version
       tests/releases.py table                             fixtures/releases.tsv, made from the package index
       tests/releases.py embedding-table                   fixtures/embedding_transfer.tsv, made from the package index
       tests/releases.py new                               the releases with a source that the tables lack; 1 where there
                                                           is one

Of ai-dynamo, whose embedding_transfer creates agents since 1.0.0, one release of each distinct source is tested too
(all with --all), beside the ai-dynamo-runtime of the same version.

A release in miniature is what its wheel holds of dynamo/nixl_connect and of its dist-info folder: a few hundred
kilobytes, read out of the wheel in place where the index answers range requests. They are kept under target/lab/;
no release's source is in this repository, only the SHA-256 of each in fixtures/releases.tsv.
"""

from __future__ import annotations

import argparse
import ast
import base64
import concurrent.futures
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "fixtures" / "releases.tsv"
LAB = pathlib.Path(os.environ.get("NIXL_RETROFIT_LAB") or REPOSITORY / "target" / "lab")
DISTRIBUTION = "ai-dynamo-runtime"
MODULE = "dynamo/nixl_connect/__init__.py"
# The second module, of another distribution.
EMBEDDING_TABLE = REPOSITORY / "fixtures" / "embedding_transfer.tsv"
EMBEDDING_DISTRIBUTION = "ai-dynamo"
EMBEDDING_MODULE = "dynamo/common/multimodal/embedding_transfer.py"
EMBEDDING_FIRST = (1, 0, 0)
FIRST = (0, 4, 0)

# NIXL_BACKEND, the backends that the patched module must choose, and the names that it must warn about.
CHOICES = [
    (None, ["UCX"], []),
    ("", ["UCX"], []),
    (" \t", ["UCX"], []),
    ("UCX", ["UCX"], []),
    ("LIBFABRIC", ["LIBFABRIC"], []),
    ("libfabric", ["LIBFABRIC"], []),
    ("LIBFABRIC,UCX", ["LIBFABRIC", "UCX"], []),
    (" UCX , UCX", ["UCX"], []),
    ("BOGUS", ["UCX"], ["BOGUS"]),
    ("BOGUS,LIBFABRIC", ["LIBFABRIC"], ["BOGUS"]),
    ("\tLIBFABRIC\r\n\v\f", ["LIBFABRIC"], []),
    # Python's upper() makes ASCII letters of some others, and its strip() removes more blanks than ASCII has.
    ("l\u0131bfabric", ["UCX"], ["l\u0131bfabric"]),
    ("\xa0LIBFABRIC", ["UCX"], ["\xa0LIBFABRIC"]),
    ("\x1cLIBFABRIC", ["UCX"], ["\x1cLIBFABRIC"]),
]

# Runs in a process of its own: imports the real module, creates its agent as that module does, prints JSON.
DRIVER = r"""
import asyncio, json, logging, os, sys

records = []
class Keeper(logging.Handler):
    def emit(self, record):
        records.append([record.levelname, record.getMessage()])
logging.basicConfig(level=logging.INFO, handlers=[Keeper()])

seen = {"imported": False, "import_error": None, "create_error": None, "agents": []}
try:
    import dynamo.nixl_connect as module
    seen["imported"] = True
except BaseException as error:
    seen["import_error"] = type(error).__name__
else:
    seen["file"] = module.__file__
    async def create():
        connector = module.Connector(worker_id="worker-7")
        await connector.initialize()
        if hasattr(module, "Connection"):
            module.Connection(connector, 1)
    imported = len(records)
    try:
        asyncio.run(create())
    except BaseException as error:
        seen["create_error"] = type(error).__name__
    seen["at_import"], seen["log"] = records[:imported], records[imported:]
    try:
        import nixl._api
        seen["agents"] = nixl._api.agents
    except ImportError:
        pass
print(json.dumps(seen))
"""


# Runs in a process of its own: imports the real embedding_transfer beside stand-ins for torch, msgpack, msgspec, safetensors and
# the parts of Dynamo that it imports; creates a sender and a receiver; prints their configurations.
EMBEDDING_DRIVER = r"""
import importlib.util, json, logging, sys, types
from unittest import mock

class Struct:
    def __init_subclass__(cls, **options):
        pass

for name in ("torch", "msgpack", "msgspec", "safetensors", "safetensors.torch", "dynamo", "dynamo.common", "dynamo.common.utils",
             "dynamo.common.utils.nvtx_utils", "dynamo.common.utils.runtime", "dynamo.nixl_connect"):
    sys.modules[name] = mock.MagicMock(name=name)
sys.modules["torch"].Tensor = sys.modules["torch"].dtype = Struct
sys.modules["msgspec"].Struct = Struct

records = []
class Keeper(logging.Handler):
    def emit(self, record):
        records.append([record.levelname, record.getMessage()])
logging.basicConfig(level=logging.INFO, handlers=[Keeper()])

import nixl._api as api
seen = []
class Recording(api.nixl_agent):
    def __init__(self, name, config):
        super().__init__(name, config)
        seen.append([config.backends, config.num_threads, config.capture_telemetry])
    def register_memory(self, *arguments, **named):
        return mock.MagicMock()
api.nixl_agent = Recording

spec = importlib.util.spec_from_file_location("embedding_transfer", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["embedding_transfer"] = module
spec.loader.exec_module(module)

import asyncio
async def create():
    module.NixlWriteEmbeddingSender()
    module.NixlWriteEmbeddingReceiver()
asyncio.run(create())
print(json.dumps({"agents": seen, "log": records}))
"""


# Compiles a file as an import does, without writing bytecode.
COMPILER = "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec')"


class Wrong(Exception):
    """What is wrong with a release."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- The package index -------------------------------------------------------------------------------------------


def lab_python() -> str:
    """An interpreter with pip, numpy, pydantic and the stand-in for torch."""
    return subprocess.run(
        [REPOSITORY / "tests" / "lab.sh", "python"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def pip(*arguments: str) -> str:
    done = subprocess.run([lab_python(), "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"releases: pip {' '.join(arguments[:2])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def published(pre: bool, distribution: str = DISTRIBUTION) -> list[str]:
    """The versions on the index, newest first."""
    listed = pip("index", "versions", *(["--pre"] if pre else []), distribution)
    found = re.search(r"^Available versions: (.*)$", listed, re.MULTILINE)
    if not found:
        raise SystemExit(f"releases: pip listed no versions of {distribution}")
    return [version.strip() for version in found[1].split(",")]


def stable_versions() -> list[str]:
    """The stable releases from 0.4.0 on, oldest first."""
    return [v for v in reversed(published(pre=False)) if tuple(map(int, v.split(".")[:3])) >= FIRST]


def nightly_version() -> str:
    return next(v for v in published(pre=True) if re.search(r"dev|a|b|rc", v))


class RemoteFile(io.RawIOBase):
    """A file behind HTTP, read by range requests: enough of a file for zipfile."""

    def __init__(self, url: str) -> None:
        super().__init__()
        certificates = os.environ.get("PIP_CERT") or None
        self._context = ssl.create_default_context(cafile=certificates)
        self._url = url
        self._position = 0
        # The end of a wheel is its table of contents. This request also tells the size.
        self._tail, whole = self._fetch("bytes=-262144")
        self._size = whole

    def _fetch(self, byte_range: str) -> tuple[bytes, int]:
        request = urllib.request.Request(self._url, headers={"Range": byte_range, "Accept-Encoding": "identity"})
        with urllib.request.urlopen(request, timeout=60, context=self._context) as reply:
            sizes = re.fullmatch(r"bytes \d+-\d+/(\d+)", reply.headers.get("Content-Range", ""))
            if reply.status != 206 or not sizes:
                raise OSError("the index does not answer range requests")
            return reply.read(), int(sizes[1])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer) -> int:
        start, end = self._position, min(self._position + len(buffer), self._size)
        if start >= end:
            return 0
        tail_start = self._size - len(self._tail)
        if start >= tail_start:
            data = self._tail[start - tail_start : end - tail_start]
        else:
            data, _ = self._fetch(f"bytes={start}-{end - 1}")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def wheel_url(version: str, distribution: str) -> str:
    """The URL from which pip, as configured, would download that release."""
    with tempfile.TemporaryDirectory() as nowhere:
        report = pip(
            "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:",
            "--python-version=3.12", "--target", nowhere, "--report", "-", f"{distribution}=={version}",
        )  # fmt: skip
    return json.loads(report)["install"][0]["download_info"]["url"]


def open_wheel(version: str, distribution: str) -> zipfile.ZipFile:
    try:
        remote = io.BufferedReader(RemoteFile(wheel_url(version, distribution)), buffer_size=65536)
        return zipfile.ZipFile(remote)
    except (OSError, zipfile.BadZipFile) as reason:
        say(f"releases: {version}: downloading the whole wheel ({reason})")
        done = subprocess.run(
            [REPOSITORY / "tests" / "lab.sh", "wheel", distribution, version],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return zipfile.ZipFile(done.stdout.strip())


def miniature(version: str, distribution: str = DISTRIBUTION, module: str = MODULE) -> pathlib.Path:
    """The folder with the release in miniature, downloaded once. It is never incomplete."""
    folder = LAB / "releases" / (version if distribution == DISTRIBUTION else f"{distribution}-{version}")
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(tempfile.mkdtemp(prefix=".incomplete-", dir=folder.parent))
    try:
        with open_wheel(version, distribution) as wheel:
            for name in wheel.namelist():
                if name == module or re.fullmatch(rf"{distribution.replace('-', '_')}-[^/]*\.dist-info/[^/]+", name):
                    wheel.extract(name, beside)
        beside.chmod(0o755)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process made it
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


# --- The table ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Release:
    version: str
    sha256: str
    size: int
    lines: int
    calls: list[int]
    """The lines of the calls to rewrite."""
    without_nixl: str
    """`imports`, or the exception that importing the module raises without NIXL."""
    ci: bool
    """Whether CI tests this release on behalf of all with the same source."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def call_lines(source: bytes) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "nixl_agent"
    ]


def describe(version: str, folder: pathlib.Path, python: str) -> Release:
    source = (folder / MODULE).read_bytes()
    alone = drive(python, folder, None, with_nixl=False)
    outcome = "imports" if alone["imported"] else alone["import_error"]
    lines = len(source.splitlines())
    return Release(version, sha256(source), len(source), lines, call_lines(source), outcome, False)


def write_table() -> None:
    python = lab_python()
    releases = []
    for version in stable_versions():
        say(f"releases: reading {version}")
        releases.append(describe(version, miniature(version), python))
    newest_of = {release.sha256: release for release in releases}
    for release in newest_of.values():
        release.ci = True
    out = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    out.writerow([field.name for field in dataclasses.fields(Release)])
    for release in releases:
        row = dataclasses.asdict(release) | {"calls": ",".join(map(str, release.calls))}
        out.writerow((row | {"ci": "yes" if release.ci else "no"}).values())


def unknown_releases() -> int:
    """Prints the stable releases whose source the tables lack; 1 where there is one."""
    tables = (
        (TABLE, DISTRIBUTION, MODULE, stable_versions),
        (EMBEDDING_TABLE, EMBEDDING_DISTRIBUTION, EMBEDDING_MODULE, embedding_versions),
    )
    status = 0
    for table, distribution, module, versions in tables:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        versions_listed, sources = {row["version"] for row in rows}, {row["sha256"] for row in rows}
        for version in [version for version in versions() if version not in versions_listed]:
            digest = sha256((miniature(version, distribution, module) / module).read_bytes())
            if digest not in sources:
                print(f"{distribution} {version}: a new source, SHA-256 {digest}")
                status = 1
    return status


def read_table() -> list[Release]:
    with TABLE.open(newline="") as file:
        return [
            Release(
                row["version"],
                row["sha256"],
                int(row["size"]),
                int(row["lines"]),
                [int(line) for line in row["calls"].split(",")],
                row["without_nixl"],
                row["ci"] == "yes",
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


# --- Driving the real module -------------------------------------------------------------------------------------


def drive(python: str, tree: pathlib.Path, value: str | None, with_nixl: bool = True) -> dict:
    """What the module in `tree` does in a fresh process with NIXL_BACKEND set to `value`."""
    folders = [str(tree)] + ([str(REPOSITORY / "fixtures" / "nixl_stand_in")] if with_nixl else [])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NIXL_", "PYTHON"))}
    environment["PYTHONPATH"] = os.pathsep.join(folders)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if value is not None:
        environment["NIXL_BACKEND"] = value
    done = subprocess.run(
        [python, "-c", DRIVER], capture_output=True, text=True, env=environment, timeout=120, cwd=tree
    )
    if done.returncode != 0:
        raise Wrong(f"driving the module failed: {done.stderr[-1500:]}")
    seen = json.loads(done.stdout)
    if "file" in seen and pathlib.Path(seen["file"]) != tree / MODULE:
        raise Wrong(f"imported the wrong module: {seen['file']}")
    return seen


def expect(what: str, is_so: bool, seen: object) -> None:
    if not is_so:
        raise Wrong(f"expected {what}, saw {seen}")


def check_choice(
    python: str, tree: pathlib.Path, original: dict, value: str | None, chosen: list[str], unknown: list[str]
) -> None:
    seen = drive(python, tree, value)
    where = f"NIXL_BACKEND={value!r}:"
    expect(f"{where} the module imports and makes its agent", seen["imported"] and not seen["create_error"], seen)
    expect(f"{where} one agent", len(seen["agents"]) == 1, seen["agents"])
    agent = seen["agents"][0]
    expect(f"{where} backends {chosen}", agent["backends"] == chosen and agent["configured"], agent)
    expect(f"{where} NIXL's own configuration class", agent["right_class"], agent)
    expect(f"{where} the agent's name as before", agent["name"] == original["agents"][0]["name"], agent)
    expect(f"{where} nothing new logged at import", seen["at_import"] == original["at_import"], seen["at_import"])
    new = [entry for entry in seen["log"] if entry not in original["log"]]
    info = [text for level, text in new if level == "INFO"]
    expect(f"{where} one INFO line with the backends", info == [f"NIXL Connect: Using backend(s): {chosen}"], new)
    warnings = [text for level, text in new if level == "WARNING"]
    if unknown:
        named = all(any(repr(name) in text for text in warnings) for name in unknown)
        expect(f"{where} a warning that names {unknown}", named, new)
    expect(f"{where} no other line", len(new) == 1 + len(warnings) and bool(warnings) == bool(unknown), new)


def check_without_nixl(python: str, tree: pathlib.Path, before: dict) -> None:
    """Without NIXL the module imports, or fails, as it did before."""
    after = drive(python, tree, "LIBFABRIC", with_nixl=False)
    keys = ("imported", "import_error", "create_error", "at_import")
    expect("the same behaviour without NIXL", all(before.get(k) == after.get(k) for k in keys), (before, after))


# --- Testing a release -------------------------------------------------------------------------------------------


def interpreters() -> dict[str, str]:
    """The installed ones of Python 3.10 to 3.13."""
    roots = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    roots += [pathlib.Path("/usr/bin"), pathlib.Path("/usr/local/bin")]
    pyenv = shutil.which("pyenv")
    if pyenv:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        roots += sorted(pathlib.Path(root).glob("versions/*/bin")) if root else []
    found: dict[str, str] = {}
    for candidate in [sys.executable] + [str(r / f"python3.{m}") for r in roots for m in range(10, 14)]:
        if not os.access(candidate, os.X_OK):
            continue
        asked = subprocess.run(
            [candidate, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
        )
        version = asked.stdout.strip()
        if asked.returncode == 0 and version in ("3.10", "3.11", "3.12", "3.13"):
            found.setdefault(version, candidate)
    return dict(sorted(found.items()))


def run_program(program: str, *arguments: str, status: int) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NIXL_BACKEND")}
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env=environment
    )
    if done.returncode != status:
        said = (done.stdout[-1500:] + done.stderr[-1500:]).strip()
        raise Wrong(f"{arguments[0]} exited {done.returncode}, expected {status}: {said}")
    return done.stdout


def record_file(tree: pathlib.Path) -> pathlib.Path:
    return next(tree.glob("ai_dynamo_runtime-*.dist-info/RECORD"))


def check_record(tree: pathlib.Path, original: bytes) -> None:
    """RECORD's line states the file's hash and size; no other line has changed."""
    data = (tree / MODULE).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    prefix = MODULE.encode() + b","
    lines = record_file(tree).read_bytes().splitlines(keepends=True)
    own = [line for line in lines if line.startswith(prefix)]
    expected = prefix + b"sha256=" + digest + b"," + str(len(data)).encode()
    expect("RECORD states the file's hash and size", [line.rstrip(b"\r\n") for line in own] == [expected], own)
    others = [line for line in lines if not line.startswith(prefix)]
    before = [line for line in original.splitlines(keepends=True) if not line.startswith(prefix)]
    expect("RECORD's other lines are as they were", others == before, "a difference")


def check_known(file: dict, release: Release) -> None:
    """The report names the release among those with its source."""
    words = file["release"] or ""
    ends = {row.version for row in read_table() if row.sha256 == release.sha256}
    named = set(re.findall(r"[\w.]+", words.removeprefix("released source,"))) - {"to"}
    expect("the releases with this source", bool(named) and named <= ends, words)


def check_tree(program: str, release: Release, tree: pathlib.Path, python: str, pythons: dict[str, str]) -> None:
    module, record = tree / MODULE, record_file(tree)
    source, record_bytes = module.read_bytes(), record.read_bytes()
    original = drive(python, tree, "LIBFABRIC")
    expect("the original ignores the variable", original["agents"][0]["backends"] == ["UCX"], original)
    alone = drive(python, tree, None, with_nixl=False)
    outcome = "imports" if alone["imported"] else alone["import_error"]
    expect(f"the original without NIXL: {release.without_nixl}", outcome == release.without_nixl, alone)

    diff = run_program(program, "check", "--color", "never", str(tree), status=1)
    expect("check writes nothing", module.read_bytes() == source and record.read_bytes() == record_bytes, "a change")
    expect("check shows a diff", "\n@@" in diff and "\n+" in diff, diff[:500])
    known = json.loads(run_program(program, "check", "--known-only", "--output-format", "json", str(tree), status=1))
    check_known(known["files"][0], release)
    run_program(program, "apply", "--smoke", "off", str(tree), status=0)
    patched = module.read_bytes()
    expect("apply changes the file", patched != source, "no change")
    check_record(tree, record_bytes)
    run_program(program, "check", "--known-only", str(tree), status=0)
    run_program(program, "apply", "--smoke", "off", str(tree), status=0)
    expect("a second apply changes nothing", module.read_bytes() == patched, "a change")

    for version, interpreter in pythons.items():
        compiled = subprocess.run(
            [interpreter, "-I", "-W", "error", "-c", COMPILER, str(module)], capture_output=True, text=True
        )
        expect(f"it compiles under Python {version}", compiled.returncode == 0, compiled.stderr[-500:])
    for value, chosen, unknown in CHOICES:
        check_choice(python, tree, original, value, chosen, unknown)
    check_without_nixl(python, tree, alone)

    run_program(program, "revert", str(tree), status=0)
    expect("revert restores the file", sha256(module.read_bytes()) == release.sha256, sha256(module.read_bytes()))
    expect("revert restores RECORD", record.read_bytes() == record_bytes, "a difference")
    left, before = file_names(tree), file_names(miniature(release.version))
    expect("no file is left behind", left == before, left)


def file_names(tree: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())


def check_release(program: str, release: Release, python: str, pythons: dict[str, str]) -> str | None:
    """None, or what is wrong."""
    try:
        stored = miniature(release.version)
        source = (stored / MODULE).read_bytes()
        expect(f"SHA-256 {release.sha256}", sha256(source) == release.sha256, sha256(source))
        expect(f"calls in lines {release.calls}", call_lines(source) == release.calls, call_lines(source))
        with tempfile.TemporaryDirectory(prefix="nixl-retrofit-release-") as folder:
            tree = pathlib.Path(folder).resolve() / "site-packages"
            shutil.copytree(stored, tree)
            check_tree(program, release, tree, python, pythons)
    except (Wrong, OSError, subprocess.SubprocessError, SystemExit, StopIteration) as reason:
        return str(reason) or type(reason).__name__
    return None


# --- embedding_transfer ------------------------------------------------------------------------------------------


def embedding_folder(version: str) -> pathlib.Path:
    return miniature(version, EMBEDDING_DISTRIBUTION, EMBEDDING_MODULE)


def embedding_lines(source: bytes) -> list[int]:
    """The lines of its calls to rewrite."""
    called = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(node.lineno for node in called if isinstance(node.func, ast.Name) and node.func.id == "nixl_agent")


def embedding_versions() -> list[str]:
    """The stable releases from 1.0.0 on, oldest first."""
    every = reversed(published(False, EMBEDDING_DISTRIBUTION))
    return [version for version in every if tuple(map(int, version.split(".")[:3])) >= EMBEDDING_FIRST]


def write_embedding_table() -> None:
    rows = []
    for version in embedding_versions():
        source = (embedding_folder(version) / EMBEDDING_MODULE).read_bytes()
        rows.append([version, sha256(source), ",".join(map(str, embedding_lines(source)))])
    newest = {row[1]: row[0] for row in rows}
    out = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    out.writerow(["version", "sha256", "calls", "ci"])
    out.writerows(row + ["yes" if newest[row[1]] == row[0] else "no"] for row in rows)


def drive_embedding(python: str, module: pathlib.Path, value: str | None) -> dict:
    """The agents that the module creates in a fresh process with NIXL_BACKEND set to `value`, and what it logs."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NIXL_", "PYTHON"))}
    environment["PYTHONPATH"] = str(REPOSITORY / "fixtures" / "nixl_stand_in")
    if value is not None:
        environment["NIXL_BACKEND"] = value
    done = subprocess.run(
        [python, "-B", "-c", EMBEDDING_DRIVER, str(module)], capture_output=True, text=True, env=environment, timeout=120
    )
    if done.returncode != 0:
        raise Wrong(f"driving {module.name} failed: {done.stderr[-1500:]}")
    return json.loads(done.stdout)


def check_embedding_tree(program: str, tree: pathlib.Path, calls: list[int], python: str, pythons: dict[str, str]) -> None:
    def contents() -> dict[str, bytes]:
        return {name: (tree / name).read_bytes() for name in file_names(tree)}

    before, module = contents(), tree / EMBEDDING_MODULE
    ignored = drive_embedding(python, module, "LIBFABRIC")["agents"]
    expect("the original ignores the variable", ignored == [[["UCX"], 8, True]] * 2, ignored)
    document = json.loads(run_program(program, "check", "--output-format", "json", str(tree), status=1))
    files = [file["path"].removeprefix(f"{tree}/") for file in document["files"]]
    expect("both modules, nixl_connect first", files == [MODULE, EMBEDDING_MODULE], files)
    lines = [site["line"] for site in document["files"][1]["sites"] if site["action"] == "rewrite"]
    expect(f"rewrites in lines {calls}", lines == calls, lines)
    expect("check writes nothing", contents() == before, "a change")
    run_program(program, "apply", "--smoke", "off", str(tree), status=0)
    changed = sorted(name for name, content in contents().items() if content != before[name])
    records = sorted(str(record.relative_to(tree)) for record in tree.glob("*.dist-info/RECORD"))
    expect("apply changes two modules and two RECORDs", changed == sorted([MODULE, EMBEDDING_MODULE, *records]), changed)
    run_program(program, "check", str(tree), status=0)
    for version, interpreter in pythons.items():
        compiled = subprocess.run(
            [interpreter, "-I", "-W", "error", "-c", COMPILER, str(module)], capture_output=True, text=True
        )
        expect(f"it compiles under Python {version}", compiled.returncode == 0, compiled.stderr[-500:])
    for value, chosen, unknown in CHOICES:
        seen = drive_embedding(python, module, value)
        expect(f"{value!r}: agents {chosen}, 8, True", seen["agents"] == [[chosen, 8, True]] * 2, seen)
        info = [text for level, text in seen["log"] if level == "INFO"]
        expect(f"{value!r}: one INFO line", info == [f"NIXL Connect: Using backend(s): {chosen}"], seen["log"])
        warned = [text for level, text in seen["log"] if level == "WARNING"]
        named = len(warned) == len(unknown) and all(repr(name) in text for name, text in zip(unknown, warned))
        expect(f"{value!r}: warnings about {unknown}", named, warned)
    run_program(program, "revert", str(tree), status=0)
    expect("revert restores every file", contents() == before, "a difference")


def check_embedding(program: str, row: dict[str, str], python: str, pythons: dict[str, str]) -> str | None:
    """None, or what is wrong with a release of ai-dynamo."""
    try:
        source = (embedding_folder(row["version"]) / EMBEDDING_MODULE).read_bytes()
        calls = [int(line) for line in row["calls"].split(",")]
        expect(f"SHA-256 {row['sha256']}", sha256(source) == row["sha256"], sha256(source))
        expect(f"calls in lines {calls}", embedding_lines(source) == calls, embedding_lines(source))
        with tempfile.TemporaryDirectory(prefix="nixl-retrofit-release-") as folder:
            tree = pathlib.Path(folder).resolve() / "site-packages"
            for stored in (miniature(row["version"]), embedding_folder(row["version"])):
                shutil.copytree(stored, tree, dirs_exist_ok=True)
            check_embedding_tree(program, tree, calls, python, pythons)
    except (Wrong, OSError, ValueError, subprocess.SubprocessError, SystemExit) as reason:
        return str(reason) or type(reason).__name__
    return None


def chosen_embeddings(everything: bool) -> list[dict[str, str]]:
    with EMBEDDING_TABLE.open(newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    if not everything:
        return [row for row in table if row["ci"] == "yes"]
    unlisted = set(embedding_versions()) - {row["version"] for row in table}
    if unlisted:
        say(f"releases: not tested, because the table lacks them: {', '.join(sorted(unlisted))}")
    return table


def chosen_releases(everything: bool, python: str) -> list[Release]:
    table = read_table()
    if not everything:
        return [release for release in table if release.ci]
    unlisted = set(stable_versions()) - {release.version for release in table}
    if unlisted:
        say(f"releases: not tested, because the table lacks them: {', '.join(sorted(unlisted))}")
    version = nightly_version()
    return table + [describe(version, miniature(version), python)]


def test(program: str, everything: bool, jobs: int) -> int:
    program = shutil.which(program) or sys.exit(f"releases: {program} is missing or not executable")
    program = os.path.abspath(program)
    python, pythons = lab_python(), interpreters()
    if not pythons:
        sys.exit("releases: no Python 3.10 to 3.13 found; one is needed to compile the patched files")
    print("compiled with " + ", ".join(f"Python {version} ({path})" for version, path in pythons.items()))
    releases = chosen_releases(everything, python)
    passed = failed = 0

    def timed(release: Release) -> tuple[str | None, float]:
        start = time.monotonic()
        return check_release(program, release, python, pythons), time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for release, (wrong, seconds) in zip(releases, pool.map(timed, releases)):
            outcome = f"FAILED: {wrong}" if wrong else "ok"
            print(f"{DISTRIBUTION} {release.version}: {outcome} ({seconds:.1f} s)", flush=True)
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
        embeddings = chosen_embeddings(everything)
        for row, wrong in zip(embeddings, pool.map(lambda row: check_embedding(program, row, python, pythons), embeddings)):
            print(f"{EMBEDDING_DISTRIBUTION} {row['version']}: {f'FAILED: {wrong}' if wrong else 'ok'}", flush=True)
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def fetch(version: str, folder: str) -> int:
    stored = miniature(version)
    listed = {release.version: release.sha256 for release in read_table()}
    digest = sha256((stored / MODULE).read_bytes())
    if listed.get(version, digest) != digest:
        sys.exit(f"releases: {version} has SHA-256 {digest}, but the table has {listed[version]}")
    shutil.copytree(stored, folder, dirs_exist_ok=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tests = commands.add_parser("test")
    tests.add_argument("--all", action="store_true")
    tests.add_argument("--jobs", type=int, default=2)
    tests.add_argument("program")
    fetching = commands.add_parser("fetch")
    fetching.add_argument("version")
    fetching.add_argument("folder")
    commands.add_parser("nightly")
    commands.add_parser("table")
    commands.add_parser("embedding-table")
    commands.add_parser("new")
    arguments = parser.parse_args()
    if arguments.command == "test":
        return test(arguments.program, arguments.all, arguments.jobs)
    if arguments.command == "fetch":
        return fetch(arguments.version, arguments.folder)
    if arguments.command == "new":
        return unknown_releases()
    if arguments.command == "nightly":
        print(nightly_version())
    elif arguments.command == "embedding-table":
        write_embedding_table()
    else:
        write_table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
