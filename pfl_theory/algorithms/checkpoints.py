"""A run under way, kept in a file: a killed run goes on from there with the same bits."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from ..problems.problem import Problem
from ..sweeps.files import atomic_write, canonical_json
from .algorithm import State

SECONDS = 30.0  # between two writes, at most twice this with the rounds in between


class Progress(NamedTuple):
    """Where a run stands: the next round, its state, and what was recorded so far."""

    round_: int
    state: State
    at: list[int]
    records: dict[str, list[Any]]


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file; it is there while the run is under way.
    identity : dict
        What makes the run the run it is, as plain data: a file of another run is refused.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self.path = Path(path)
        self._identity = hashlib.sha256(canonical_json(identity).encode()).hexdigest()
        self._written = time.monotonic()

    def load(self, kind: type[State]) -> Progress | None:
        """What an earlier process left, or None.

        Raises
        ------
        InputError
            The file belongs to another run, or is no checkpoint.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                notes = json.loads(str(data["notes"]))
                require(
                    notes["identity"] == self._identity,
                    f"{self.path}: the checkpoint of another run (algorithm, data, seed or start differ); "
                    "give another path, or delete it",
                )
                fields = {name: _restored(data, f"state.{name}", how) for name, how in notes["state"].items()}
                lists = {name: list(data[f"record.{name}"]) for name in notes["records"]}
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.path}: not a checkpoint ({type(error).__name__}); delete it") from error
        return Progress(int(notes["round"]), kind(**fields), [int(k) for k in notes["at"]], lists)

    def due(self) -> bool:
        """Whether enough time has passed since the last write."""
        return time.monotonic() - self._written >= SECONDS

    def write(self, progress: Progress) -> None:
        """Keep where the run stands; the file appears whole."""
        state = {f.name: getattr(progress.state, f.name) for f in dataclasses.fields(progress.state)}
        kinds = {name: _kind(name, value) for name, value in state.items()}
        arrays = {f"state.{name}": np.asarray(value) for name, value in state.items() if value is not None}
        arrays |= {f"record.{name}": np.array(values) for name, values in progress.records.items()}
        notes = {
            "identity": self._identity,
            "round": progress.round_,
            "state": kinds,
            "records": list(progress.records),
            "at": progress.at,
        }
        buffer = io.BytesIO()
        np.savez(buffer, **{**arrays, "notes": np.array(json.dumps(notes))})  # type: ignore[arg-type]
        with atomic_write(self.path, "wb") as stream:
            stream.write(buffer.getvalue())
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run has ended: nothing is left to go on with."""
        self.path.unlink(missing_ok=True)


def _kind(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        return "array"
    require(
        isinstance(value, (bool, int, float)),
        f"checkpoint: state field {name!r} is {type(value).__name__}; it must be an array, a number or None",
    )
    return "number"


def _restored(data: Any, name: str, how: str) -> Any:
    if how == "none":
        return None
    return data[name].item() if how == "number" else data[name]


def fingerprint(problem: Problem, w: NDArray) -> str:
    """Names a problem by its content: the rows and the loss, or what its functions give at `w`."""
    digest = hashlib.sha256(f"{problem.kind} {problem.n_users} {problem.dim} {problem.oracle.dtype}".encode())
    if problem.kind == "rows":
        fed = problem.federation
        loss = problem.loss
        digest.update(repr([type(loss).__qualname__, *(np.asarray(v).tolist() for v in vars(loss).values())]).encode())
        for part in (fed.x, fed.y, fed.weights, fed.offsets, np.asarray(fed.scale)):
            if part is not None:
                digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    else:
        digest.update(problem.value(w).tobytes() + problem.gradient(w).tobytes())
    return digest.hexdigest()
