"""Server optimisers: what a server does with the users' mean difference of a round, mean(theta_i - w).

Plain SGD of step 1 is federated averaging; the difference stands in the place of a gradient with its sign turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import one_of, require
from .algorithm import State

OPTIMISERS = ("sgd", "momentum", "adam")


@dataclass(frozen=True)
class ServerState(State):
    """The common model and what a server optimiser remembers: running means of differences and of their squares."""

    first: NDArray | None = None
    second: NDArray | None = None
    steps: int = 0


class Server(NamedTuple):
    """A server optimiser by name, and its numbers.

    Examples
    --------
    >>> import numpy as np
    >>> start = ServerState(np.array([1.0]), np.zeros((0, 1)), np.zeros(1), np.zeros(1))
    >>> [float(stepped(Server(name, 0.5), start, np.array([2.0])).w[0]) for name in ("sgd", "momentum")]
    [2.0, 2.0]
    """

    optimiser: str = "sgd"
    step: float = 1.0
    momentum: float = 0.9
    second_momentum: float = 0.999
    floor: float = 1e-8


def checked_server(algorithm: str, server: Server) -> None:
    """One line for a server optimiser that is none."""
    one_of(f"{algorithm}: server", server.optimiser, OPTIMISERS)
    good = bool(np.isfinite(server.step) and server.step > 0)
    require(good, f"{algorithm}: server_step = {server.step}; must be a finite number > 0 (1 is averaging)")
    for name, value in (("momentum", server.momentum), ("second_momentum", server.second_momentum)):
        good = bool(np.isfinite(value) and 0 <= value < 1)
        require(good, f"{algorithm}: {name} = {value}; must lie in [0, 1)")
    good = bool(np.isfinite(server.floor) and server.floor > 0)
    require(good, f"{algorithm}: floor = {server.floor}; must be a finite number > 0")


def first_state(w0: NDArray) -> ServerState:
    """Nothing remembered yet."""
    return ServerState(w0, None, np.zeros_like(w0), np.zeros_like(w0), 0)


def mean_difference(ends: NDArray, w: NDArray) -> NDArray:
    """mean(theta_i - w): users count alike, added one after the other (a library's sum has an order of its own)."""
    total = np.zeros_like(w)
    for end in ends:
        total = total + (end - w)
    return np.asarray(total / len(ends))


def stepped(server: Server, state: ServerState, difference: NDArray) -> ServerState:
    """One step along the mean difference.

    ``momentum``: v = mu v + difference, w + step v (heavy ball). ``adam``: with means of differences and of their
    squares, both corrected for their start at 0.
    """
    assert state.first is not None
    assert state.second is not None
    steps = state.steps + 1
    if server.optimiser == "sgd":
        return ServerState(state.w + server.step * difference, None, state.first, state.second, steps)
    if server.optimiser == "momentum":
        first = server.momentum * state.first + difference
        return ServerState(state.w + server.step * first, None, first, state.second, steps)
    first = server.momentum * state.first + (1 - server.momentum) * difference
    second = server.second_momentum * state.second + (1 - server.second_momentum) * difference**2
    mean, square = first / (1 - server.momentum**steps), second / (1 - server.second_momentum**steps)
    return ServerState(state.w + server.step * mean / (np.sqrt(square) + server.floor), None, first, second, steps)
