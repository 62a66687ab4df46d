#!/usr/bin/env python3
"""Runs nixl-retrofit on the released crates dynamo-llm, and compiles and runs what it made of them.

usage: tests/rust_releases.py test [--all] PROGRAM   one release of each distinct source; --all: every release from 0.8.0
       tests/rust_releases.py run [--all] PROGRAM    the newest release of each shape of the call; --all: of each source:
                                                     the whole rewritten file is compiled with the real dynamo-memory and
                                                     nixl-sys of that version, and makes its agent
       tests/rust_releases.py table                  fixtures/rust_releases.tsv, made from the crate registry
       tests/rust_releases.py block-manager-table    fixtures/rust_block_manager.tsv, made from the releases in the former

Cargo downloads the crates into its own registry folder. No source of theirs is in this repository, only the SHA-256 of
each. nixl-sys is built with its feature `stub-api`; a stand-in for NIXL's C library records the backends.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "fixtures" / "rust_releases.tsv"
CRATE = REPOSITORY / "fixtures" / "rust_end"
LAB = pathlib.Path(os.environ.get("NIXL_RETROFIT_LAB") or REPOSITORY / "target" / "lab")
PACKAGE = "dynamo-llm"
SOURCE = "src/preprocessor/media/rdma.rs"
BLOCK_MANAGER_TABLE = REPOSITORY / "fixtures" / "rust_block_manager.tsv"
BLOCK_MANAGER = ["src/block_manager/distributed/worker.rs", "src/block_manager/state/resources.rs"]
"""With `--also block-manager`, since 1.5.0."""
FIRST = (0, 8, 0)
INDEX = f"https://index.crates.io/dy/na/{PACKAGE}"

# NIXL_BACKEND, the backends whose plugin is missing, the backends that the agent gets, and parts of what is logged.
CHOICES = [
    (None, "", ["UCX"], []),
    ("", "", ["UCX"], []),
    (" \t", "", ["UCX"], []),
    ("UCX", "", ["UCX"], []),
    ("libfabric", "", ["LIBFABRIC"], []),
    ("LIBFABRIC,UCX", "", ["LIBFABRIC", "UCX"], []),
    (" UCX , UCX", "", ["UCX"], []),
    ("BOGUS", "", ["UCX"], ['WARN NIXL Connect: Unknown backend "BOGUS" in NIXL_BACKEND is ignored']),
    ("BOGUS,LIBFABRIC", "", ["LIBFABRIC"], ['WARN NIXL Connect: Unknown backend "BOGUS"']),
    ("LIBFABRIC,UCX", "LIBFABRIC", ["UCX"], ["WARN NIXL Connect: Cannot use a backend of NIXL_BACKEND: LIBFABRIC"]),
    ("LIBFABRIC", "LIBFABRIC", None, ["no backend of NIXL_BACKEND (LIBFABRIC) works: LIBFABRIC: "]),
    (None, "UCX", None, ["no backend of NIXL_BACKEND (unset) works: UCX: "]),
]


class Wrong(Exception):
    """What is wrong with a release."""


def expect(what: str, is_so: bool, seen: object = "") -> None:
    if not is_so:
        raise Wrong(f"expected {what}; {seen}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- The registry and the table ----------------------------------------------------------------------------------


@dataclasses.dataclass
class Release:
    version: str
    sha256: str
    size: int
    lines: int
    call: str
    """The method that names UCX."""
    line: int
    """Where its name is."""
    ci: bool
    """Whether CI tests this release on behalf of all with the same source."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("-")[0].split(".")))


def published() -> list[str]:
    """The versions in the registry's index from 0.8.0 on, oldest first."""
    with urllib.request.urlopen(INDEX, timeout=60) as reply:
        entries = [json.loads(line) for line in reply.read().splitlines()]
    versions = [entry["vers"] for entry in entries if not entry["yanked"]]
    return sorted((v for v in versions if numbers(v) >= FIRST), key=lambda v: (numbers(v), "-" not in v))


