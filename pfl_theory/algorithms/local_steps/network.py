"""Network route: batches of a network with hidden layers, the first layer through products of rows with each other.

Rows that are mostly zeros run over what is not (``network_sparse.py``), others on kept Gram matrices
(``network_dense.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.philox import stream_key
from ...losses.mlp import MLPParameters
from ...losses.padded_layers import PADDED, UNITS, WEIGHTS, layers_of
from ...memory import remembered
from ...problems.rows import RowOracle
from .averaging import by_chunks
from .network_dense import dense_steps, grams, keeps_gram
from .network_sparse import sparse_rows, sparse_steps
from .network_step import batches_of, workspace
from .plan import EXACT, HESSIAN_FREE, PLAIN, LocalPlan, check_batches

PRIORITY = 20
DENSE = 0.5  # share of numbers that are not 0 from which on rows are multiplied whole


def fits(oracle: object, plan: LocalPlan) -> bool:
    """A network with a hidden layer, work counted in steps, every expectation that a step takes by a batch, and data
    that are mostly zeros, or so wide that the users' Gram matrices are small beside them.
    """
    if not (isinstance(oracle, RowOracle) and isinstance(oracle.parameters, MLPParameters)):
        return False
    sizes = [plan.batch_outer]
    if plan.variant != PLAIN:
        sizes.append(plan.batch_inner)
    if plan.variant in (EXACT, HESSIAN_FREE):
        sizes.append(plan.batch_hessian)
    return (
        plan.epochs == 0
        and min(sizes) > 0
        and len(oracle.parameters.sizes) > 2
        and (sparse(oracle) or keeps_gram(oracle))
    )


def sparse(oracle: RowOracle) -> bool:
    """Whether most numbers of the data are 0."""
    return remembered(oracle, "sparse", lambda: bool(np.count_nonzero(oracle.x) < DENSE * oracle.x.size))


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
    layers = layers_of(oracle.parameters.sizes, b.rows)
    places = remembered(oracle, "places of weights", lambda: places_of(layers))
    width = int((layers[UNITS, 0] + 1) * layers[PADDED, 1] + layers[WEIGHTS, -1])
    points = np.zeros((len(start), width), oracle.dtype)
    points[:, places] = start
    about = (oracle.y, oracle.cumulative, oracle.fed.offsets, users, points, plan, b)
    streams = (stream_key(seed, "batches"), round_)
    driver: Any
    call: tuple[Any, ...]
    if sparse(oracle):
        rows = remembered(oracle, "sparse rows", lambda: sparse_rows(oracle))
        driver, call = sparse_steps, (oracle.parameters, layers, rows, *about)
    else:
        kept = remembered(oracle, "grams", lambda: grams(oracle))
        driver, call = dense_steps, (oracle.parameters, layers, oracle.x, oracle.scale, *kept, *about)

    def run(*piece: Any) -> None:
        driver(*call, workspace(layers, b, oracle.dtype), *streams, *piece)

    path, final = by_chunks(oracle, users, plan, trace, keep, run, 7.0 * plan.local_steps, width)
    return path[:, places], final[:, places]
