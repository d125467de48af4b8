"""Steps of a network on rows that are mostly zeros: the first layer runs over what is not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.jit import chunks, helper, kernel, over_users
from ...kernels.philox import draw
from ...kernels.slices import copy, gain
from ...kernels.tiles import WIDTH, add_to_rows, square_of_rows, sum_of_rows
from ...losses.padded_layers import PADDED, UNITS, forward, output_losses
from ...problems.rows import RowOracle
from .network_step import ABOVE, label, network_step, seen_width, take_z
from .plan import BY_ROUNDING, HESSIAN, HESSIAN_FREE, INNER, OUTER, WITH_REPLACEMENT

TILE = 112  # features: their rows of the table stay in the first-level cache while all rows of a step pass


class SparseRows(NamedTuple):
    """Rows of the data without their zeros, each with a 1 after the features: values, features, and where the part of
    a row in a tile of features begins, tile after tile of row after row.
    """

    values: NDArray
    places: NDArray
    starts: NDArray
    tiles: int


@kernel
def count_parts(x, tiles, first, last, out):  # type: ignore[no-untyped-def]
    """out[r tiles + k + 1] = numbers of row r in tile k that are not 0, the 1 at the end included."""
    for r in range(first, last):
        for k in range(tiles):
            found = 1 if k == tiles - 1 else 0
            for j in range(k * TILE, min((k + 1) * TILE, x.shape[1])):
                if x[r, j] != 0:
                    found += 1
            out[r * tiles + k + 1] = found


@kernel
def fill_rows(x, scale, tiles, starts, first, last, values, places):  # type: ignore[no-untyped-def]
    """Values and features of rows first .. last - 1."""
    for r in range(first, last):
        at = starts[r * tiles]
        for j in range(x.shape[1]):
            if x[r, j] != 0:
                values[at], places[at] = scale * x[r, j], j
                at += 1
        values[at], places[at] = 1.0, x.shape[1]


def sparse_rows(oracle: RowOracle) -> SparseRows:
    """The oracle's rows without zeros, in its precision."""
    n, features = oracle.x.shape
    tiles = features // TILE + 1
    starts, pieces = np.zeros(n * tiles + 1, dtype=np.int64), chunks(n, float(oracle.x.size))
    over_users(lambda _, first, last: count_parts(oracle.x, tiles, first, last, starts), pieces)
    np.cumsum(starts, out=starts)
    values, places = np.empty(starts[-1], oracle.dtype), np.empty(starts[-1], np.int32)
    rows = (oracle.x, oracle.scale, tiles, starts)
    over_users(lambda _, first, last: fill_rows(*rows, first, last, values, places), pieces)
    return SparseRows(values, places, starts, tiles)


@helper
def add_rows_times(data, drawn, tile, table, row, vectors, out, at):  # type: ignore[no-untyped-def]
    """out += (the drawn rows in a tile of features) times the first `vectors` vectors of the table's rows; rows of both
    every `row` numbers.
    """
    for k in range(len(drawn)):
        part = drawn[k] * data.tiles + tile
        first, last = data.starts[part], data.starts[part + 1]
        if first < last:
            sum_of_rows(data.values, data.places, first, last, table, 0, out, (at + k) * row, vectors, row)


