"""What is stopped: runs of the program on trees in a known state, and what has to follow."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import shutil

import injection
import tree
from injection import Call, Tracer

APPLY = ["apply", "--smoke", "off", "-q"]
REVERT = ["revert", "-q"]
OTHER = ["--env-var", "OTHER_BACKEND"]


@dataclasses.dataclass
class Scenario:
    """A run that faults are put into."""

    name: str
    command: list[str]
    targets: list[str]
    # What makes the tree that it starts from out of the original; empty for the original itself.
    before: list[list[str]]
    # The options of `apply` and `check` afterwards.
    options: list[str] = dataclasses.field(default_factory=list)
    # Whether RECORD is still the original's: what a run leaves that is killed between the module and RECORD.
    unfinished: bool = False
    # What strace does to all its runs, those without a fault too.
    always: tuple[str, ...] = ()

    start: pathlib.Path = pathlib.Path()
    started_from: dict[str, tree.Entry] = dataclasses.field(default_factory=dict)
    original: dict[str, tree.Entry] = dataclasses.field(default_factory=dict)
    patched: dict[str, tree.Entry] = dataclasses.field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """Not quiet, so that faults meet the report too."""
        return [*(part for part in self.command if part != "-q"), *self.targets]

    @property
    def goal(self) -> dict[str, tree.Entry]:
        return self.original if self.command[0] == "revert" else self.patched

    @property
    def modules(self) -> list[str]:
        """Those that it changes."""
        return list(tree.MODULES)

    @property
    def compiled_from(self) -> dict[str, bytes]:
        return {name: self.started_from[name].content for name in tree.MODULES}

    def prepare(self, tracer: Tracer, folder: pathlib.Path) -> None:
        """Makes the tree that it starts from, and learns from undisturbed runs what has to follow."""
        folder.mkdir()
        original, self.start, patched = folder / "original", folder / "start", folder / "patched"
        original.mkdir()
        tree.make(original)
        self.original = tree.see(original)
        tree.clone(original, self.start)
        for arguments in self.before:
            succeed(tracer, arguments, self.start)
        if self.before:
            tree.compile_modules(self.start)
        if self.unfinished:
            (self.start / tree.RECORD).write_bytes(self.original[tree.RECORD].content)
        self.started_from = tree.see(self.start)
        tree.clone(self.start, patched)
        succeed(tracer, [*APPLY, *self.options, *self.targets], patched)
        self.patched = tree.see(patched)
        self._require_patched()

    def _require_patched(self) -> None:
        """What other trees are compared with: nothing but the modules, RECORD and the modules' bytecode changed, and
        of these only the content."""
        may = {*self.modules, tree.RECORD}
        changed = [path for path in tree.difference(self.original, self.patched) if not path.endswith(".pyc")]
        wrong = tree.disagreements(self.patched) + [path for path in changed if path not in may]
        for path in set(changed) & may:
            before, after = self.original[path], self.patched.get(path)
            if after is None or dataclasses.replace(after, content=before.content) != before:
                wrong.append(path)
        if wrong:
            raise injection.Failure(f"apply is wrong without a fault: {', '.join(sorted(wrong))}")

    def has(self, seen: dict[str, tree.Entry], goal: dict[str, tree.Entry]) -> bool:
        """Whether its modules and RECORD are the goal's."""
        return all(seen.get(name) == goal[name] for name in [*self.modules, tree.RECORD])


def succeed(tracer: Tracer, arguments: list[str], folder: pathlib.Path) -> None:
    """Runs the program, which nothing disturbs."""
    injection.require(tracer.undisturbed(arguments, folder), arguments)


