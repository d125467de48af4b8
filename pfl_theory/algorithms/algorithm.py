"""What an algorithm is: a frozen record of hyperparameters with pure `init` and `round`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..discovery import name_of
from ..errors import require
from ..problems.problem import Problem


@dataclass(frozen=True)
class State:
    """What a round passes to the next: the common model, and where an algorithm keeps them, one model a user.

    An algorithm that keeps more (a server optimiser's moments, who helped whom) derives from it; fields are arrays,
    numbers or None, so that a checkpoint can hold them.
    """

    w: NDArray
    w_users: NDArray | None = None


class Round(NamedTuple):
    """What a round gives back.

    Attributes
    ----------
    state : State
    path : ndarray, shape (tau + 1, d) or (1, d)
        wbar_{k+1, t} where the averages at every local step were asked for, else only the last one.
    diagnostics : mapping of str to array
        What the algorithm tells of the round (weights between users, say); a run keeps it where it records.
    """

    state: State
    path: NDArray
    diagnostics: Mapping[str, Any] = {}


class Algorithm(ABC):
    """Frozen dataclasses derive from this. `round` is pure: it returns a new state and changes nothing."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name in figures and tables."""

    def prepare(self, problem: Problem) -> Any:
        """What `init` and `round` get for the problem: the problem itself, or what the algorithm makes of it once (the
        users pooled, a validation split a user). Also the place to refuse what does not fit.
        """
        return problem

    def init(self, problem: Any, w0: NDArray) -> State:
        """First state, from what `prepare` returned."""
        return State(w0)

    @abstractmethod
    def round(self, problem: Any, state: Any, *, seed: int, round_: int, trace: bool = False) -> Round:
        """One communication round on what `prepare` returned; `trace` asks for the averages at every local step."""


def participants(participation: float | int, n_users: int) -> int:
    """Number r n of users a round.

    Parameters
    ----------
    participation : float or int
        A share r in (0, 1] (a float) or a number of users (an int).

    Examples
    --------
    >>> participants(0.2, 50), participants(3, 50), participants(1.0, 50)
    (10, 3, 50)
    """
    if isinstance(participation, (bool, np.bool_)) or not isinstance(
        participation, (int, float, np.integer, np.floating)
    ):
        require(False, f"participation = {participation!r}; give a share in (0, 1] (float) or a number of users (int)")
    if isinstance(participation, (int, np.integer)):
        require(
            1 <= participation <= n_users, f"participation = {participation} users of {n_users}; must be 1 to {n_users}"
        )
        return int(participation)
    require(
        0 < participation <= 1,
        f"participation = {participation}; a share must lie in (0, 1]; for a number of users give an int",
    )
    users = participation * n_users
    require(
        users >= 1 - 1e-9,
        f"participation = {participation} of {n_users} users is {users:g} users; r n must be at least 1: use "
        f"{1 / n_users:g} or more",
    )
    require(
        abs(users - round(users)) <= 1e-9 * n_users,
        f"participation = {participation} of {n_users} users is {users:g} users; r n must be an integer: use "
        f"{max(1, round(users))}/{n_users}",
    )
    return round(users)


def checked_steps(algorithm: str, *, beta: float, local_steps: int, alpha: float = 0.0, **batches: int | None) -> None:
    """Common hyperparameters: alpha >= 0, beta > 0, tau >= 1, batch sizes >= 1 or None."""
    require(
        bool(np.isfinite(alpha) and alpha >= 0),
        f"{algorithm}: alpha = {alpha}; must be a finite number >= 0 (0 is FedAvg)",
    )
    require(bool(np.isfinite(beta) and beta > 0), f"{algorithm}: beta = {beta}; must be a finite number > 0")
    whole = isinstance(local_steps, (int, np.integer)) and not isinstance(local_steps, bool)
    require(whole and local_steps >= 1, f"{algorithm}: local_steps = {local_steps!r}; tau must be an integer >= 1")
    for name, size in batches.items():
        good = size is None or (isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 1)
        require(good, f"{algorithm}: {name} = {size!r}; must be an integer >= 1, or None for the exact expectation")


def checked_epochs(algorithm: str, epochs: int | None, local_steps: int, batch: int | None) -> None:
    """Work in epochs: an integer >= 1, with a batch size and without a number of steps beside it."""
    if epochs is None:
        return
    whole = isinstance(epochs, (int, np.integer)) and not isinstance(epochs, bool) and epochs >= 1
    require(whole, f"{algorithm}: local_epochs = {epochs!r}; must be an integer >= 1, or None to count local_steps")
    require(batch is not None, f"{algorithm}: local_epochs = {epochs} needs batch=, the size that rows are cut into")
    require(local_steps == 1, f"{algorithm}: local_steps = {local_steps} beside local_epochs = {epochs}; give only one")


def as_dict(algorithm: Any) -> dict[str, Any]:
    """Hyperparameters as plain data, for tables."""
    from dataclasses import asdict

    return {"algorithm": name_of(type(algorithm)), **asdict(algorithm)}
