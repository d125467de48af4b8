"""A place for what a long cell wants to find again after a kill: checkpoints, never results."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from .cells import Task
from .files import canonical_json

_SCRATCH: contextvars.ContextVar[Path | None] = contextvars.ContextVar("scratch", default=None)


def scratch(name: str) -> Path | None:
    """Path of a file of this name that belongs to the running cell; None where no sweep runs.

    What stands there is found again when a killed cell starts once more on sources that nobody touched, and is gone
    once its result is stored. It is no part of the cell's key: a result must not depend on whether the file was there.

    Parameters
    ----------
    name : str
        Name of the file.

    Examples
    --------
    A cell that trains for half an hour hands it to a run, which then goes on where it was killed::

        pfl.run(algorithm, problem, rounds=1000, checkpoint=sweeps.scratch("run.npz"))

    >>> scratch("run.npz") is None
    True
    """
    folder = _SCRATCH.get()
    return None if folder is None else folder / name


@contextlib.contextmanager
def scratch_of(task: Task, store: Path, stamps: Mapping[str, tuple[int, ...]]) -> Iterator[Path]:
    """Make :func:`scratch` give paths for `task` while the block runs. `stamps` name the sources that write there:
    after an edit that is put back they are others, for what was written in between may be the edit's.
    """
    version = hashlib.sha256(canonical_json(dict(stamps)).encode()).hexdigest()[:16]
    folder = store / ".scratch" / f"{task.key}-{version}"
    for old in folder.parent.glob(f"{task.key}-*"):  # of sources that are no more
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    token = _SCRATCH.set(folder)
    try:
        yield folder
    finally:
        _SCRATCH.reset(token)
