"""Files that appear whole or not at all, and one canonical text for plain data."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from .. import STARTED
from ..errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_CLOCK = 20_000_000  # nanoseconds: what a file's time may be behind the clock


def canonical_json(data: Any) -> str:
    """One text for equal data: sorted keys, no spaces, shortest round-trip floats."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not plain data; use numbers, strings, lists and dicts")


def file_stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file or the list of a folder does, even where size and time are put back; empty where there
    is none.
    """
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def younger_than_this_process(stamp: tuple[int, ...]) -> bool:
    """Whether a file with this :func:`file_stamp` was touched, or went, since this process started."""
    return not stamp or stamp[1] > STARTED - _CLOCK


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and move it there when the block ends well.

    Raises
    ------
    OutputError
        The folder cannot be made or written, or is full. Nothing of the file is left then.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        binary = "b" in mode
        with os.fdopen(handle, mode, encoding=None if binary else "utf-8", newline=None if binary else "") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only the owner reads
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder with --out, or make room"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_write(path) as stream:
        stream.write(text)


@contextlib.contextmanager
def locked(folders: Iterable[str | os.PathLike[str]], *, wait: bool = False) -> Iterator[None]:
    """Hold these folders for one writer while the block runs: what two wrote in turns would not belong together. The
    lock ends with the process, and leaves no file. With `wait`, another writer's end is waited for.

    Raises
    ------
    OutputError
        Another process holds one of them (without `wait`), or it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        for folder in sorted({os.path.abspath(folder) for folder in folders}):
            try:
                os.makedirs(folder, exist_ok=True)
                if fcntl is None:
                    continue
                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise OutputError(
                    f"{folder}: another run writes there; wait until it has ended, or choose another folder with --out"
                ) from None
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EINVAL):
                    continue  # a file system without locks, or without those of folders (NFS: EBADF)
                raise OutputError(
                    f"{folder}: cannot be written ({error.strerror or error}); choose another folder with --out"
                ) from error
        yield
