"""Compiled code kept on disk: a file for each kernel and signature, in a folder named by the kernels' sources.

Numba's own cache notices an edit in the file of a cached function, but not in a function of another file that it calls;
it falls back to folders that no source names, shares one index between processes without a lock, and ends in an error
where that index is damaged. Here a file is named by all that decides what it holds, carries its own hash, appears whole
or not at all, and is neither read nor written once there is any doubt that this process runs the sources that name the
folder: then kernels are compiled for this process alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ..errors import InputError, OutputError
from ..sweeps.bytecode import is_loaded, remove_outdated
from ..sweeps.files import atomic_write, file_stamp, younger_than_this_process
from ..sweeps.syntax import whole_digest

PACKAGE = Path(__file__).parent.parent
ROOMS = ("kernels", "losses", "problems", "algorithms", "expectations", "distances")  # what a kernel may call
_KEPT = 4  # folders of other sources, beside ours
_DAY = 86_400.0  # seconds
_FORGOTTEN = 30 * _DAY
_HASH = 32  # bytes of a hash before the pickled code


class Look(NamedTuple):
    """The kernels' sources as they stand at one moment."""

    stamps: dict[str, tuple[int, ...]]
    doubt: str  # why it is not sure that this process runs them; "" where it is


class _State:
    """Of this process: what was found, and whether the reader was told."""

    first = Look({}, "")  # taken below
    digest: str | None = None
    told = False
    unusable = ""


def kernel_files(package: Path) -> list[Path]:
    """Files with what a kernel may call; not those that no import reaches, such as an editor's locks."""
    found = [source for room in ROOMS for source in sorted((package / room).rglob("*.py"))]
    return [source for source in found if source.stem.isidentifier()]


def kernel_digest(package: Path) -> str:
    """Hash of all that a kernel may call, without comments and docstrings, as 16 hex digits.

    Raises
    ------
    InputError
        A source is not Python, or cannot be read: it is being written at this moment.
    """
    digest = hashlib.sha256(f"numba {numba.__version__} llvmlite {llvmlite.__version__}".encode())
    for source in kernel_files(package):
        name = source.relative_to(package).as_posix()
        try:
            found = whole_digest(source.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{name} cannot be read as Python ({' '.join(str(error).split())})") from error
        digest.update(f"{name} {found}\n".encode())
    return digest.hexdigest()[:16]


def _stamps() -> dict[str, tuple[int, ...]]:
    return {str(file): file_stamp(file) for file in kernel_files(PACKAGE)}


def look() -> Look:
    """The kernels' sources as they stand, and whether this process surely imports these."""
    stamps, doubt = _stamps(), ""
    if any(map(younger_than_this_process, stamps.values())):
        doubt = "a source was edited while this process started"
    for file in map(Path, stamps):
        try:
            if remove_outdated([file]) and is_loaded(file):
                doubt = f"Python ran an older compiled form of {file.name}, which is removed now; start again"
        except OutputError:
            doubt = f"Python runs an older compiled form of {file.name}; remove its __pycache__"
    return Look(stamps, doubt)


# When this module is imported, before most of the others: an old compiled form may be gone when a kernel is needed.
_State.first = look()


def digest_here() -> str:
    """Name of the kernels' sources, taken once; ``""`` where they cannot be read."""
    if _State.digest is None:
        try:
            _State.digest = kernel_digest(PACKAGE)
        except InputError as error:
            _State.digest, _State.unusable = "", str(error)
        else:
            _remove_old_folders(_State.digest)
    return _State.digest


def base_folder() -> str:
    """Where folders of compiled code are: ``NUMBA_CACHE_DIR``, or the user's cache."""
    return os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pfl-theory", "kernels"
    )


def cache_folder() -> str:
    """Folder of the compiled code, keyed by the kernels' syntax and the compiler's version."""
    return os.path.join(base_folder(), digest_here())


def _remove_old_folders(digest: str) -> None:
    base = Path(base_folder())
    with contextlib.suppress(OSError):
        os.utime(base / digest)  # when it was last used
    remove_old(base, base / digest, time.time())


def doubt() -> str:
    """Why compiled code is neither read nor written in this process; ``""`` where it is."""
    digest_here()
    _State.unusable = _State.unusable or _State.first.doubt
    if not _State.unusable and _stamps() != _State.first.stamps:  # a new file counts too: this process may import it
        _State.unusable = "a source was edited after this process started"
    return _State.unusable


