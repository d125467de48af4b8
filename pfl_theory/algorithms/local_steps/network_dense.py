"""Steps of a network on rows without zeros, by kept Gram matrices: a round multiplies each row that it draws with the
first layer once, before its steps, and moves the first layer once, after them.

Within a user's steps the first layer is W + C^T X, X the distinct rows that its batches draw. What the steps need of it
is Z = X W^T + G C, and Z follows each step through rows of the Gram matrix G = X X^T alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import chunks, helper, kernel, over_users
from ...kernels.philox import draw
from ...kernels.slices import copy, gain
from ...kernels.tiles import WIDTH, add_product, square_of_rows
from ...losses.padded_layers import PADDED, UNITS
from ...problems.rows import RowOracle
from .network_step import ABOVE, label, network_step, seen_width
from .plan import BY_ROUNDING, HESSIAN, HESSIAN_FREE, INNER, OUTER, WITH_REPLACEMENT


@helper
def rows_and_one(x, scale, rows, out):  # type: ignore[no-untyped-def]
    """out = the rows as floats, each with a 1 after the features."""
    features = x.shape[1]
    for k in range(len(rows)):
        source, target = x[rows[k]], out[k]
        for j in range(features):
            target[j] = scale * source[j]
        target[features] = 1.0


@kernel
def gram_of_users(x, scale, offsets, starts, first, last, out):  # type: ignore[no-untyped-def]
    """Gram matrices of the users' rows with a 1 after the features; user i's begins at starts[i]."""
    for i in range(first, last):
        m = offsets[i + 1] - offsets[i]
        rows = np.empty((m, x.shape[1] + 1), out.dtype)
        rows_and_one(x, scale, np.arange(offsets[i], offsets[i + 1]), rows)
        np.dot(rows, rows.T, out[starts[i] : starts[i + 1]].reshape(m, m))


def grams(oracle: RowOracle) -> tuple[NDArray, NDArray]:
    """Gram matrices of all users, one after the other, and where each begins."""
    starts = np.concatenate([[0], np.cumsum(oracle.fed.sizes.astype(np.int64) ** 2)])
    flat = np.empty(starts[-1], oracle.dtype)
    data: tuple[Any, ...] = (oracle.x, oracle.scale, oracle.fed.offsets, starts)
    pieces = chunks(oracle.n_users, float(starts[-1]) * oracle.fed.n_features)
    driver: Any = gram_of_users
    over_users(lambda _, first, last: driver(*data, first, last, flat), pieces)
    return flat, starts


@helper
def numbered(drawn, lo, size):  # type: ignore[no-untyped-def]
    """The distinct rows among the drawn ones, and the number among them that each drawn one has."""
    number, found, distinct = np.full(size, -1), 0, np.empty(min(size, len(drawn)), np.int64)
    numbers = np.empty(len(drawn), np.int64)
    for k in range(len(drawn)):
        j = drawn[k] - lo
        if number[j] < 0:
            number[j] = found
            distinct[found] = drawn[k]
            found += 1
        numbers[k] = number[j]
    return distinct[:found], numbers


@helper
def look_up(z, gram, order, columns, width, row, seen):  # type: ignore[no-untyped-def]
    """Rows of `seen`: z of the numbered rows, and (where there is room) their products with the rows `columns`."""
    for k in range(len(order)):
        copy(seen[k * row : k * row + width], z[order[k]])
        if row > width:
            for c in range(len(columns)):
                seen[k * row + width + c] = gram[order[k], columns[c]]


@helper
def product_of_moves(move, z, order, width):  # type: ignore[no-untyped-def]
    """sum_k <row k of move, row order[k] of z>, in double precision."""
    total = 0.0
    for k in range(len(order)):
        for c in range(width):
            total += np.float64(move[k * width + c]) * np.float64(z[order[k], c])
    return total


@helper
def move_z(z, gram, order, move, width, spare, one):  # type: ignore[no-untyped-def]
    """Z gains G[:, order] move."""
    q, n = gram.shape[0], len(order)
    for k in range(n):
        copy(spare[k * q : (k + 1) * q], gram[order[k]])
    flat = z.reshape(z.size)
    add_product(one, spare, 0, 1, q, move, 0, width, flat, 0, width, flat, 0, width, q, width // WIDTH, n)


@helper
def add_moved(origin, x, factors, above, scratch, out, one):  # type: ignore[no-untyped-def]
    """out += the point: first layer as it began and what its rows have moved it, then what is above."""
    np.dot(x.T, factors, scratch)
    wide = scratch.size
    gain(out[:wide], one, origin[:wide])
    gain(out[:wide], one, scratch.reshape(wide))
    gain(out[wide:], one, above)


@kernel
def dense_steps(  # type: ignore[no-untyped-def]
    loss, layers, x, scale, grams, gram_starts, y, cumulative, offsets, users, start, plan, b, space, key, round_,
    first, last, total, final,
):  # fmt: skip
    """As ``row_steps``; points are the first layer's weights, transposed, then those above (``padded_layers``)."""
    tau, trace, replace = plan.local_steps, total.shape[0] > 1, plan.sampling == WITH_REPLACEMENT
    width, inputs, row = layers[PADDED, 1], layers[UNITS, 0] + 1, seen_width(layers, b)
    wide, by_rule = inputs * width, plan.variant == HESSIAN_FREE and plan.delta == BY_ROUNDING
    largest = 0
    for s in range(first, last):
        largest = max(largest, offsets[users[s] + 1] - offsets[users[s]])
    order, batch = np.arange(0 if replace else largest), b.inner + b.outer + b.hessian
    drawn, coef, end = (
        np.empty(tau * batch, np.int64),
        np.empty(batch, start.dtype),
        np.empty(start.shape[1], start.dtype),
    )
    c0, c1, c2 = coef[: b.inner], coef[b.inner : b.inner + b.outer], coef[b.inner + b.outer :]
    scratch, one = np.empty((inputs, width), start.dtype), start.dtype.type(1.0)
    for s in range(first, last):
        i = users[s]
        lo, hi = offsets[i], offsets[i + 1]
        m = hi - lo
        for t in range(tau):
            d = drawn[t * batch : (t + 1) * batch]
            draw(key, round_, i, 3 * t + OUTER, lo, hi, cumulative, b.outer, replace, order, d[: b.outer], c1)
            if b.inner:
                d0 = d[b.outer : b.outer + b.inner]
                draw(key, round_, i, 3 * t + INNER, lo, hi, cumulative, b.inner, replace, order, d0, c0)
            if b.hessian:
                d2 = d[b.outer + b.inner :]
                draw(key, round_, i, 3 * t + HESSIAN, lo, hi, cumulative, b.hessian, replace, order, d2, c2)
        distinct, numbers = numbered(drawn, lo, m)
        q = len(distinct)
        known = np.empty((q, inputs), start.dtype)
        rows_and_one(x, scale, distinct, known)
        origin = start[i if start.shape[0] > 1 else 0]
        copy(space.points[ABOVE], origin[wide:])
        z, factors = np.dot(known, origin[:wide].reshape(inputs, width)), np.zeros((q, width), start.dtype)
        whole, gram = grams[gram_starts[i] : gram_starts[i + 1]].reshape(m, m), np.empty((q, q), start.dtype)
        for j in range(q):
            source, target = whole[distinct[j] - lo], gram[j]
            for k in range(q):
                target[k] = source[distinct[k] - lo]
        spare = np.empty((b.outer + b.hessian) * q, start.dtype)
        size = square_of_rows(origin, 0, inputs, width, width // WIDTH) if by_rule else 0.0
        for t in range(tau):
            if trace:
                add_moved(origin, known, factors, space.points[ABOVE], scratch, total[t], one)
            d, n = drawn[t * batch : (t + 1) * batch], numbers[t * batch : (t + 1) * batch]
            label(loss, y, d[: b.outer], c1, b.outer_at, 1.0, space.labels, space.shares)
            label(loss, y, d[b.outer : b.outer + b.inner], c0, 0, 1.0, space.labels, space.shares)
            label(loss, y, d[b.outer + b.inner :], c2, b.hessian_at, 1.0, space.labels, space.shares)
            if plan.variant == HESSIAN_FREE:
                behind = b.hessian_at + b.hessian
                label(loss, y, d[b.outer + b.inner :], c2, behind, -1.0, space.labels, space.shares)
            n0, n1, n2 = n[b.outer : b.outer + b.inner], n[: b.outer], n[b.outer + b.inner :]
            look_up(z, gram, n0, n1, width, row, space.seen)
            look_up(z, gram, n2, n1, width, row, space.seen[b.inner * row :])
            look_up(z, gram, n1, n1 if by_rule else n1[:0], width, row, space.seen[(b.inner + b.hessian) * row :])
            network_step(loss, layers, plan, b, space, size)
            moving = np.concatenate((n1, n2))
            for k in range(len(moving)):
                gain(factors[moving[k]], one, space.move[k * width : (k + 1) * width])
            if t + 1 < tau:
                size += product_of_moves(space.move, z, moving, width) if by_rule else 0.0
                move_z(z, gram, moving, space.move, width, spare, one)
                size += product_of_moves(space.move, z, moving, width) if by_rule else 0.0
        end[:] = 0.0
        add_moved(origin, known, factors, space.points[ABOVE], scratch, end, one)
        gain(total[total.shape[0] - 1], one, end)
        if final.shape[0] > 0:
            copy(final[s], end)
