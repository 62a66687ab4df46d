"""How time and memory of `check` grow with a file. tests/growth.sh is the way to start it."""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import itertools
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

# Along a row, the largest user time per byte may be this many times the smallest.
FACTOR = 1.5
# Nanoseconds a byte; less is as good as this. One long string takes hardly any, and a factor of that is noise.
LITTLE = 20
# Bytes of memory for each byte of the file, beyond what a file of one class and one call takes.
MEMORY = 60
# A run that takes longer, in seconds of processor time, is not linear; no larger file of its row is tried.
LIMIT = 120
# The kernel counts user time in ticks, so a small file is checked until this many bytes were read.
ENOUGH = 4_000_000
ROUNDS = 5

KB, MB = 1_000, 1_000_000
START = "import nixl._api as nixl_api\nimport logging\n\n"
CALL = "def connect(name):\n    return nixl_api.nixl_agent(name)\n\n"
# What was proved of one call does not prove another of these.
NUMBERED_CALL = "def connect{n}(name{n}):\n    return nixl_api.nixl_agent(name{n})\n\n"
# A call among others, for one long line.
LINE = "agent = nixl_api.nixl_agent(name); text = '" + "Keeps what one worker has to do. " * 6 + "'; "
# Ordinary code: a class, loops, an f-string, a comprehension. About 700 bytes.
ORDINARY = '''
class Worker{n}:
    """Keeps what one worker has to do, and tells the others about it."""

    def __init__(self, name: str, size: int = 16) -> None:
        self._name = name
        self._size = size
        self._items = {{}}

    def put(self, key, value):
        # The oldest item goes first.
        while len(self._items) >= self._size:
            self._items.pop(next(iter(self._items)))
        self._items[key] = value
        return f"{{self._name}}: {{key}} of {{len(self._items)}}"

    def find(self, keys):
        found = [self._items[key] for key in keys if key in self._items]
        try:
            return sum(found) / len(found)
        except ZeroDivisionError as error:
            raise KeyError(keys) from error

'''


@dataclasses.dataclass(frozen=True)
class Kind:
    """A row: what its files are made of."""

    name: str
    sizes: tuple[int, ...]
    make: collections.abc.Callable[[int], str]
    unit: str = "bytes"


def filled(start: str, piece: str, size: int, end: str = "") -> str:
    """Pieces, numbered, until the file has its size."""
    length = len(start) + len(end)
    pieces = [start]
    for number in itertools.count():
        if length >= size:
            break
        pieces.append(piece.format(n=number))
        length += len(pieces[-1])
    return "".join(pieces) + end