def _tell(reason: str) -> None:
    """One line, once: what takes longer now, and why."""
    if not _State.told:
        _State.told = True
        sys.stderr.write(f"pfl-theory: kernels are compiled for this process alone: {reason}\n")


def described(numba_type: Any) -> str:
    """A type as text that is equal in every process (what pickle makes of it is not), with the module of its class:
    two losses may name their parameters alike.
    """
    parts = [described(part) for part in getattr(numba_type, "types", ())]
    owner = getattr(numba_type, "instance_class", None)
    return " ".join([repr(numba_type), *([f"{owner.__module__}.{owner.__qualname__}"] if owner else []), *parts])


class KeptCode(FunctionCache):
    """What Numba asks for compiled code of one function."""

    def __init__(self, function: Any) -> None:
        self._py_func, self._name = function, repr(function)
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """Folder of the files."""
        return cache_folder()

    def flush(self) -> None:
        """Nothing is held back."""

    def _file(self, sig: Any, codegen: Any) -> tuple[Path, str]:
        """Where it is kept, and all that decides it: sources, function, types, machine and compiler."""
        function = f"{self._py_func.__module__} {self._py_func.__qualname__}"
        _, machine, bytecode = self._index_key(sig, codegen)
        types = [described(one) for one in sig]
        key = repr((digest_here(), function, bytecode, types, machine, tuple(sys.version_info[:2])))
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return Path(cache_folder(), f"{self._py_func.__name__}-{name}.nbc"), key

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code, or None where there is none that can be trusted."""
        target_context.refresh()
        reason = doubt()
        if reason:
            _tell(reason)
            return None
        path, key = self._file(sig, target_context.codegen())
        try:
            data = path.read_bytes()
            if hashlib.sha256(data[_HASH:]).digest() != data[:_HASH]:
                return None
            found, code = pickle.loads(data[_HASH:])
            return CompileResult._rebuild(target_context, *code) if found == key else None
        except Exception:  # of whatever a file of unknown origin makes of unpickling: it is compiled anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, whole or not at all."""
        if any(not lifted.can_cache for lifted in data.lifted) or data.library.has_dynamic_globals:
            return
        reason = doubt()
        if reason:
            _tell(reason)
            return
        path, key = self._file(sig, data.codegen)
        body = dumps((key, data._reduce()))
        try:
            with atomic_write(path, "wb") as stream:
                stream.write(hashlib.sha256(body).digest() + body)
        except OutputError as error:
            why = getattr(error.__cause__, "strerror", None) or error
            _tell(f"{path.parent} cannot be written ({why}); set NUMBA_CACHE_DIR")


def keep(dispatcher: Any) -> Any:
    """Let a compiled function keep its code here."""
    dispatcher._cache = KeptCode(dispatcher.py_func)
    return dispatcher


# --- folders of sources that are no more ---


def remove_old(base: Path, ours: Path, now: float) -> list[str]:
    """Remove folders of compiled code that no process uses: unused for 30 days, or for a day and not among the last
    four. Returns their names.

    A process that still runs on such a folder makes it again.
    """
    found = []
    with contextlib.suppress(OSError):
        for folder in base.iterdir():
            if folder != ours and _is_ours(folder):
                found.append((now - folder.stat().st_mtime, folder))
    found.sort()
    gone = []
    for rank, (unused, folder) in enumerate(found):
        if unused > _FORGOTTEN or (rank >= _KEPT and unused > _DAY):
            shutil.rmtree(folder, ignore_errors=True)  # two processes may do so at once
            gone.append(folder.name)
    return gone


def _is_ours(folder: Path) -> bool:
    """Whether a folder is named as ours are and holds nothing else than compiled code (of Numba's layout too, in which
    earlier versions kept it).
    """
    if not re.fullmatch(r"[0-9a-f]{16}", folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    inner = list(folder.iterdir())
    earlier = rf"({'|'.join(ROOMS)}|\w+)_[0-9a-f]{{40}}"
    files = all(re.fullmatch(r"\.?\w+-[0-9a-f]{32}\.nbc(\.\w+\.part)?", item.name) for item in inner if item.is_file())
    rooms = all(re.fullmatch(earlier, item.name) for item in inner if item.is_dir())
    named = [item for item in inner if item.is_file() or item.name.startswith(tuple(f"{room}_" for room in ROOMS))]
    return files and rooms and bool(named)
