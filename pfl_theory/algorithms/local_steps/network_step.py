"""One local step of a network whose first layer is seen through its rows alone.

The wide first layer moves in the span of rows, so a step never forms its points. With X, X', X'' the rows of D, D', D''
and a 1 after the features of each (biases are the weights of that 1), z the sums of the first layer and e the errors
there:

    at w~, rows of D':                z - alpha (X' X^T) e                  (e: errors at w of D)
    along v, rows of D'':             (X'' X'^T) e'                         (e': errors at w~ of D'; v_1 = e'^T X')
    the first layer's weights move by the rows of D' and D'', each times what stands in `move`.

So a step needs z of its rows at w, and products of rows with each other: two small matrices. Where they come from is
the driver's: sparse rows (``network_sparse.py``) or kept Gram matrices (``network_dense.py``). What is above the first
layer runs on padded rows (``losses/padded_layers.py``).

Scratch rows: D from 0; D'' behind it (twice for the Hessian-free difference, ahead and behind, the latter with negative
shares, so that sums over both are differences); then D'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import helper
from ...kernels.slices import add_scaled, copy, gain, scaled
from ...kernels.tiles import WIDTH, add_product, square_of_rows
from ...losses.padded_layers import (
    ALONG_ERROR,
    ALONG_H,
    ALONG_Z,
    ERROR,
    PADDED,
    STRIDE,
    TRANSPOSE,
    WEIGHTS,
    ZERO,
    H,
    add_gradient,
    backward,
    backward_along,
    forward,
    forward_along,
    output_errors,
    output_errors_along,
    place,
    scratch_for,
    transpose,
)
from .difference import step_by_rounding
from .plan import BY_ROUNDING, EXACT, FIRST_ORDER, HESSIAN_FREE, PLAIN, LocalPlan


class Batches(NamedTuple):
    """Sizes of D, D', D'' as they are used, where their rows begin, and all scratch rows.

    Those of D begin at 0; written as a literal, it would let every function be compiled a second time.
    """

    inner: int
    outer: int
    hessian: int
    inner_at: int
    outer_at: int
    hessian_at: int
    rows: int


ABOVE, OTHER, ALONG = range(3)  # points above the first layer: w, another one, v
AT_POINT, AT_ALONG = range(2)  # transposes of them


class Workspace(NamedTuple):
    """What a step reads and writes; nothing is allocated in a step."""

    rows: NDArray
    points: NDArray
    turned: NDArray
    labels: NDArray
    shares: NDArray  # factor / size of the batch, with its sign
    seen: NDArray  # a row for each of D, D'', D' (in this order): z_1 at w, then its products with the rows of D'
    move: NDArray  # what the rows of D', then those of D'', are multiplied by


def batches_of(plan: LocalPlan) -> Batches:
    """The batches that the variant of `plan` asks for."""
    inner = plan.batch_inner if plan.variant != PLAIN else 0
    hessian = plan.batch_hessian if plan.variant in (EXACT, HESSIAN_FREE) else 0
    behind = inner + (2 if plan.variant == HESSIAN_FREE else 1) * hessian
    return Batches(inner, plan.batch_outer, hessian, 0, behind, inner, behind + plan.batch_outer)


def workspace(layers: NDArray, b: Batches, dtype: np.dtype) -> Workspace:
    """Everything for the steps of one thread."""
    seen = (b.inner + b.hessian + b.outer) * seen_width(layers, b)
    return Workspace(
        scratch_for(layers, b.rows, dtype),
        np.zeros((3, layers[WEIGHTS, -1]), dtype),
        np.zeros((2, layers[TRANSPOSE, -1]), dtype),
        np.zeros(b.rows, np.int64),
        np.zeros(b.rows, dtype),
        np.zeros(seen, dtype),
        np.zeros((b.outer + b.hessian) * layers[PADDED, 1], dtype),
    )


@helper
def seen_width(layers, b):  # type: ignore[no-untyped-def]
    """Numbers of a row of `seen`."""
    lanes = (b.outer + WIDTH - 1) // WIDTH * WIDTH if b.inner else 0
    return layers[PADDED, 1] + lanes


@helper
def take_z(layers, space, row, seen, first, n):  # type: ignore[no-untyped-def]
    """z_1 of n rows of `seen` to the scratch rows from `first`."""
    width = layers[PADDED, 1]
    for r in range(n):
        source, target = (seen + r) * row, place(layers, 1, first + r)
        copy(space.rows[H][target : target + width], space.seen[source : source + width])


@helper
def label(loss, y, drawn, coef, first, sign, labels, shares):  # type: ignore[no-untyped-def]
    """Labels and shares of the drawn rows."""
    for k in range(len(drawn)):
        labels[first + k], shares[first + k] = y[drawn[k]], sign * loss.factor * coef[k]


@helper
def gradient_at(loss, layers, space, w, first, n):  # type: ignore[no-untyped-def]
    """Errors of n rows at the weights `w` above the first layer, from their z_1; transposes of w are left behind."""
    forward(loss, layers, space.rows, w, first, n)
    output_errors(loss, layers, space.rows, space.labels, space.shares, first, n)
    transpose(layers, w, space.turned[AT_POINT])
    backward(layers, space.rows, space.turned[AT_POINT], first, n, space.rows[ERROR])


@helper
def square_of_direction(layers, space, b, row):  # type: ignore[no-untyped-def]
    """||v||^2 = sum over rows j, k of D' of <x_j, x_k> <e'_j, e'_k>, and what is above."""
    start, stride, units = place(layers, 1, b.outer_at), layers[STRIDE, 1], layers[PADDED, 1]
    error, at = space.rows[ERROR], (b.inner + b.hessian) * row + units
    total, zero = 0.0, space.rows[ZERO]
    spare = space.rows[ALONG_H]  # rows of D' have no derivative along v: their places are free
    add_product(
        error.dtype.type(1.0), space.seen, at, row, 1, error, start, stride, zero, 0, 0, spare, start, stride, b.outer,
        units // WIDTH, b.outer,
    )  # fmt: skip
    for j in range(b.outer):
        for c in range(start + j * stride, start + j * stride + units):
            total += np.float64(spare[c]) * np.float64(error[c])
    return total + square_of_rows(space.points[ALONG], 0, len(space.points[ALONG]) // WIDTH, WIDTH, 1)


@helper
def move_rows(layers, space, errors, first, n, scale, target):  # type: ignore[no-untyped-def]
    """Rows `target` .. of what moves the first layer: scale * errors."""
    width = layers[PADDED, 1]
    for r in range(n):
        start, end = place(layers, 1, first + r), (target + r) * width
        scaled(space.move[end : end + width], scale, errors[start : start + width])


@helper
def outer_gradient(loss, layers, space, b, point, beta):  # type: ignore[no-untyped-def]
    """Errors of D at `point`, and what its rows move the first layer by."""
    gradient_at(loss, layers, space, point, b.outer_at, b.outer)
    move_rows(layers, space, space.rows[ERROR], b.outer_at, b.outer, -beta, b.inner_at)


@helper
def plain_step(loss, layers, plan, b, space):  # type: ignore[no-untyped-def]
    """:func:`network_step` of the plain variant, for drivers that need no other: compiled alone."""
    rows, point, beta = space.rows, space.points[ABOVE], space.rows.dtype.type(plan.beta)
    take_z(layers, space, seen_width(layers, b), b.inner_at, b.outer_at, b.outer)
    outer_gradient(loss, layers, space, b, point, beta)
    add_gradient(layers, rows, rows[H], rows[ERROR], b.outer_at, b.outer, -beta, point, point)


@helper
def network_step(loss, layers, plan, b, space, square_first):  # type: ignore[no-untyped-def]
    """From what `space.seen` holds to the weights above after the step, and `space.move`.

    `square_first` is ||W_1||^2 with its biases, read where the plan leaves delta to the rule.
    """
    if plan.variant == PLAIN:
        plain_step(loss, layers, plan, b, space)
        return
    rows, width, stride = space.rows, layers[PADDED, 1], layers[STRIDE, 1]
    vectors, row = width // WIDTH, seen_width(layers, b)
    number = rows.dtype.type
    one, alpha, beta = number(1.0), number(plan.alpha), number(plan.beta)
    outer = place(layers, 1, b.outer_at)
    at_w = b.inner + (b.hessian if plan.variant == EXACT else 0)
    take_z(layers, space, row, b.inner_at, b.inner_at, at_w)
    forward(loss, layers, rows, space.points[ABOVE], b.inner_at, at_w)
    output_errors(loss, layers, rows, space.labels, space.shares, b.inner_at, b.inner)
    transpose(layers, space.points[ABOVE], space.turned[AT_POINT])
    backward(layers, rows, space.turned[AT_POINT], b.inner_at, b.inner, rows[ERROR])
    add_gradient(
        layers, rows, rows[H], rows[ERROR], b.inner_at, b.inner, -alpha, space.points[ABOVE], space.points[OTHER]
    )
    add_product(
        -alpha, space.seen, width, 1, row, rows[ERROR], 0, stride, space.seen, (b.inner + b.hessian) * row, row,
        rows[H], outer, stride, b.outer, vectors, b.inner,
    )  # fmt: skip
    if plan.variant == EXACT:  # errors of D'' at w come back through the transposes that the next line replaces
        copy(space.turned[AT_ALONG], space.turned[AT_POINT])
    outer_gradient(loss, layers, space, b, space.points[OTHER], beta)
    if plan.variant == FIRST_ORDER:
        add_gradient(
            layers, rows, rows[H], rows[ERROR], b.outer_at, b.outer, -beta, space.points[ABOVE], space.points[ABOVE]
        )
        return
    # v above the first layer, and the derivative of z_1 along v for D''
    space.points[ALONG, :] = 0.0
    add_gradient(layers, rows, rows[H], rows[ERROR], b.outer_at, b.outer, one, space.points[ALONG], space.points[ALONG])
    start = place(layers, 1, b.hessian_at)
    add_product(
        one, space.seen, b.inner * row + width, row, 1, rows[ERROR], outer, stride, rows[ZERO], 0, 0, rows[ALONG_Z],
        start, stride, b.hessian, vectors, b.outer,
    )  # fmt: skip
    if plan.variant == EXACT:
        copy(space.turned[AT_POINT], space.turned[AT_ALONG])
        transpose(layers, space.points[ALONG], space.turned[AT_ALONG])
        exact_product(loss, layers, space, b)
        add_gradient(
            layers,
            rows,
            rows[H],
            rows[ALONG_ERROR],
            b.hessian_at,
            b.hessian,
            -alpha,
            space.points[ALONG],
            space.points[ALONG],
        )
        add_gradient(
            layers,
            rows,
            rows[ALONG_H],
            rows[ERROR],
            b.hessian_at,
            b.hessian,
            -alpha,
            space.points[ALONG],
            space.points[ALONG],
        )
        move_rows(layers, space, rows[ALONG_ERROR], b.hessian_at, b.hessian, alpha * beta, b.outer)
    else:
        delta = plan.delta
        if delta == BY_ROUNDING:
            size = square_first + square_of_rows(space.points[ABOVE], 0, len(space.points[ABOVE]) // WIDTH, WIDTH, 1)
            delta = step_by_rounding(size, square_of_direction(layers, space, b, row), rows[H])
        step = number(delta)
        half = number(plan.alpha / (2.0 * delta))
        both_points(loss, layers, space, b, row, step)
        n = b.hessian
        add_gradient(
            layers, rows, rows[H], rows[ERROR], b.hessian_at, 2 * n, -half, space.points[ALONG], space.points[ALONG]
        )
        behind = n * stride
        add_scaled(
            rows[ALONG_ERROR][start : start + behind], rows[ERROR][start : start + behind], one,
            rows[ERROR][start + behind : start + 2 * behind],
        )  # fmt: skip
        move_rows(layers, space, rows[ALONG_ERROR], b.hessian_at, n, half * beta, b.outer)
    gain(space.points[ABOVE], -beta, space.points[ALONG])


@helper
def exact_product(loss, layers, space, b):  # type: ignore[no-untyped-def]
    """Errors of D'' at w and their derivatives along v."""
    rows, first, n = space.rows, b.hessian_at, b.hessian
    forward_along(layers, rows, space.points[ABOVE], space.points[ALONG], first, n)
    output_errors_along(loss, layers, rows, space.labels, space.shares, first, n)
    backward(layers, rows, space.turned[AT_POINT], first, n, rows[ERROR])
    backward_along(loss, layers, rows, space.turned[AT_POINT], space.turned[AT_ALONG], first, n)


@helper
def both_points(loss, layers, space, b, row, step):  # type: ignore[no-untyped-def]
    """Errors of D'' at w + step v and, with the other sign, at w - step v."""
    rows, n, first = space.rows, b.hessian, b.hessian_at
    start, behind = place(layers, 1, first), n * layers[STRIDE, 1]
    take_z(layers, space, row, b.inner, first, n)
    z, moved = rows[H][start : start + behind], rows[ALONG_Z][start : start + behind]
    add_scaled(rows[H][start + behind : start + 2 * behind], z, -step, moved)
    gain(z, step, moved)
    for side in range(2):
        add_scaled(space.points[OTHER], space.points[ABOVE], step if side == 0 else -step, space.points[ALONG])
        gradient_at(loss, layers, space, space.points[OTHER], first + side * n, n)
