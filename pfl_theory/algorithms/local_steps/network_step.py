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
from ...kernels.tiles import WIDTH, add_product, square_of_rows
from ...losses.padded_layers import (
    PADDED,
    STRIDE,
    TRANSPOSE,
    WEIGHTS,
    Rows,
    add_gradient,
    add_scaled,
    backward,
    backward_along,
    copy,
    forward,
    forward_along,
    gain,
    output_errors,
    output_errors_along,
    place,
    rows_for,
    scaled,
    transpose,
)
from .difference import step_by_rounding
from .plan import EXACT, FIRST_ORDER, HESSIAN_FREE, PLAIN


class Batches(NamedTuple):
    """Sizes of D, D', D'' as they are used, and where the rows of D' and D'' begin."""

    inner: int
    outer: int
    hessian: int
    outer_at: int
    hessian_at: int


class Workspace(NamedTuple):
    """What a step reads and writes; nothing is allocated in a step."""

    rows: Rows
    labels: NDArray
    shares: NDArray  # factor / size of the batch, with its sign
    seen: NDArray  # a row for each of D, D'', D' (in this order): z_1 at w, then its products with the rows of D'
    move: NDArray  # what the rows of D', then those of D'', are multiplied by
    above: NDArray  # weights above the first layer
    other: NDArray  # those of another point
    along: NDArray  # v above the first layer
    transposes: NDArray
    transposes_along: NDArray


@helper
def batches_of(plan):  # type: ignore[no-untyped-def]
    """The batches that the variant of `plan` asks for."""
    inner = plan.batch_inner if plan.variant != PLAIN else 0
    hessian = plan.batch_hessian if plan.variant == EXACT or plan.variant == HESSIAN_FREE else 0
    twice = 2 if plan.variant == HESSIAN_FREE else 1
    return Batches(inner, plan.batch_outer, hessian, inner + twice * hessian, inner)


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
        source, target = (seen + r) * row, place(layers, space.rows, 1, first + r)
        copy(space.rows.h[target : target + width], space.seen[source : source + width])


@helper
def workspace(layers, plan, like):  # type: ignore[no-untyped-def]
    """Everything for the steps of one thread."""
    b = batches_of(plan)
    last, capacity = layers.shape[1] - 2, b.outer_at + b.outer
    weights, turned = layers[WEIGHTS, last + 1], layers[TRANSPOSE, last + 1]
    seen = np.zeros((b.inner + b.hessian + b.outer) * seen_width(layers, b), like.dtype)
    move = np.zeros((b.outer + b.hessian) * layers[PADDED, 1], like.dtype)
    above, other, along = np.zeros(weights, like.dtype), np.zeros(weights, like.dtype), np.zeros(weights, like.dtype)
    back, back_along = np.zeros(turned, like.dtype), np.zeros(turned, like.dtype)
    labels, shares, rows = np.zeros(capacity, np.int64), np.zeros(capacity, like.dtype), rows_for(layers, capacity, like)
    return Workspace(rows, labels, shares, seen, move, above, other, along, back, back_along)


@helper
def label(loss, y, drawn, coef, first, sign, labels, shares):  # type: ignore[no-untyped-def]
    """Labels and shares of the drawn rows."""
    for k in range(len(drawn)):
        labels[first + k], shares[first + k] = y[drawn[k]], sign * loss.factor * coef[k]


@helper
def gradient_at(loss, layers, space, w, first, n, one):  # type: ignore[no-untyped-def]
    """Errors of n rows at the weights `w` above the first layer, from their z_1; transposes of w are left behind."""
    forward(loss, layers, space.rows, w, first, n)
    output_errors(loss, layers, space.rows, space.labels, space.shares, first, n)
    transpose(layers, w, space.transposes)
    backward(layers, space.rows, space.transposes, first, n, space.rows.error)


