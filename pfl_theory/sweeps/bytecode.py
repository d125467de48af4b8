"""Compiled forms that Python would run in place of an edited source.

Python believes a ``.pyc`` while size and time (in whole seconds) of its source are those it was made from. An edit of
the same size within that second, or one that keeps the old time (``rsync -t``), goes unnoticed: the old code runs. What
gives it away is that the source was touched after the compiled form was written, or just before: a process that had
read the old text may write it a moment later.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError

_HEADER = 16  # bytes: magic number, flags, time and size of the source
_UNCHECKED = b"\1\0\0\0"  # flags of a form that is believed whatever its source
_IMPORT = 2_000_000_000  # nanoseconds: more than passes between a source's reading and the writing of its compiled form


def outdated(source: Path) -> Path | None:
    """The compiled form that Python would take for `source` though it was made from other text; None where all is
    well.
    """
    compiled = Path(importlib.util.cache_from_source(str(source)))
    try:
        now, then = os.stat(source), os.stat(compiled)
        if now.st_ctime_ns < then.st_mtime_ns - _IMPORT:
            return None
        data, text = compiled.read_bytes(), source.read_bytes()
        made_from = (int(now.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (now.st_size & 0xFFFFFFFF).to_bytes(
            4, "little"
        )
        believed = data[4:8] == _UNCHECKED or (data[4:8] == b"\0\0\0\0" and data[8:_HEADER] == made_from)
        if data[:4] != importlib.util.MAGIC_NUMBER or not believed:
            return None
        found = marshal.loads(data[_HEADER:])
    except (OSError, ValueError, EOFError, TypeError):  # it is not there, or an import says that it is damaged
        return None
    try:
        if found != compile(text, str(source), "exec", dont_inherit=True):
            return compiled
    except (SyntaxError, ValueError):
        return compiled
    if time.time_ns() > now.st_ctime_ns + 2 * _IMPORT:
        with contextlib.suppress(OSError):  # times alone tell the next process that all is well
            os.utime(compiled)
    return None


def is_loaded(source: Path) -> bool:
    """Whether this process has imported `source`, or is doing so."""
    return any(getattr(module, "__file__", None) == str(source) for module in list(sys.modules.values()))


def remove_outdated(sources: Iterable[Path]) -> list[Path]:
    """Remove compiled forms of other text, so that processes started from here on run the sources as they are.

    Raises
    ------
    OutputError
        One cannot be removed.
    """
    found = [compiled for compiled in map(outdated, sources) if compiled is not None]
    for compiled in found:
        try:
            compiled.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{compiled}: Python runs this old form of an edited source, and it cannot be removed "
                f"({error.strerror or error}); remove it, or set PYTHONDONTWRITEBYTECODE=1 and PYTHONPYCACHEPREFIX"
            ) from error
    return found
