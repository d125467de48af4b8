"""Losses of users at models of others: f_i(w) for pairs of a user and a point, those pairs alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..kernels.jit import chunks, driver_for, over_users
from ..losses.padded_layers import layers_of
from ..losses.softmax import BLOCK
from ..problems.problem import Problem
from ..problems.rows import RowOracle, value_users
from .local_steps.network import on_sparse_rows, padded_points, rows_without_zeros
from .local_steps.network_sparse import sparse_values
from .local_steps.network_step import Batches, workspace

Piece = Callable[[int, int], None]


def losses_of_pairs(problem: Problem, points: NDArray, users: NDArray, which: NDArray) -> NDArray:
    """f of user users[k] at points[which[k]], k = 0, 1, ...

    Parameters
    ----------
    points : ndarray, shape (m, d)
        In the problem's precision.
    users, which : ndarray of int, shape (k,)
        Pairs of a user and a point, those of a user one after the other.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> losses_of_pairs(problem, np.array([[1.0], [2.0]]), np.array([0, 0, 1]), np.array([0, 1, 1])).tolist()
    [0.5, 2.0, 0.0]
    """
    oracle = problem.oracle
    if not isinstance(oracle, RowOracle):
        return _by_slots(problem, points, users, which)
    found = np.empty(len(users))
    call = _on_sparse_rows if on_sparse_rows(oracle) else _on_rows
    run = call(oracle, points, users, which, found)
    over_users(lambda _, *piece: run(*piece), chunks(len(users), oracle.work / oracle.n_users * len(users)))
    return found


def _on_rows(oracle: RowOracle, points: NDArray, users: NDArray, which: NDArray, found: NDArray) -> Piece:
    """The kernel of all users, called for one at a time: nothing more is compiled."""
    driver = driver_for(value_users, oracle.parameters)
    data = (oracle.parameters, oracle.x, oracle.y, oracle.scale, oracle.weights, oracle.fed.offsets)

    def run(first: int, last: int) -> None:
        of_users = np.empty(oracle.n_users)
        for k in range(first, last):
            driver(*data, points[which[k]][None], users[k], users[k] + 1, of_users)
            found[k] = of_users[users[k]]

    return run


def _on_sparse_rows(oracle: RowOracle, points: NDArray, users: NDArray, which: NDArray, found: NDArray) -> Piece:
    """A network on rows that are mostly zeros, as its local steps run."""
    b = Batches(0, BLOCK, 0, 0, 0, 0, BLOCK)
    layers = layers_of(oracle.parameters.sizes, b.rows)
    held = padded_points(oracle, layers, points)[1]
    data = (oracle.parameters, layers, rows_without_zeros(oracle), oracle.y, oracle.weights, oracle.fed.offsets)

    def run(first: int, last: int) -> None:
        sparse_values(*data, held, users, which, b, workspace(layers, b, oracle.dtype), first, last, found)

    return run


def _by_slots(problem: Problem, points: NDArray, users: NDArray, which: NDArray) -> NDArray:
    """Functions take one point a user: a call for the first pairs of all users, one for their second pairs, ..."""
    found, slots = np.empty(len(users)), np.arange(len(users)) - np.searchsorted(users, users)
    for slot in range(slots.max(initial=-1) + 1):
        now = slots == slot
        w = np.repeat(points[which[:1]], problem.n_users, 0)
        w[users[now]] = points[which[now]]
        found[now] = problem.value(w)[users[now]]
    return found