def unpacked(version: str) -> pathlib.Path:
    """Where Cargo has unpacked that version; `cargo info` downloads it without its dependencies."""
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    pattern = f"registry/src/index.crates.io-*/{PACKAGE}-{version}"
    if not list(home.glob(f"{pattern}/{SOURCE}")):
        # Beside a package, it would look at that one's dependencies.
        command = ["cargo", "info", "--quiet", "--registry", "crates-io", f"{PACKAGE}@{version}"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        expect(f"cargo info {PACKAGE}@{version}", done.returncode == 0, done.stderr[-1000:])
    found = list(home.glob(pattern))
    expect("the package in Cargo's registry folder", len(found) == 1, found)
    return found[0]


def describe(version: str) -> Release:
    source = (unpacked(version) / SOURCE).read_bytes()
    text = source.decode()
    calls = [m for m in re.finditer(r'(with_backends|add_backend)\(.*"UCX"', text)]
    expect("one call with UCX", len(calls) == 1, calls)
    line = text[: calls[0].start()].count("\n") + 1
    return Release(version, sha256(source), len(source), text.count("\n"), calls[0][1], line, False)


def write_table() -> None:
    releases = [describe(version) for version in published()]
    for release in {release.sha256: release for release in releases}.values():
        release.ci = True
    out = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    out.writerow([field.name for field in dataclasses.fields(Release)])
    for release in releases:
        out.writerow((dataclasses.asdict(release) | {"ci": "yes" if release.ci else "no"}).values())


def read_table() -> list[Release]:
    with TABLE.open(newline="") as file:
        return [
            Release(
                row["version"],
                row["sha256"],
                int(row["size"]),
                int(row["lines"]),
                row["call"],
                int(row["line"]),
                row["ci"] == "yes",
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


@dataclasses.dataclass
class BlockManager:
    version: str
    sha256: str
    path: str
    line: int
    """Where UCX is created."""


def write_block_manager_table() -> None:
    out = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    out.writerow([field.name for field in dataclasses.fields(BlockManager)])
    for path in BLOCK_MANAGER:
        for release in read_table():
            source = unpacked(release.version) / path
            data = source.read_bytes() if source.exists() else b""
            calls = list(re.finditer(rb'create_backend\("UCX"', data))
            if calls:
                expect("one call with UCX", len(calls) == 1, calls)
                line = data[: calls[0].start()].count(b"\n") + 1
                out.writerow(dataclasses.astuple(BlockManager(release.version, sha256(data), path, line)))


def read_block_manager_table() -> list[BlockManager]:
    with BLOCK_MANAGER_TABLE.open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [BlockManager(row["version"], row["sha256"], row["path"], int(row["line"])) for row in rows]


def original(release: Release) -> bytes:
    source = (unpacked(release.version) / SOURCE).read_bytes()
    expect(f"SHA-256 {release.sha256}", sha256(source) == release.sha256, sha256(source))
    return source


# --- Rewriting ---------------------------------------------------------------------------------------------------


def call(program: str, *arguments: object) -> tuple[int, dict]:
    done = subprocess.run(
        [program, *map(str, arguments), "--output-format", "json"], capture_output=True, text=True, timeout=120
    )
    return done.returncode, json.loads(done.stdout)


def unchanged_by_rustfmt(source: pathlib.Path) -> bool:
    """With rustfmt's defaults, whatever lies above the file; a test module in another file is none of it."""
    done = subprocess.run(
        ["rustfmt", "--edition=2024", "--config-path=/dev/null", "--check"],
        input=source.read_bytes(),
        capture_output=True,
    )
    return done.returncode == 0 and not done.stdout


def check_release(program: str, release: Release) -> None:
    before = original(release)
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / PACKAGE
        shutil.copytree(unpacked(release.version), tree)
        source = tree / SOURCE
        status, document = call(program, "check", tree)
        expect("check to exit with status 1", status == 1, document["error"])
        changed = [file for file in document["files"] if file["status"] == "would-patch"]
        expect("one file that would change", [file["path"] for file in changed] == [str(source)], document["files"])
        expect("its package", (changed[0]["distribution"], changed[0]["distribution_version"]) == (PACKAGE, release.version))
        sites = [(site["line"], site["shape"], site["action"]) for site in changed[0]["sites"]]
        expect("one site", sites == [(release.line, "hard-coded", "rewrite")], sites)
        expect("rustfmt to leave the original", unchanged_by_rustfmt(source))
        for options in [[], ["--on-unknown=error", "--allow=LIBFABRIC", "--default-backend=LIBFABRIC"]]:
            status, document = call(program, "apply", "--smoke=off", *options, tree)
            expect("apply to succeed", status == 0, document["error"])
            patched = source.read_bytes()
            expect("a change", patched != before)
            expect("rustfmt to leave the new lines", unchanged_by_rustfmt(source))
            status, document = call(program, "apply", "--smoke=off", *options, tree)
            expect("a second run to change nothing", (status, source.read_bytes()) == (0, patched), document["error"])
        status, document = call(program, "revert", tree)
        expect("revert to restore the original", (status, source.read_bytes()) == (0, before), document["error"])
        check_block_manager(program, release, tree)


def check_block_manager(program: str, release: Release, tree: pathlib.Path) -> None:
    rows = [row for row in read_block_manager_table() if row.version == release.version]
    before = {row.path: (tree / row.path).read_bytes() for row in rows}
    for row in rows:
        expect(f"SHA-256 {row.sha256} of {row.path}", sha256(before[row.path]) == row.sha256, sha256(before[row.path]))
    for options in [[], ["--on-unknown=error", "--allow=LIBFABRIC", "--default-backend=LIBFABRIC"]]:
        status, document = call(program, "apply", "--smoke=off", "--also=block-manager", *options, tree)
        expect("apply to succeed", status == 0, document["error"])
        sites = [
            (os.path.relpath(file["path"], tree), site["line"])
            for file in document["files"]
            if file["status"] == "patched" and os.path.relpath(file["path"], tree) != SOURCE
            for site in file["sites"]
            if site["action"] == "rewrite"
        ]
        expect("the block manager's sites", sorted(sites) == sorted((row.path, row.line) for row in rows), sites)
        for row in rows:
            expect(f"rustfmt to leave the new lines of {row.path}", unchanged_by_rustfmt(tree / row.path))
        patched = {row.path: (tree / row.path).read_bytes() for row in rows}
        status, document = call(program, "apply", "--smoke=off", "--also=block-manager", *options, tree)
        same = all((tree / path).read_bytes() == data for path, data in patched.items())
        expect("a second run to change nothing", status == 0 and same, document["error"])
    status, document = call(program, "revert", tree)
    same = all((tree / path).read_bytes() == data for path, data in before.items())
    expect("revert to restore the block manager", status == 0 and same, document["error"])


# --- Compiling and running ---------------------------------------------------------------------------------------


def functions_of_stand_in() -> list[str]:
    return re.findall(r"^status (nixl_capi_\w+)", (CRATE / "nixl_capi.c").read_text(), re.MULTILINE)


def compiled_stand_in(folder: pathlib.Path, *options: str) -> pathlib.Path:
    library = folder / "libnixl_capi.so"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-fPIC", *options, "-o", library, CRATE / "nixl_capi.c"]
    subprocess.run(command, check=True)
    return library


def loads_at_run_time(program_folder: pathlib.Path) -> bool:
    """Whether the version's nixl-sys loads NIXL's library when it runs; 0.8 and 0.9 only abort."""
    command = ["cargo", "metadata", "--format-version=1"]
    done = subprocess.run(command, cwd=program_folder, check=True, capture_output=True)
    packages = json.loads(done.stdout)["packages"]
    manifest = next(p["manifest_path"] for p in packages if p["name"] == "nixl-sys")
    return "dlopen" in (pathlib.Path(manifest).parent / "stubs.cpp").read_text()


def build(program: str, release: Release, folder: pathlib.Path) -> pathlib.Path:
    """Compiles the rewritten file in a package of its own; returns the program."""
    crate = folder / "crate"
    shutil.copytree(CRATE / "src", crate / "src")
    manifest = (CRATE / "Cargo.toml.in").read_text().replace("@VERSION@", release.version)
    (crate / "Cargo.toml").write_text(manifest)
    source = crate / "src" / "rdma.rs"
    source.write_bytes(original(release))
    status, document = call(program, "apply", "--smoke=off", source)
    expect("apply to succeed", status == 0, document["error"])
    compiled_stand_in(folder / "lib", "-shared")
    if not loads_at_run_time(crate):
        # The linker takes the calls of nixl-sys to the stand-in, past the stubs.
        names = functions_of_stand_in()
        wrapped = compiled_stand_in(folder / "wrapped", "-c", *(f"-D{name}=__wrap_{name}" for name in names))
        arguments = [str(wrapped), *(f"-Wl,--wrap={name}" for name in names)]
        lines = "".join(f'println!("cargo:rustc-link-arg={argument}");' for argument in arguments)
        (crate / "build.rs").write_text(f"fn main() {{ {lines} }}")
    environment = os.environ | {"CARGO_TARGET_DIR": str(LAB / "rust_end")}
    done = subprocess.run(
        ["cargo", "build", "--quiet", "--message-format=short"], cwd=crate, env=environment, capture_output=True, text=True
    )
    expect("the rewritten file to compile", done.returncode == 0, done.stderr[-3000:])
    expect("no warning in the rewritten file", "src/rdma.rs" not in done.stderr, done.stderr[-3000:])
    built = folder / "rust-end"
    shutil.copy(LAB / "rust_end" / "debug" / "rust-end", built)
    return built


def run_release(program: str, release: Release) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        built = build(program, release, folder)
        for value, missing, backends, logged in CHOICES:
            record = folder / "record"
            record.write_text("")
            environment = {k: v for k, v in os.environ.items() if not k.startswith("NIXL_")}
            environment |= {"LD_LIBRARY_PATH": str(folder / "lib"), "RUST_END_RECORD": str(record), "RUST_END_MISSING": missing}
            if value is not None:
                environment["NIXL_BACKEND"] = value
            done = subprocess.run([built], env=environment, capture_output=True, text=True, timeout=60)
            where = f"NIXL_BACKEND={value!r}, missing {missing!r}:"
            output = done.stdout + done.stderr
            expect(f"{where} the program to end", done.returncode == 0, output)
            # The program makes its agent twice.
            made = record.read_text().split()
            expect(f"{where} backends {backends}", made == (backends or []) * 2, (made, output))
            expect(f"{where} an agent or an error", output.count("made\n") == (2 if backends else 0), output)
            expect(f"{where} one INFO line", output.count("INFO NIXL Connect: Using backend(s): [") == 1, output)
            expect(f"{where} {logged}", all(part in output for part in logged), output)


# --- The command line --------------------------------------------------------------------------------------------


def each(releases: list[Release], work) -> int:
    failed = 0
    for release in releases:
        start, wrong = time.monotonic(), None
        try:
            work(release)
        except Wrong as reason:
            wrong, failed = reason, failed + 1
        outcome = f"FAILED: {wrong}" if wrong else "ok"
        print(f"{PACKAGE} {release.version}: {outcome} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(releases) - failed} passed, {failed} failed")
    return 1 if failed or not releases else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("test", "run"):
        command = commands.add_parser(name)
        command.add_argument("--all", action="store_true")
        command.add_argument("program")
    commands.add_parser("table")
    commands.add_parser("block-manager-table")
    arguments = parser.parse_args()
    if arguments.command == "table":
        write_table()
        return 0
    if arguments.command == "block-manager-table":
        write_block_manager_table()
        return 0
    program = os.path.abspath(arguments.program)
    sample = [release for release in read_table() if release.ci]
    if arguments.command == "test":
        return each(read_table() if arguments.all else sample, lambda release: check_release(program, release))
    newest = list({release.call: release for release in sample}.values())
    return each(sample if arguments.all else newest, lambda release: run_release(program, release))


if __name__ == "__main__":
    sys.exit(main())
