"""The installed tree that the faults hit, what can be seen of it, and what must be true of it."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import importlib.util
import os
import pathlib
import py_compile
import shutil
import stat
import struct

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
MINIATURE = REPOSITORY / "fixtures" / "site-packages"

SITE = "site"
DIST_INFO = f"{SITE}/ai_dynamo_runtime-9.9.9.dist-info"
RECORD = f"{DIST_INFO}/RECORD"
FIRST = f"{SITE}/dynamo/nixl_connect/__init__.py"
SECOND = f"{SITE}/dynamo/common/multimodal/embedding_transfer.py"
MODULES = (FIRST, SECOND)
# Another name of the first module, as an installer's cache has it: keeps the original's bytes whatever happens.
CACHED = "cache/module.py"
# Another path to the same tree.
LINK = "link"

SECOND_SOURCE = b"""import nixl._api as nixl_api


def agent(name):
    return nixl_api.nixl_agent(name)
"""

# linux/posix_acl_xattr.h: version 2, then tag, permissions and identifier of each entry. The owner reads and writes,
# the user 65534 reads, the group reads, the mask is r, nobody else has access.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 6, 0xFFFFFFFF), (2, 4, 65534), (4, 4, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]
)

# How the program's temporary files begin.
TEMPORARY = ".nixl-retrofit-"


@dataclasses.dataclass(frozen=True)
class Entry:
    """What anybody can see of a file, except its times and its inode number."""

    mode: int
    owner: tuple[int, int]
    attributes: tuple[tuple[str, bytes], ...]
    content: bytes


def make(root: pathlib.Path) -> None:
    """Makes the original tree."""
    site = root / SITE
    shutil.copytree(MINIATURE, site)
    (root / SECOND).parent.mkdir(parents=True)
    (root / SECOND).write_bytes(SECOND_SOURCE)
    for name in MODULES:
        module = root / name
        if os.geteuid() == 0:
            os.chown(module, 1234, 4321)
        os.setxattr(module, "user.origin", b"image")
        os.setxattr(module, "system.posix_acl_access", ACL)
    (root / CACHED).parent.mkdir()
    os.link(root / FIRST, root / CACHED)
    (root / LINK).symlink_to(SITE)
    compile_modules(root)
    write_record(root)
    os.setxattr(root / RECORD, "user.origin", b"image")


def compile_modules(root: pathlib.Path) -> None:
    """Gives every module bytecode that Python loads without a look at the source, and bytecode that it compares by time
    and size, both compiled from the present source."""
    modes = {"311": py_compile.PycInvalidationMode.UNCHECKED_HASH, "312": py_compile.PycInvalidationMode.TIMESTAMP}
    for name in MODULES:
        module = root / name
        cache = module.parent / "__pycache__"
        cache.mkdir(exist_ok=True)
        for version, mode in modes.items():
            bytecode = cache / f"{module.stem}.cpython-{version}.pyc"
            bytecode.unlink(missing_ok=True)
            py_compile.compile(str(module), str(bytecode), doraise=True, invalidation_mode=mode)


def write_record(root: pathlib.Path) -> None:
    """Lists the files as pip does: bytecode and RECORD itself without a hash."""
    site, record = root / SITE, root / RECORD
    lines = []
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        name = path.relative_to(site).as_posix()
        bare = path == record or path.suffix == ".pyc"
        lines.append(f"{name},," if bare else f"{name},{digest(path.read_bytes())},{path.stat().st_size}")
    record.write_text("\n".join(lines) + "\n")


def digest(content: bytes) -> str:
    """A file's hash as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def clone(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a tree with owners, modes, attributes, times, hard and symbolic links."""
    target.mkdir()
    copied: dict[int, pathlib.Path] = {}
    folders = [(source, target)]
    for folder, copy in folders:
        for entry in os.scandir(folder):
            to = copy / entry.name
            status = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), to)
            elif entry.is_dir():
                to.mkdir()
                folders.append((pathlib.Path(entry.path), to))
            elif status.st_ino in copied:
                os.link(copied[status.st_ino], to)
            else:
                shutil.copyfile(entry.path, to)
                os.chown(to, status.st_uid, status.st_gid)
                shutil.copystat(entry.path, to)
                copied[status.st_ino] = to


def see(root: pathlib.Path) -> dict[str, Entry]:
    """Every file, folder and link below the root by its path."""
    seen = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            else:
                content = b""
            names = sorted(os.listxattr(path, follow_symlinks=False))
            attributes = tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in names)
            seen[os.path.relpath(path, root)] = Entry(
                status.st_mode, (status.st_uid, status.st_gid), attributes, content
            )
    return seen


def temporaries(seen: dict[str, Entry]) -> list[str]:
    """The program's temporary files."""
    return sorted(path for path in seen if is_temporary(path))


def is_temporary(path: str) -> bool:
    return os.path.basename(path).startswith(TEMPORARY)


def without_temporaries(seen: dict[str, Entry]) -> dict[str, Entry]:
    return {path: entry for path, entry in seen.items() if not is_temporary(path)}


def difference(before: dict[str, Entry], after: dict[str, Entry]) -> list[str]:
    """The paths that are not the same in both."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def disagreements(seen: dict[str, Entry]) -> list[str]:
    """The files of which RECORD says something wrong."""
    record = seen.get(RECORD)
    if record is None:
        return [RECORD]
    wrong = []
    for name, hashed, size in csv.reader(record.content.decode().splitlines()):
        entry = seen.get(f"{SITE}/{name}")
        if hashed and (entry is None or (hashed, size) != (digest(entry.content), str(len(entry.content)))):
            wrong.append(name)
    return wrong


def stale_bytecode(root: pathlib.Path, compiled_from: dict[str, bytes]) -> list[str]:
    """The bytecode that Python would load although it was compiled from something else than the present source.
    `compiled_from`: what each module was when its bytecode was compiled. Source of the format: PEP 552."""
    stale = []
    for name in MODULES:
        module = root / name
        content, status = module.read_bytes(), module.stat()
        for bytecode in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
            flags, first, second = struct.unpack("<4xIII", bytecode.read_bytes()[:16])
            if flags & 1:
                known = importlib.util.source_hash(content) == struct.pack("<II", first, second)
                loaded = not flags & 2 or known
            else:
                known = content == compiled_from[name]
                loaded = (first, second) == (int(status.st_mtime) & 0xFFFFFFFF, len(content) & 0xFFFFFFFF)
            if loaded and not known:
                stale.append(str(bytecode.relative_to(root)))
    return stale