@helper
def square_of_direction(layers, space, b, row):  # type: ignore[no-untyped-def]
    """||v||^2 = sum over rows j, k of D' of <x_j, x_k> <e'_j, e'_k>, and what is above."""
    start, stride, units = place(layers, space.rows, 1, b.outer_at), layers[STRIDE, 1], layers[PADDED, 1]
    error, at = space.rows.error, (b.inner + b.hessian) * row + units
    total, zero = 0.0, space.rows.zero
    spare = space.rows.along_h  # rows of D' have no derivative along v: their places are free
    add_product(
        zero[0] + 1, space.seen, at, row, 1, error, start, stride, zero, 0, 0, spare, start, stride, b.outer,
        units // WIDTH, b.outer,
    )  # fmt: skip
    for j in range(b.outer):
        for c in range(start + j * stride, start + j * stride + units):
            total += np.float64(spare[c]) * np.float64(error[c])
    return total + square_of_rows(space.along, 0, len(space.along) // WIDTH, WIDTH, 1)


@helper
def move_rows(layers, space, errors, first, n, scale, target):  # type: ignore[no-untyped-def]
    """Rows `target` .. of what moves the first layer: scale * errors."""
    width, stride = layers[PADDED, 1], layers[STRIDE, 1]
    for r in range(n):
        start, end = place(layers, space.rows, 1, first + r), (target + r) * width
        scaled(space.move[end : end + width], scale, errors[start : start + width])


@helper
def network_step(loss, layers, plan, b, space, square_first):  # type: ignore[no-untyped-def]
    """From what `space.seen` holds to the weights above after the step, and `space.move`.

    `square_first` is ||W_1||^2 with its biases, read where the plan leaves delta to the rule.
    """
    rows, width, stride = space.rows, layers[PADDED, 1], layers[STRIDE, 1]
    vectors, row = width // WIDTH, seen_width(layers, b)
    zero = rows.zero[0]
    one, alpha, beta = zero + 1, zero + plan.alpha, zero + plan.beta
    outer = place(layers, rows, 1, b.outer_at)
    point = space.above
    if plan.variant != PLAIN:
        at_w = b.inner + (b.hessian if plan.variant == EXACT else 0)
        take_z(layers, space, row, 0, 0, at_w)
        forward(loss, layers, rows, space.above, 0, at_w)
        output_errors(loss, layers, rows, space.labels, space.shares, 0, b.inner)
        transpose(layers, space.above, space.transposes)
        backward(layers, rows, space.transposes, 0, b.inner, rows.error)
        add_gradient(layers, rows, rows.h, rows.error, 0, b.inner, -alpha, space.above, space.other)
        add_product(
            -alpha, space.seen, width, 1, row, rows.error, 0, stride, space.seen, (b.inner + b.hessian) * row, row,
            rows.h, outer, stride, b.outer, vectors, b.inner,
        )  # fmt: skip
        point = space.other
        if plan.variant == EXACT:  # errors of D'' at w come back through the transposes that the next line replaces
            copy(space.transposes_along, space.transposes)
    else:
        take_z(layers, space, row, 0, b.outer_at, b.outer)
    gradient_at(loss, layers, space, point, b.outer_at, b.outer, one)
    move_rows(layers, space, rows.error, b.outer_at, b.outer, -beta, 0)
    if plan.variant == PLAIN or plan.variant == FIRST_ORDER:
        add_gradient(layers, rows, rows.h, rows.error, b.outer_at, b.outer, -beta, space.above, space.above)
        return
    # v above the first layer, and the derivative of z_1 along v for D''
    space.along[:] = 0.0
    add_gradient(layers, rows, rows.h, rows.error, b.outer_at, b.outer, one, space.along, space.along)
    start = place(layers, rows, 1, b.hessian_at)
    add_product(
        one, space.seen, b.inner * row + width, row, 1, rows.error, outer, stride, rows.zero, 0, 0, rows.along_z, start,
        stride, b.hessian, vectors, b.outer,
    )  # fmt: skip
    if plan.variant == EXACT:
        copy(space.transposes, space.transposes_along)
        transpose(layers, space.along, space.transposes_along)
        exact_product(loss, layers, space, b)
        add_gradient(layers, rows, rows.h, rows.along_error, b.hessian_at, b.hessian, -alpha, space.along, space.along)
        add_gradient(layers, rows, rows.along_h, rows.error, b.hessian_at, b.hessian, -alpha, space.along, space.along)
        move_rows(layers, space, rows.along_error, b.hessian_at, b.hessian, alpha * beta, b.outer)
    else:
        delta = plan.delta
        if delta == 0.0:
            size = square_first + square_of_rows(space.above, 0, len(space.above) // WIDTH, WIDTH, 1)
            delta = step_by_rounding(size, square_of_direction(layers, space, b, row), rows.h)
        step = zero + delta
        half = zero + plan.alpha / (2.0 * delta)
        both_points(loss, layers, space, b, row, step, one)
        n = b.hessian
        add_gradient(layers, rows, rows.h, rows.error, b.hessian_at, 2 * n, -half, space.along, space.along)
        behind = n * stride
        add_scaled(
            rows.along_error[start : start + behind], rows.error[start : start + behind], one,
            rows.error[start + behind : start + 2 * behind],
        )  # fmt: skip
        move_rows(layers, space, rows.along_error, b.hessian_at, n, half * beta, b.outer)
    gain(space.above, -beta, space.along)


@helper
def exact_product(loss, layers, space, b):  # type: ignore[no-untyped-def]
    """Errors of D'' at w and their derivatives along v."""
    rows, first, n = space.rows, b.hessian_at, b.hessian
    forward_along(layers, rows, space.above, space.along, first, n)
    output_errors_along(loss, layers, rows, space.labels, space.shares, first, n)
    backward(layers, rows, space.transposes, first, n, rows.error)
    backward_along(loss, layers, rows, space.transposes, space.transposes_along, first, n)


@helper
def both_points(loss, layers, space, b, row, step, one):  # type: ignore[no-untyped-def]
    """Errors of D'' at w + step v and, with the other sign, at w - step v."""
    rows, n, first = space.rows, b.hessian, b.hessian_at
    start, behind = place(layers, rows, 1, first), n * layers[STRIDE, 1]
    take_z(layers, space, row, b.inner, first, n)
    z, moved = rows.h[start : start + behind], rows.along_z[start : start + behind]
    add_scaled(rows.h[start + behind : start + 2 * behind], z, -step, moved)
    gain(z, step, moved)
    for side in range(2):
        add_scaled(space.other, space.above, step if side == 0 else -step, space.along)
        gradient_at(loss, layers, space, space.other, first + side * n, n, one)
