"""Network route: batches of a network with hidden layers, the first layer through products of rows with each other.

Rows that are mostly zeros run over what is not (``network_sparse.py``), others on kept Gram matrices
(``network_dense.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ...kernels.philox import stream_key
from ...losses.mlp import MLPParameters
from ...losses.padded_layers import PADDED, UNITS, WEIGHTS, layers_of
from ...memory import remembered
from ...problems.rows import RowOracle
from .averaging import by_chunks
from .network_dense import dense_steps, grams
from .network_sparse import SparseRows, sparse_rows, sparse_steps
from .network_step import Batches, Workspace, batches_of, workspace
from .plan import EXACT, HESSIAN_FREE, PLAIN, LocalPlan, check_batches

PRIORITY = 20
DENSE = 0.5  # share of numbers that are not 0 from which on rows are multiplied whole


def fits(oracle: object, plan: LocalPlan) -> bool:
    """A network with a hidden layer, work counted in steps, every expectation that a step takes by a batch, and data
    that are mostly zeros, or so wide that the users' Gram matrices are small beside them.
    """
    if not has_hidden_layers(oracle):
        return False
    sizes = [plan.batch_outer]
    if plan.variant != PLAIN:
        sizes.append(plan.batch_inner)
    if plan.variant in (EXACT, HESSIAN_FREE):
        sizes.append(plan.batch_hessian)
    return plan.epochs == 0 and min(sizes) > 0 and (sparse(oracle) or oracle.small_grams)


def has_hidden_layers(oracle: object) -> TypeGuard[RowOracle]:
    """Whether it is a network with a hidden layer, on rows."""
    return (
        isinstance(oracle, RowOracle)
        and isinstance(oracle.parameters, MLPParameters)
        and len(oracle.parameters.sizes) > 2
    )


def on_sparse_rows(oracle: object) -> TypeGuard[RowOracle]:
    """Whether it is such a network on rows that are mostly zeros."""
    return has_hidden_layers(oracle) and sparse(oracle)


def sparse(oracle: RowOracle) -> bool:
    """Whether most numbers of the data are 0."""
    return remembered(oracle, "sparse", lambda: bool(np.count_nonzero(oracle.x) < DENSE * oracle.x.size))


def rows_without_zeros(oracle: RowOracle) -> SparseRows:
    """The oracle's sparse rows, made once."""
    return remembered(oracle, "sparse rows", lambda: sparse_rows(oracle))


def places_of(layers: NDArray) -> NDArray:
    """Where each number of w stands in a point of the kernels.

    Examples
    --------
    >>> places_of(layers_of(np.array([2, 1, 1]), 1)).tolist()
    [0, 8, 16, 24, 32]
    """
    found, last = [], layers.shape[1] - 2
    above = (layers[UNITS, 0] + 1) * layers[PADDED, 1]
    for k in range(1, last + 1):
        start = above + layers[WEIGHTS, k] if k > 1 else 0
        inputs, units = layers[UNITS, k - 1], layers[UNITS, k]
        grid = start + np.arange(inputs + 1) * layers[PADDED, k] + np.arange(units)[:, None]
        found += [grid[:, :inputs].ravel(), grid[:, inputs]]
    return np.concatenate(found)


def padded_points(oracle: RowOracle, layers: NDArray, w: NDArray) -> tuple[NDArray, NDArray]:
    """Where each number of w stands in a point of the kernels, and the points `w` (m, d) as the kernels hold them."""
    places = remembered(oracle, "places of weights", lambda: places_of(layers))
    points = np.zeros((len(w), (layers[UNITS, 0] + 1) * layers[PADDED, 1] + layers[WEIGHTS, -1]), oracle.dtype)
    points[:, places] = w
    return places, points


def on_padded_points(
    oracle: RowOracle,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    b: Batches,
    run: Callable[..., None],
    passes: float,
    *,
    trace: bool,
    keep: bool,
) -> tuple[NDArray, NDArray]:
    """As :func:`by_chunks`, with `run(layers, points, space, *piece)` on points as the kernels hold them."""
    layers = layers_of(oracle.parameters.sizes, b.rows)
    places, points = padded_points(oracle, layers, start)

    def one(*piece: Any) -> None:
        run(layers, points, workspace(layers, b, oracle.dtype), *piece)

    path, final = by_chunks(oracle, users, plan, trace, keep, one, passes, points.shape[1])
    return path[:, places], final[:, places]


def steps(
    oracle: RowOracle,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    *,
    seed: int,
    round_: int,
    trace: bool,
    keep: bool,
) -> tuple[NDArray, NDArray]:
    """Local steps of `users`: see :func:`~pfl_theory.algorithms.local_steps.local_steps`."""
    check_batches(oracle, plan)
    b = batches_of(plan)
    about = (oracle.y, oracle.cumulative, oracle.fed.offsets, users)
    streams = (stream_key(seed, "batches"), round_)
    driver: Any
    data: tuple[Any, ...]
    if sparse(oracle):
        driver, data = sparse_steps, (rows_without_zeros(oracle),)
    else:
        driver, data = dense_steps, (oracle.x, oracle.scale, *remembered(oracle, "grams", lambda: grams(oracle)))

    def run(layers: NDArray, points: NDArray, space: Workspace, *piece: Any) -> None:
        driver(oracle.parameters, layers, *data, *about, points, plan, b, space, *streams, *piece)

    return on_padded_points(oracle, users, start, plan, b, run, 7.0 * plan.local_steps, trace=trace, keep=keep)