def scenarios() -> list[Scenario]:
    one, both = [tree.SITE], list(tree.MODULES)
    patched = [[*APPLY, *one]]
    return [
        Scenario("apply", APPLY, one, []),
        Scenario("revert", REVERT, one, patched),
        Scenario("apply, other options", [*APPLY, *OTHER], one, patched, OTHER),
        Scenario("apply, two targets", APPLY, both, []),
        Scenario("revert, two targets", REVERT, both, [[*APPLY, *both]]),
        Scenario("apply, unfinished", APPLY, one, patched, unfinished=True),
        Scenario("revert, unfinished", REVERT, one, patched, unfinished=True),
        Scenario("apply, only files lock", APPLY, one, [], always=tuple(injection.ONLY_FILES_LOCK)),
        Scenario("revert, only files lock", REVERT, one, patched, always=tuple(injection.ONLY_FILES_LOCK)),
    ]


@dataclasses.dataclass
class Verdict:
    """What one stopped run led to: for each kind of fault found, what is wrong."""

    torn: list[str] = dataclasses.field(default_factory=list)
    changed_with_2: list[str] = dataclasses.field(default_factory=list)
    wrong_end: list[str] = dataclasses.field(default_factory=list)
    wrong_record: list[str] = dataclasses.field(default_factory=list)
    stale_bytecode: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)
    wrong_next: list[str] = dataclasses.field(default_factory=list)

    def kinds(self) -> dict[str, list[str]]:
        return dataclasses.asdict(self)


# What the closing table calls them.
KINDS = {
    "torn": "torn or changed files",
    "changed_with_2": "exit status 2 with something changed",
    "wrong_end": "wrong end of the stopped run",
    "wrong_record": "wrong RECORDs after the next run",
    "stale_bytecode": "stale bytecode after the next run",
    "left": "temporary files left",
    "wrong_next": "wrong next run",
}


