"""System calls: which ones a run makes, and a run in which one of them fails or never happens."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess

import tree

# The calls of each thread but the first have numbers above this; apart.c.
COUNT = 100
# After this many seconds, a run hangs.
PATIENCE = 90

ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS", "EINTR")
KILL = "KILL"
# A full disk stays full, a file system that became read-only stays so: from the chosen call on, all of its kind fail.
LASTING = ("ENOSPC+", "EIO+", "EROFS+")
# What a file system answers that locks files alone, as NFS does: every other flock(2), the one of a folder, fails.
ONLY_FILES_LOCK = ["-e", "inject=flock:error=EBADF:when=1+2"]

# `PID [NUMBER] NAME(ARGUMENTS`
LINE = re.compile(r"^(?P<thread>\d+) +\[ *(?P<number>\d+)\] (?P<name>\w+)\((?P<rest>.*)$")
# They map what `openat` opened.
NO_FILES = ("mmap", "munmap", "mremap", "mprotect")


@dataclasses.dataclass(frozen=True)
class Call:
    """One system call of a run: the `count`th of that name in its thread."""

    name: str
    number: int
    count: int
    main: bool  # of the main thread
    loading: bool  # before the program looks at the tree: the loader's, and the start of the program
    text: str

    def __str__(self) -> str:
        return f"{self.name} {self.count}{' of the main thread' if self.main else ''}: {self.text}"


class Failure(Exception):
    """A run that nothing disturbed failed."""


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles apart.c."""
    library = folder / "apart.so"
    source = pathlib.Path(__file__).parent / "apart.c"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-DCOUNT={COUNT}"]
    subprocess.run(["cc", *flags, "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@dataclasses.dataclass(frozen=True)
class Tracer:
    """strace, and the program that it watches."""

    program: pathlib.Path
    apart: pathlib.Path
    # What else strace does to every run.
    always: tuple[str, ...] = ()

    def undisturbed(self, arguments: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
        """Runs the program without a fault."""
        strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=flock", *self.always] if self.always else []
        return run([*strace, str(self.program), *arguments], folder)

    def calls(self, arguments: list[str], folder: pathlib.Path, log: pathlib.Path) -> list[Call]:
        """Runs the program to its end; its system calls that have to do with files, in order."""
        require(self._run(["-n", "-e", "trace=%file,%desc"], arguments, folder, log, ""), arguments)
        counts: dict[tuple[str, str], int] = {}
        calls = []
        first = None
        loading = True
        for line in log.read_text(errors="replace").splitlines():
            found = LINE.match(line)
            if not found or found["name"] in NO_FILES:
                continue
            first = first or found["thread"]
            key = (found["thread"], found["name"])
            counts[key] = counts.get(key, 0) + 1
            main = found["thread"] == first
            loading = loading and main and (found["name"] == "execve" or f'"{tree.SITE}' not in found["rest"])
            calls.append(Call(found["name"], int(found["number"]), counts[key], main, loading, found["rest"][:150]))
        # Two threads that both make a call of one name with one count: the first of them meets the fault.
        distinct = {(call.name, call.count, call.main): call for call in calls if call.name != "execve"}
        return list(distinct.values())

    def inject(
        self, call: Call, fault: str, arguments: list[str], folder: pathlib.Path, log: pathlib.Path
    ) -> tuple[subprocess.CompletedProcess[str], bool]:
        """Runs the program while that call meets that fault. Whether it did, too."""
        when = call.count + (0 if call.main else COUNT)
        what = "signal=KILL" if fault == KILL else f"error={fault.rstrip('+')}"
        lasting = "+" if fault.endswith("+") else ""
        options = ["-e", f"trace={call.name},flock", "-e", f"inject={call.name}:{what}:when={when}{lasting}"]
        done = self._run(options, arguments, folder, log, str(call.number))
        met = r"\+\+\+ killed by SIGKILL \+\+\+" if fault == KILL else rf"\b{call.name}\b.*\(INJECTED\)"
        return done, bool(re.search(met, log.read_text(errors="replace")))

    def _run(
        self, options: list[str], arguments: list[str], folder: pathlib.Path, log: pathlib.Path, apart: str
    ) -> subprocess.CompletedProcess[str]:
        preload = ["-E", f"LD_PRELOAD={self.apart}", "-E", f"APART={apart}"]
        command = ["strace", "-f", "-o", str(log), *preload, *options, *self.always, str(self.program), *arguments]
        return run(command, folder)


def require(done: subprocess.CompletedProcess[str], arguments: list[str]) -> None:
    """For runs without a fault."""
    if done.returncode != 0:
        raise Failure(f"nixl-retrofit {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr.strip()}")


def run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs a command without the variables that choose something for the program. A hang has the exit status None."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NIXL_", "PYTHON", "VIRTUAL_ENV", "NO_COLOR", "FORCE_COLOR", "CLICOLOR"))
    }
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as expired:
        return subprocess.CompletedProcess(command, None, "", f"hangs: {expired}")  # type: ignore[arg-type]
