"""check, apply and revert on sources that nobody wrote for them. tests/corpora.sh is the way to start it.

Two things are asked of each file. As it is: `check` must find the calls that create NIXL's agent, must want to change
only those that choose no backend, and may refuse only what that Python refuses. With a call added at its end: `apply`
must give something that this Python compiles and change nothing the second time, and `revert` must restore every byte.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import time

# Files that one `apply` gets.
BATCH = 50
# Seconds after which a run hangs.
PATIENCE = 120
EXAMPLES = 20
# A rewritten call has this in it.
HELPER = b"_nixl_retrofit_backends()"
# Two calls, one in a default argument and one in a comprehension.
ADDED = [
    b"", b"import nixl._api as _n", b"def _f(x=_n.nixl_agent('a')):", b"    return [_n.nixl_agent(y) for y in x]", b""
]

CHANGED, SITES, LEFT = "files that check would change", "calls that create an agent", "with a call added, not rewritten"
FILES, REWRITTEN = "files", "with a call added, rewritten"
REFUSED_BY_BOTH = "refused, by their Python too"
FAULTS = CRASHED, REFUSED, MISSED, FALSE, BROKEN, UNSTABLE, NOT_REVERTED = (
    "crashes and hangs",
    "refused although their Python compiles them",
    "calls that check passes over",
    "calls that check would change and must not",
    "patched files that do not compile",
    "files that a second apply changes",
    "files that revert does not restore",
)

# The oracle, run by the corpus's own Python: says of each path on standard input whether it compiles, and which calls
# in it may create NIXL's agent. It follows names without regard to scopes, so it says too much rather than too little.
# `free`: the call chooses no backend: no configuration, or one that is written out, without `backends`.
ORACLE = r"""
import ast, json, sys, warnings
warnings.simplefilter("ignore")
sys.setrecursionlimit(5000)