@helper
def add_rows(data, drawn, tile, move, at, width, table, row):  # type: ignore[no-untyped-def]
    """The table gains (the drawn rows in a tile of features)^T times rows of `move` from `at`."""
    for k in range(len(drawn)):
        part = drawn[k] * data.tiles + tile
        first, last = data.starts[part], data.starts[part + 1]
        if first < last:
            add_to_rows(data.values, data.places, first, last, move, (at + k) * width, table, 0, width // WIDTH, row)


@helper
def spread(data, drawn, table, row, at, clear):  # type: ignore[no-untyped-def]
    """The drawn rows as columns of the table from `at`; back to 0 where `clear`."""
    for k in range(len(drawn)):
        for j in range(data.starts[drawn[k] * data.tiles], data.starts[(drawn[k] + 1) * data.tiles]):
            table[data.places[j] * row + at + k] = 0.0 if clear else data.values[j]


@helper
def copy_rows(source, at, row, target, target_at, target_row, rows, width):  # type: ignore[no-untyped-def]
    """Rows of `width` numbers from one stride to another."""
    for r in range(rows):
        a, b = at + r * row, target_at + r * target_row
        copy(target[b : b + width], source[a : a + width])


@helper
def add_point(table, row, above, width, out, one):  # type: ignore[no-untyped-def]
    """out += the point: first layer without what stands beside it, then what is above."""
    wide = len(out) - len(above)
    for r in range(wide // width):
        gain(out[r * width : (r + 1) * width], one, table[r * row : r * row + width])
    gain(out[wide:], one, above)


@kernel
def sparse_steps(  # type: ignore[no-untyped-def]
    loss, layers, data, y, cumulative, offsets, users, start, plan, b, space, key, round_, first, last, total, final
):
    """As ``row_steps``; points are the first layer's weights, transposed, then those above (``padded_layers``)."""
    tau, trace = plan.local_steps, total.shape[0] > 1
    replace = plan.sampling == WITH_REPLACEMENT
    width, inputs, row = layers[PADDED, 1], layers[UNITS, 0] + 1, seen_width(layers, b)
    vectors, wide, one = width // WIDTH, inputs * width, start.dtype.type(1.0)
    by_rule = plan.variant == HESSIAN_FREE and plan.delta == BY_ROUNDING
    own = row // WIDTH if by_rule else vectors  # ||v|| takes the products of the rows of D' with each other
    table = np.zeros(inputs * row, start.dtype)  # a row for each feature: weights, and beside them the rows of D'
    largest = 0
    for s in range(first, last):
        largest = max(largest, offsets[users[s] + 1] - offsets[users[s]])
    order = np.arange(0 if replace else largest)
    drawn, coef = (
        np.empty(b.inner + b.outer + b.hessian, np.int64),
        np.empty(b.inner + b.outer + b.hessian, start.dtype),
    )
    d0, d1, d2 = drawn[: b.inner], drawn[b.inner : b.inner + b.outer], drawn[b.inner + b.outer :]
    c0, c1, c2 = coef[: b.inner], coef[b.inner : b.inner + b.outer], coef[b.inner + b.outer :]
    for s in range(first, last):
        i = users[s]
        lo, hi = offsets[i], offsets[i + 1]
        origin = start[i if start.shape[0] > 1 else 0]
        copy_rows(origin, 0, width, table, 0, row, inputs, width)
        space.points[ABOVE, :] = origin[wide:]
        for t in range(tau):
            if trace:
                add_point(table, row, space.points[ABOVE], width, total[t], one)
            draw(key, round_, i, 3 * t + OUTER, lo, hi, cumulative, b.outer, replace, order, d1, c1)
            label(loss, y, d1, c1, b.outer_at, 1.0, space.labels, space.shares)
            if b.inner:
                draw(key, round_, i, 3 * t + INNER, lo, hi, cumulative, b.inner, replace, order, d0, c0)
                label(loss, y, d0, c0, 0, 1.0, space.labels, space.shares)
            if b.hessian:
                draw(key, round_, i, 3 * t + HESSIAN, lo, hi, cumulative, b.hessian, replace, order, d2, c2)
                label(loss, y, d2, c2, b.hessian_at, 1.0, space.labels, space.shares)
                if plan.variant == HESSIAN_FREE:
                    label(loss, y, d2, c2, b.hessian_at + b.hessian, -1.0, space.labels, space.shares)
            if b.inner:
                spread(data, d1, table, row, width, False)
            space.seen[:] = 0.0
            for k in range(data.tiles):
                add_rows_times(data, d0, k, table, row, row // WIDTH, space.seen, 0)
                add_rows_times(data, d2, k, table, row, row // WIDTH, space.seen, b.inner)
                add_rows_times(data, d1, k, table, row, own, space.seen, b.inner + b.hessian)
            if b.inner:
                spread(data, d1, table, row, width, True)
            size = square_of_rows(table, 0, inputs, row, vectors) if by_rule else 0.0
            network_step(loss, layers, plan, b, space, size)
            for k in range(data.tiles):
                add_rows(data, d1, k, space.move, 0, width, table, row)
                add_rows(data, d2, k, space.move, b.outer, width, table, row)
        add_point(table, row, space.points[ABOVE], width, total[total.shape[0] - 1], one)
        if final.shape[0] > 0:
            copy_rows(table, 0, row, final[s], 0, width, inputs, width)
            final[s, wide:] = space.points[ABOVE]


@kernel
def sparse_values(  # type: ignore[no-untyped-def]
    loss, layers, data, y, weights, offsets, points, users, which, b, space, first, last, out
):
    """out[k] = f of user users[k] at points[which[k]], in blocks of `b.outer` rows."""
    width = layers[PADDED, 1]
    vectors, wide = width // WIDTH, (layers[UNITS, 0] + 1) * width
    for k in range(first, last):
        point, end, total = points[which[k]], offsets[users[k] + 1], 0.0
        for begin in range(offsets[users[k]], end, b.outer):
            drawn = np.arange(begin, min(begin + b.outer, end))
            n = len(drawn)
            label(loss, y, drawn, weights[begin : begin + n], b.outer_at, 1.0, space.labels, space.shares)
            space.seen[:] = 0.0
            for tile in range(data.tiles):
                add_rows_times(data, drawn, tile, point[:wide], width, vectors, space.seen, b.inner_at)
            take_z(layers, space, width, b.inner_at, b.outer_at, n)
            forward(loss, layers, space.rows, point[wide:], b.outer_at, n)
            total += output_losses(loss, layers, space.rows, space.labels, space.shares, b.outer_at, n)
        out[k] = total