def calls_among(count: int, size: int, call: str = CALL) -> str:
    """That many calls, evenly among ordinary code."""
    ordinary = (size - len(START) - count * len(call)) // len(ORDINARY)
    pieces = [START]
    for number in range(ordinary):
        calls = range(number * count // ordinary, (number + 1) * count // ordinary)
        pieces.append(ORDINARY.format(n=number) + "".join(call.format(n=call_number) for call_number in calls))
    return "".join(pieces)


def kinds(quick: bool) -> list[Kind]:
    most = 1 * MB if quick else 50 * MB
    sizes = tuple(size for size in (100 * KB, 1 * MB, 10 * MB, 50 * MB) if size <= most)
    middle = tuple(size for size in sizes if size <= 10 * MB)
    counts = (1, 10, 100, 1_000) if quick else (1, 10, 100, 1_000, 10_000, 100_000)
    dense = tuple(count for count in counts if count >= 1_000)

    def ordinary(name: str, start: str) -> Kind:
        return Kind(name, sizes, lambda size: filled(start, ORDINARY, size))

    def sized(name: str, piece: str, start: str, end: str = "") -> Kind:
        return Kind(name, middle, lambda size: filled(start, piece, size, end))

    return [
        ordinary("no `nixl`", ""),
        ordinary("`nixl` in a comment", "# nixl\n"),
        ordinary("one call", START + CALL),
        Kind("calls, in a file of the largest size", counts, lambda count: calls_among(count, most), "calls"),
        Kind("calls that all differ, likewise", counts, lambda count: calls_among(count, most, NUMBERED_CALL), "calls"),
        Kind("calls, nothing else", dense, lambda count: START + CALL * count, "calls"),
        sized("bindings of one name", "q = f(q)\n", START + "q = 0\n", CALL),
        sized("bindings of the module's name", "n = nixl_api\n", START, "agent = n.nixl_agent('a')\n"),
        sized("bindings of the function's name", "n = nixl_api.nixl_agent\n", START, "agent = n('a')\n"),
        sized("bindings in branches", "if c[{n}]: n = nixl_api\n", START + "n = None\n", "agent = n.nixl_agent('a')\n"),
        sized("`if c[i]: q = q.filter(i)`", "    if c[{n}]: q = q.filter({n})\n", START + CALL + "def f(q, c):\n"),
        sized("functions", "def f{n}(a):\n    b = a\n    return b\n\n", START + CALL),
        sized("lambdas and comprehensions", "x = [(lambda y: y + z)(w) for w in v for z in u]\n", START + CALL),
        sized("loops that bind", "for n in v:\n    m = n\n    n = m\n", START + CALL),
        sized("tries that bind", "try:\n    n = nixl_api\nexcept KeyError:\n    n = None\n", START + CALL),
        sized("attributes", "self.agent = n.nixl_agent\n", START + CALL),
        sized("one line", "f({n}); ", START + CALL, "\n"),
        sized("calls on one line", LINE, START, "\n"),
        sized("one string", "nixl_agent(nothing) ", START + CALL + 's = """', '"""\n'),
    ]


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run: user time in seconds, and the peak in bytes."""

    user: float
    peak: int


def check(program: pathlib.Path, path: pathlib.Path) -> Measured | None:
    """Checks a file; None if that takes too long. Children's times count from when they were waited for, so those of
    GNU time include the program's."""
    limits = f"ulimit -t {LIMIT}; exec /usr/bin/time -q -f %M -o '{path}.peak' '{program}' check -q '{path}'"
    child = subprocess.Popen(["bash", "-c", limits], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = pathlib.Path(f"{path}.peak").read_text().split()
    if child.returncode not in (0, 1) or not peak:
        if usage.ru_utime + usage.ru_stime < LIMIT * 0.9:
            raise SystemExit(f"check {path.name}: exit status {child.returncode}: {words.decode()[-500:]}")
        return None
    return Measured(usage.ru_utime, int(peak[-1]) * 1024)


@dataclasses.dataclass
class Case:
    """A file, and what its runs took."""

    path: pathlib.Path
    length: int
    runs: list[Measured] = dataclasses.field(default_factory=list)

    def measure(self, program: pathlib.Path, repeat: int) -> bool:
        """One round of that many runs. Whether they end in time."""
        runs = []
        for _ in range(repeat):
            run = check(program, self.path)
            if run is None:
                return False
            runs.append(run)
        self.runs.append(Measured(statistics.fmean(run.user for run in runs), max(run.peak for run in runs)))
        return True

    def result(self) -> Measured:
        """The fastest round: whatever else the machine does only adds to it."""
        return Measured(min(run.user for run in self.runs), max(run.peak for run in self.runs))


def short(number: int, unit: str) -> str:
    if unit != "bytes":
        return f"{number:,} {unit}"
    return f"{number // KB} kB" if number < MB else f"{number // MB} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 1 MB and 1,000 calls")
    parser.add_argument("--row", help="only the rows with this in their name")
    parser.add_argument("program", type=pathlib.Path)
    given = parser.parse_args()
    program = given.program.resolve()
    exceeded: list[str] = []
    measured_rows = 0
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        # With it, the program's own code is in memory.
        small = written(pathlib.Path(folder), calls_among(1, len(START + ORDINARY + CALL)))
        assert all(small.measure(program, 50) for _ in range(ROUNDS))
        base = small.result()
        print(f"A file of one class and one call takes {base.user * 1000:.2f} ms and {base.peak / 1e6:.1f} MB, subtracted below.\n")
        print("| file | size | user time | ns a byte | bytes a byte |\n| --- | --- | --- | --- | --- |")
        for kind in kinds(given.quick):
            if (given.row or "") in kind.name:
                exceeded += measure_row(program, pathlib.Path(folder), kind, base)
                measured_rows += 1
    print()
    for what in exceeded:
        print(f"exceeded: {what}")
    failed = len({what.partition(":")[0] for what in exceeded})
    print(f"{measured_rows - failed} passed, {failed} failed")
    return int(failed != 0)


def written(folder: pathlib.Path, source: str) -> Case:
    """A file with this source."""
    handle, path = tempfile.mkstemp(suffix=".py", dir=folder)
    os.close(handle)
    pathlib.Path(path).write_text(source)
    return Case(pathlib.Path(path), len(source))


def measure_row(program: pathlib.Path, folder: pathlib.Path, kind: Kind, base: Measured) -> list[str]:
    """Prints a row's measurements. What exceeds a limit."""
    cases = [written(folder, kind.make(size)) for size in kind.sizes]
    # In turns, so that a slow minute of the machine meets all of the row.
    for _ in range(ROUNDS):
        for size, case in zip(kind.sizes, cases):
            if not case.measure(program, math.ceil(ENOUGH / case.length)):
                print(f"| {kind.name} | {short(size, kind.unit)} | over {LIMIT} s | | |", flush=True)
                return [f"{kind.name}: {short(size, kind.unit)} take more than {LIMIT} s"]
    exceeded = []
    times = []
    for size, case in zip(kind.sizes, cases):
        run = case.result()
        nanoseconds = max(run.user - base.user, 0) / case.length * 1e9
        memory = max(run.peak - base.peak, 0) / case.length
        times.append(nanoseconds)
        took = f"{run.user * 1000:.0f} ms"
        print(f"| {kind.name} | {short(size, kind.unit)} | {took} | {nanoseconds:.1f} | {memory:.1f} |", flush=True)
        if memory > MEMORY:
            exceeded.append(f"{kind.name}: {memory:.0f} bytes a byte of {short(size, kind.unit)}")
        case.path.unlink()
    factor = max(times) / max(min(times), LITTLE)
    print(f"{kind.name}: a factor of {factor:.2f}", file=sys.stderr)
    if factor > FACTOR:
        listed = ", ".join(f"{time:.0f}" for time in times)
        exceeded.append(f"{kind.name}: user time per byte differs by a factor of {factor:.1f} ({listed} ns)")
    return exceeded


if __name__ == "__main__":
    sys.exit(main())
