"""Many runs at once on one tree."""

from __future__ import annotations

import concurrent.futures
import pathlib
import random
import shutil

import injection
import tree
from scenarios import APPLY, OTHER, REVERT

AT_ONCE = 64
COMMANDS = [APPLY, [*APPLY, *OTHER], REVERT, ["check", "-q"]]
# One module by its folder and by its file, two modules of one distribution, and both by another path.
TARGETS = [
    [tree.SITE],
    [tree.FIRST],
    [tree.SECOND],
    list(tree.MODULES),
    [tree.LINK],
    [name.replace(tree.SITE, tree.LINK, 1) for name in tree.MODULES],
]
# What a run says that waited for its turn in vain.
WAITED = "does not finish"


def rounds(program: pathlib.Path, folder: pathlib.Path, count: int, seed: int) -> tuple[int, list[str]]:
    """Runs that many rounds; how many runs there were, and what was wrong."""
    chance = random.Random(seed)
    original = folder / "original"
    original.mkdir()
    tree.make(original)
    versions = whole_versions(program, folder, original)
    first_seen = tree.see(original)
    root = folder / "root"
    tree.clone(original, root)
    wrong = []
    for number in range(1, count + 1):
        runs = [[*chance.choice(COMMANDS), *chance.choice(TARGETS)] for _ in range(AT_ONCE)]
        wrong += [f"round {number}: {what}" for what in one_round(program, root, runs, versions, first_seen)]
    return count * AT_ONCE, wrong


def whole_versions(program: pathlib.Path, folder: pathlib.Path, original: pathlib.Path) -> dict[str, set[tree.Entry]]:
    """Every file that a module may be: the original, and patched with each set of options."""
    versions: dict[str, set[tree.Entry]] = {name: {tree.see(original)[name]} for name in tree.MODULES}
    for command in COMMANDS:
        if command[0] != "apply":
            continue
        for name in tree.MODULES:
            copy = folder / "version"
            tree.clone(original, copy)
            injection.require(injection.run([str(program), *command, name], copy), [*command, name])
            versions[name].add(tree.see(copy)[name])
            shutil.rmtree(copy)
    return versions


def one_round(
    program: pathlib.Path, root: pathlib.Path, runs: list[list[str]], versions: dict[str, set[tree.Entry]],
    first_seen: dict[str, tree.Entry],
) -> list[str]:
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(lambda arguments: injection.run([str(program), *arguments], root), runs))
    for arguments, done in zip(runs, ended):
        waited = done.returncode == 2 and WAITED in done.stderr
        if done.returncode not in (0, 1) and not waited:
            wrong.append(f"{' '.join(arguments)}: exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    seen = tree.see(root)
    wrong += [f"{name} is not a whole version" for name in tree.MODULES if seen.get(name) not in versions[name]]
    wrong += [f"RECORD is wrong about {name}" for name in tree.disagreements(seen)]
    wrong += [f"{path} is left" for path in sorted(seen.keys() - first_seen.keys())]
    if seen[tree.CACHED].content != first_seen[tree.CACHED].content:
        wrong.append("the hard link's other name changed")
    return wrong
