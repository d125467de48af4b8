"""Compiled forms that Python would run in place of an edited source.

Python believes a ``.pyc`` while size and time (in whole seconds) of its source are those it was made from. An edit of
the same size within that second, or one that keeps the old time (``rsync -t``), goes unnoticed: the old code runs. What
gives it away is that the source was touched after the compiled form was written.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError

_HEADER = 16  # bytes: magic number, flags, time and size of the source


def outdated(source: Path) -> Path | None:
    """The compiled form that Python would take for `source` though it was made from other text; None where all is
    well.
    """
    compiled = Path(importlib.util.cache_from_source(str(source)))
    try:
        now, then = os.stat(source), os.stat(compiled)
        if now.st_ctime_ns < then.st_mtime_ns:
            return None
        data = compiled.read_bytes()
        number = importlib.util.MAGIC_NUMBER
        fields = (data[4:8], data[8:12], data[12:16])
        believed = data[:4] == number and fields == (
            b"\0\0\0\0",
            (int(now.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little"),
            (now.st_size & 0xFFFFFFFF).to_bytes(4, "little"),
        )
        if not believed:
            return None
        text = compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
        return None if marshal.loads(data[_HEADER:]) == text else compiled
    except (OSError, ValueError, SyntaxError, EOFError, TypeError):
        return None


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