class Judge:
    """Runs a scenario with a fault, then all commands on what it left."""

    def __init__(self, scenario: Scenario, tracer: Tracer, times: int) -> None:
        self.scenario = scenario
        self.tracer = tracer
        # On how many trees in one state the commands run. Most faults lead to the same few states.
        self.times = times
        self.known: dict[object, list[Verdict]] = collections.defaultdict(list)

    def judge(self, call: Call, fault: str, folder: pathlib.Path) -> tuple[Verdict, bool]:
        """The verdict, and whether the run met its fault."""
        folder.mkdir()
        try:
            root = folder / "root"
            tree.clone(self.scenario.start, root)
            done, met = self.tracer.inject(call, fault, self.scenario.arguments, root, folder / "strace")
            seen = tree.see(root)
            verdict = Verdict()
            self._judge_state(verdict, seen)
            self._judge_end(verdict, seen, call, fault, done.returncode, done.stderr, root)
            self._judge_next(verdict, seen, root, folder)
            return verdict, met
        finally:
            shutil.rmtree(folder)

    def _judge_state(self, verdict: Verdict, seen: dict[str, tree.Entry]) -> None:
        """At any moment: each file is whole, with its owner, mode and attributes, and nothing else changed."""
        scenario = self.scenario
        states = (scenario.started_from, scenario.goal)
        for path in tree.without_temporaries(seen).keys() | scenario.started_from.keys():
            # Bytecode goes with the file that it was compiled from.
            allowed = [state.get(path) for state in states] + ([None] if path.endswith(".pyc") else [])
            if seen.get(path) not in allowed:
                verdict.torn.append(path)

    def _judge_end(
        self, verdict: Verdict, seen: dict[str, tree.Entry], call: Call, fault: str, status: int | None, words: str,
        root: pathlib.Path,
    ) -> None:
        scenario = self.scenario
        if fault == injection.KILL and status == -9:
            return
        # Where the temporary file could not be removed, nothing can be asked for.
        excused = call.name.startswith("unlink")
        if not excused:
            verdict.left += tree.temporaries(seen)
        if status == 0:
            if not scenario.has(seen, scenario.goal):
                verdict.wrong_end.append("exit status 0 without the change")
            verdict.stale_bytecode += tree.stale_bytecode(root, scenario.compiled_from)
        elif status == 1:
            if not tree.difference(scenario.started_from, seen):
                verdict.wrong_end.append("exit status 1 with nothing changed")
        elif status == 2 or call.loading:  # The loader ends with 127, and Rust's start with SIGABRT.
            left = tree.without_temporaries(seen) if excused else seen
            verdict.changed_with_2 += tree.difference(scenario.started_from, left)
        else:
            verdict.wrong_end.append(f"exit status {status}: {words.strip()[-300:]}")
        # A fault of `write` may have hit the words themselves.
        if status in (1, 2) and not words.strip() and call.name != "write":
            verdict.wrong_end.append(f"exit status {status} without a word")

    def _judge_next(
        self, verdict: Verdict, seen: dict[str, tree.Entry], root: pathlib.Path, folder: pathlib.Path
    ) -> None:
        temporary = tuple(sorted((os.path.dirname(path), seen[path].content) for path in tree.temporaries(seen)))
        stale = tuple(tree.stale_bytecode(root, self.scenario.compiled_from))
        state = (frozenset(tree.without_temporaries(seen).items()), temporary, stale)
        known = self.known[state]
        if len(known) < self.times:
            following = Verdict()
            copy = folder / "copy"
            tree.clone(root, copy)
            self._check(following, seen, root)
            self._finish(following, root, [*APPLY, *self.scenario.options], self.scenario.patched)
            self._finish(following, copy, REVERT, self.scenario.original)
            known.append(following)
        for following in known:
            for kind, found in following.kinds().items():
                getattr(verdict, kind).extend(found)

    def _check(self, verdict: Verdict, seen: dict[str, tree.Entry], root: pathlib.Path) -> None:
        """`check` tells whether there is anything to change or to finish, and changes nothing."""
        scenario = self.scenario
        arguments = ["check", "--output-format", "json", *scenario.options, *scenario.targets]
        finished = scenario.has(seen, scenario.patched) and not tree.stale_bytecode(root, scenario.compiled_from)
        done = self.tracer.undisturbed(arguments, root)
        if done.returncode != (0 if finished else 1):
            verdict.wrong_next.append(f"check: exit status {done.returncode}")
        verdict.wrong_next += [f"check changed {path}" for path in tree.difference(seen, tree.see(root))]
        wrong = tree.disagreements(seen)
        if not wrong:
            return
        try:
            statuses = {file["path"]: file["status"] for file in json.loads(done.stdout)["files"]}
        except (ValueError, KeyError, TypeError):
            verdict.wrong_next.append(f"check: no document: {done.stdout[:300]}")
            return
        for name in wrong:
            if not any(path.endswith(name) and status == "unfinished" for path, status in statuses.items()):
                verdict.wrong_next.append(f"check: {name} is unfinished, not {sorted(statuses.values())}")

    def _finish(
        self, verdict: Verdict, root: pathlib.Path, command: list[str], goal: dict[str, tree.Entry]
    ) -> None:
        """`apply` goes forward, `revert` back, whatever was left."""
        scenario = self.scenario
        what = command[0]
        done = self.tracer.undisturbed([*command, *scenario.targets], root)
        seen = tree.see(root)
        if done.returncode != 0:
            verdict.wrong_next.append(f"{what}: exit status {done.returncode}: {done.stderr.strip()[-300:]}")
        verdict.wrong_record += [f"{what}: {name}" for name in tree.disagreements(seen)]
        verdict.stale_bytecode += [f"{what}: {path}" for path in tree.stale_bytecode(root, scenario.compiled_from)]
        verdict.left += [f"{what}: {path}" for path in sorted(seen.keys() - scenario.started_from.keys())]
        for path in tree.difference(goal, tree.without_temporaries(seen)):
            if not path.endswith(".pyc"):
                verdict.wrong_next.append(f"{what}: {path} is not as it has to be")
