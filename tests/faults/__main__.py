"""Stops nixl-retrofit at its system calls and runs many of it at once. tests/faults.sh is the way to start it."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import random
import sys
import tempfile
import time

import injection
import scenarios
import together
from injection import Call, Tracer

# The short form meets the same faults in every run.
SEED = 8
# Faults of the short form for each scenario, besides those that it always meets.
SAMPLE = 30
ROUNDS_SHORT, ROUNDS_FULL = 3, 20
# On how many trees in one state `check`, `apply` and `revert` run afterwards.
NEXT_SHORT, NEXT_FULL = 1, 8
# The calls that change what is on disk: the short form, too, kills the run before each of them. It also has a disk fill
# up at each write and rename, so that nothing can be undone.
CHANGING = (
    "rename", "unlink", "fsync", "fdatasync", "write", "pwrite64", "link", "ftruncate", "fchmod", "fchown", "fsetxattr",
)  # fmt: skip
# What the closing table counts besides scenarios.KINDS.
INJECTIONS, MISSED = "injections", "injections that met no call, because the runs were not alike"
ROUNDS, WRONG_ROUNDS = f"rounds of {together.AT_ONCE} runs at once", "rounds with something wrong"
PASSED, FAILED = "passed", "failed"
# How many examples are shown of one kind.
EXAMPLES = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every call with every fault, and 20 rounds at once")
    parser.add_argument("--scenario", help="only this one, or `together`")
    parser.add_argument("program", type=pathlib.Path)
    given = parser.parse_args()
    program = given.program.resolve()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = pathlib.Path(name)
        tracer = Tracer(program, injection.build(folder))
        total: collections.Counter[str] = collections.Counter()
        for number, scenario in enumerate(scenarios.scenarios()):
            if given.scenario not in (None, scenario.name):
                continue
            try:
                total.update(stop(scenario, tracer, folder / str(number), given.full))
            except injection.Failure as failure:
                print(f"{scenario.name}: fails without a fault: {failure}", flush=True)
                total[FAILED] += 1
        if given.scenario in (None, "together"):
            rounds = ROUNDS_FULL if given.full else ROUNDS_SHORT
            total.update(run_together(program, folder / "together", rounds))
    print("in all:")
    for title in [INJECTIONS, *scenarios.KINDS.values(), MISSED, ROUNDS, WRONG_ROUNDS]:
        print(f"  {total[title]} {title}")
    print(f"{total[PASSED]} passed, {total[FAILED]} failed")
    return int(total[FAILED] != 0)


def stop(scenario: scenarios.Scenario, tracer: Tracer, folder: pathlib.Path, full: bool) -> collections.Counter[str]:
    """Puts faults into a scenario's run, and counts what they led to."""
    began = time.monotonic()
    tracer = dataclasses.replace(tracer, always=scenario.always)
    scenario.prepare(tracer, folder)
    clean = folder / "clean"
    scenarios.tree.clone(scenario.start, clean)
    calls = tracer.calls(scenario.arguments, clean, folder / "strace")
    if scenario.always:
        # flock(2) has its fault already.
        calls = [call for call in calls if call.name != "flock"]
    faults = every(calls) if full else sample(calls)
    judge = scenarios.Judge(scenario, tracer, NEXT_FULL if full else NEXT_SHORT)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        numbered = enumerate(faults)
        judged = list(pool.map(lambda one: judge.judge(*one[1], folder / f"run-{one[0]}"), numbered))
    missed = sum(not met for _, met in judged)
    bad = [(fault, verdict) for fault, (verdict, _) in zip(faults, judged) if any(verdict.kinds().values())]
    took = time.monotonic() - began
    print(f"{scenario.name}: {len(calls)} calls, {len(faults)} injections, {len(bad)} went wrong; {took:.0f} s")
    counts = collections.Counter({INJECTIONS: len(faults), MISSED: missed})
    counts.update({PASSED: len(faults) - len(bad), FAILED: len(bad) + (missed != 0)})
    for kind, title in scenarios.KINDS.items():
        found = [(fault, verdict.kinds()[kind]) for fault, verdict in bad if verdict.kinds()[kind]]
        counts[title] += len(found)
        show(title, found)
    sys.stdout.flush()
    return counts


def show(title: str, found: list[tuple[tuple[Call, str], list[str]]]) -> None:
    """Shows the first faults that led to one kind of wrong state."""
    if not found:
        return
    print(f"  {len(found)} {title}")
    for (call, fault), what in found[:EXAMPLES]:
        print(f"    {fault} at {call}")
        for line in dict.fromkeys(what):
            print(f"      {line}")


def every(calls: list[Call]) -> list[tuple[Call, str]]:
    faults = [injection.KILL, *injection.ERRORS, *injection.LASTING]
    return [(call, fault) for call, fault in itertools.product(calls, faults) if is_possible(call, fault)]


def sample(calls: list[Call]) -> list[tuple[Call, str]]:
    calls = [call for call in calls if not call.loading]
    always = [(call, injection.KILL) for call in calls if call.name.startswith(CHANGING)]
    always += [(call, "ENOSPC+") for call in calls if call.name.startswith(("rename", "write"))]
    others = [fault for fault in every(calls) if fault not in always]
    return always + random.Random(SEED).sample(others, min(SAMPLE, len(others)))


def is_possible(call: Call, fault: str) -> bool:
    """A lasting fault of the loader's calls is none of the program's. close(2) releases the descriptor and its lock
    whatever it returns, and strace, which skips the call, cannot show that."""
    if call.name == "close":
        return fault == injection.KILL
    return not (call.loading and fault in injection.LASTING)


def run_together(program: pathlib.Path, folder: pathlib.Path, rounds: int) -> collections.Counter[str]:
    """Counts the rounds after which something was wrong."""
    began = time.monotonic()
    folder.mkdir()
    runs, wrong = together.rounds(program, folder, rounds, SEED)
    print(f"together: {rounds} rounds of {together.AT_ONCE}, {runs} runs in {time.monotonic() - began:.0f} s")
    for what in wrong[: EXAMPLES * 2]:
        print(f"    {what}")
    sys.stdout.flush()
    bad = len({what.partition(":")[0] for what in wrong})
    return collections.Counter({ROUNDS: rounds, WRONG_ROUNDS: bad, PASSED: rounds - bad, FAILED: bad})


sys.exit(main())