def last(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None

def pairs(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, alias.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                both = (target, node.value)
                if all(isinstance(side, ast.Tuple) for side in both):
                    for name, value in zip(target.elts, node.value.elts):
                        yield last(name), last(value)
                else:
                    yield last(target), last(node.value)

def chooses(call):
    values = [*call.args[1:2], *[key.value for key in call.keywords if key.arg == "nixl_conf"]]
    if any(isinstance(arg, ast.Starred) for arg in call.args) or any(key.arg is None for key in call.keywords):
        return True
    for value in values:
        if isinstance(value, ast.Constant) and value.value is None:
            continue
        if not isinstance(value, ast.Call):
            return True
        if value.args or any(key.arg in ("backends", None) for key in value.keywords):
            return True
    return any(key.arg == "instantiate_all" for key in call.keywords) or len(call.args) > 2

def sites(source):
    tree = ast.parse(source)
    agents = {"nixl_agent"}
    known = list(pairs(tree))
    while True:
        more = {name for name, value in known if value in agents and name} - agents
        if not more:
            break
        agents |= more
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and last(node.func) in agents]
    return [{"line": call.lineno, "free": not chooses(call)} for call in calls]

for line in sys.stdin:
    path = json.loads(line)
    source = open(path, "rb").read()
    answer = {"error": None, "sites": []}
    try:
        compile(source, path, "exec", dont_inherit=True)
        if b"nixl_agent" in source:
            answer["sites"] = sites(source)
    except Exception as error:
        answer["error"] = "%s: %s" % (type(error).__name__, error)
    print(json.dumps(answer), flush=True)
"""


class Oracle:
    """Processes of one Python that answer about files, one for each thread."""

    def __init__(self, python: str, count: int) -> None:
        self._free: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        command = [python, "-I", "-X", "utf8", "-c", ORACLE]
        self._all = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        for process in self._all:
            self._free.put(process)

    def ask(self, path: pathlib.Path) -> dict:
        process = self._free.get()
        try:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(str(path)) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        finally:
            self._free.put(process)

    def end(self) -> None:
        for process in self._all:
            process.communicate()


@dataclasses.dataclass
class Corpus:
    """Sources, and the Python that they are written for."""

    name: str
    python: str
    files: list[pathlib.Path]
    version: tuple[int, ...] = ()


class Survey:
    """What was found in one corpus."""

    def __init__(self, program: pathlib.Path, corpus: Corpus, scratch: pathlib.Path, threads: int) -> None:
        self._program = program
        self._corpus = corpus
        self._scratch = scratch
        self._threads = threads
        self._oracle = Oracle(corpus.python, threads)
        self.counts: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, list[str]] = collections.defaultdict(list)

    def run(self) -> None:
        files = self._corpus.files
        batches = [files[at : at + BATCH] for at in range(0, len(files), BATCH)]
        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            compiling = [path for path in pool.map(self._check, files) if path]
            batches = [compiling[at : at + BATCH] for at in range(0, len(compiling), BATCH)]
            list(pool.map(self._apply, enumerate(batches)))
        self._oracle.end()

    def _fault(self, kind: str, path: pathlib.Path, words: str) -> None:
        self.counts[kind] += 1
        self.examples[kind].append(f"{path}: {words.strip()[-300:]}")

    def _start(self, *arguments: str | pathlib.Path) -> tuple[int, dict, str]:
        """Exit status, the document, and standard error. A hang or a crash has a status of its own."""
        command = [str(self._program), *map(str, arguments), "--output-format", "json"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NIXL_", "PYTHON"))}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return -1, {}, f"no end after {PATIENCE} s"
        words = done.stderr.decode(errors="replace")
        try:
            return done.returncode, json.loads(done.stdout), words
        except ValueError:
            return (-2 if done.returncode in (0, 1) else done.returncode), {}, words

    def _is_crash(self, status: int, words: str) -> bool:
        return status not in (0, 1, 2) or "panicked" in words or "fault of nixl-retrofit" in words

    def _check(self, path: pathlib.Path) -> pathlib.Path | None:
        """A file as it is. The path, if its Python compiles it and the program reads it."""
        self.counts[FILES] += 1
        status, document, words = self._start("check", path)
        answer = self._oracle.ask(path)
        if self._is_crash(status, words):
            self._fault(CRASHED, path, words)
        elif status == 2:
            if answer["error"]:
                self.counts[REFUSED_BY_BOTH] += 1
            else:
                self._fault(REFUSED, path, words)
            return None
        else:
            self._compare(path, document, answer)
        return None if answer["error"] else path

    def _compare(self, path: pathlib.Path, document: dict, answer: dict) -> None:
        sites = [site for file in document["files"] for site in file["sites"]]
        found = collections.Counter(site["line"] for site in sites)
        expected = collections.Counter(site["line"] for site in answer["sites"])
        free = collections.Counter(site["line"] for site in answer["sites"] if site["free"])
        rewritten = collections.Counter(site["line"] for site in sites if site["action"] == "rewrite")
        self.counts[SITES] += len(sites)
        for line in (expected - found).elements():
            self._fault(MISSED, path, f"line {line}")
        for line in (rewritten - free).elements():
            self._fault(FALSE, path, f"line {line}")
        if document["exit_status"] == 1:
            self.counts[CHANGED] += 1
            self.examples[CHANGED].append(f"{path}: lines {sorted(rewritten.elements())}")
            folder = pathlib.Path(tempfile.mkdtemp(dir=self._scratch))
            copy = folder / path.name
            shutil.copyfile(path, copy)
            self._round_trip({copy: path})
            shutil.rmtree(folder)

    def _apply(self, numbered: tuple[int, list[pathlib.Path]]) -> None:
        """Files with a call added, together."""
        number, paths = numbered
        folder = self._scratch / f"batch-{number}"
        folder.mkdir()
        copies = {}
        for index, path in enumerate(paths):
            source = path.read_bytes()
            newline = b"\r\n" if b"\r\n" in source else b"\n"
            copy = folder / f"f{index}.py"
            copy.write_bytes(source.rstrip(b"\\ \t") + newline.join(ADDED))
            # Some end in something that takes the added lines in, such as a comment of a form feed.
            if not self._oracle.ask(copy)["error"]:
                copies[copy] = path
        if copies:
            rewritten = self._round_trip(copies)
            self.counts[REWRITTEN] += len(rewritten)
            self.counts[LEFT] += len(copies) - len(rewritten)
            self.examples[LEFT] += [str(path) for copy, path in copies.items() if copy not in rewritten]
        shutil.rmtree(folder)

    def _round_trip(self, copies: dict[pathlib.Path, pathlib.Path]) -> set[pathlib.Path]:
        """apply, apply and revert. `copies`: of which file each is one. Those that were rewritten."""
        originals = {copy: copy.read_bytes() for copy in copies}
        status, _, words = self._start("apply", "--smoke", "off", *copies)
        if status != 0:
            if len(copies) > 1:
                return set().union(*(self._round_trip({copy: path}) for copy, path in copies.items()))
            kind = CRASHED if self._is_crash(status, words) else REFUSED
            self._fault(kind, next(iter(copies.values())), words)
            return set()
        patched = {copy: copy.read_bytes() for copy in copies}
        changed = [copy for copy in copies if patched[copy] != originals[copy]]
        for copy in changed:
            if error := self._oracle.ask(copy)["error"]:
                self._fault(BROKEN, copies[copy], error)
        self._start("apply", "--smoke", "off", *copies)
        for copy in copies:
            if copy.read_bytes() != patched[copy]:
                self._fault(UNSTABLE, copies[copy], "")
        status, _, words = self._start("revert", *changed) if changed else (0, {}, "")
        for copy in copies:
            if copy.read_bytes() != originals[copy]:
                self._fault(NOT_REVERTED, copies[copy], words)
        return {copy for copy in changed if HELPER in patched[copy]}


def standard_library(python: str) -> Corpus:
    script = "import sys, sysconfig; print(sys.version.split()[0], sysconfig.get_paths()['stdlib'], sep='\\n')"
    done = subprocess.run([python, "-I", "-c", script], check=True, capture_output=True, text=True)
    version, folder = done.stdout.splitlines()
    files = sorted(pathlib.Path(folder).rglob("*.py"))
    own = [path for path in files if not {"site-packages", "dist-packages"} & set(path.parts)]
    return Corpus(f"standard library of {version}", python, own, tuple(map(int, version.split(".")[:2])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("--packages", type=pathlib.Path, required=True)
    parser.add_argument("--only", action="append")
    parser.add_argument("program", type=pathlib.Path)
    given = parser.parse_args()
    corpora = sorted(map(standard_library, given.python), key=lambda corpus: corpus.version)
    newest = corpora[-1].python
    for folder in sorted(given.packages.iterdir()):
        corpora.append(Corpus(folder.name, newest, sorted(folder.rglob("*.py"))))
    chosen = [corpus for corpus in corpora if not given.only or any(name in corpus.name for name in given.only)]
    if not chosen:
        parser.error("no such corpus")
    total: collections.Counter[str] = collections.Counter()
    for corpus in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="corpora-") as scratch:
            survey = Survey(given.program.resolve(), corpus, pathlib.Path(scratch), os.cpu_count() or 1)
            survey.run()
        total.update(survey.counts)
        report(corpus.name, survey.counts, time.monotonic() - began)
        for kind in (CHANGED, LEFT, *FAULTS):
            for example in survey.examples[kind][:EXAMPLES]:
                print(f"    {kind}: {example}")
        sys.stdout.flush()
    report("in all", total, None)
    failed = sum(total[kind] for kind in FAULTS)
    print(f"{total[FILES] - failed} passed, {failed} failed")
    return int(failed != 0)


def report(name: str, counts: collections.Counter[str], seconds: float | None) -> None:
    print(f"{name}:" if seconds is None else f"{name}: {seconds:.0f} s")
    for kind in (FILES, REFUSED_BY_BOTH, SITES, CHANGED, REWRITTEN, LEFT, *FAULTS):
        print(f"  {counts[kind]} {kind}")


sys.exit(main())
