"""Small matrix products and sums of sparse rows in vector registers, in single and double precision.

Matrices stand in flat arrays and are given by where they begin and by their strides; their rows are padded to whole
vectors of WIDTH numbers. Products of the sizes of a network's hidden layers cost a library half of their time in calls
and packing; sparse rows are what a batch of images with much background is. As in ``simd.py`` the order of every sum is
fixed by hand: one running sum for each number, in the order of its terms, multiplied and added with one rounding.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as _types
from numba.extending import intrinsic

from .jit import helper

types: Any = _types
WIDTH = 8  # numbers of a vector, whatever registers the machine has
ROWS, COLUMNS = 5, 2  # rows of numbers and columns of vectors of a tile: its sums and operands fill 16 registers
GROUPS = (15, 10, 5, 2, 1)  # vectors of a sparse sum that stay in registers together


class _Lanes:
    """Vectors of WIDTH numbers of one type, in the compiler's language."""

    def __init__(self, builder: Any, number: Any) -> None:
        self.builder, self.number = builder, number
        self.vector = ir.VectorType(number, WIDTH)
        self.zero = ir.Constant(self.vector, [0.0] * WIDTH)
        self.align = 4 if isinstance(number, ir.FloatType) else 8
        self.name = f"llvm.fma.v{WIDTH}f{8 * self.align}"

    def load(self, data: Any, index: Any) -> Any:
        found = self.builder.load(self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer()))
        found.align = self.align
        return found

    def store(self, value: Any, data: Any, index: Any) -> None:
        at = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        self.builder.store(value, at).align = self.align

    def splat(self, scalar: Any) -> Any:
        nothing, place = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        one = self.builder.insert_element(nothing, scalar, ir.Constant(place, 0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(place, WIDTH), [0] * WIDTH))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, self.name), [a, b, c])

    def sums(self, count: int) -> list[Any]:
        return [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]


def _data(context: Any, builder: Any, signature: Any, args: Any, k: int) -> Any:
    return context.make_array(signature.args[k])(context, builder, args[k]).data


def _in_groups(builder: Any, total: Any, sizes: tuple[int, ...], body: Any) -> None:
    """``body(size, first)`` over 0 .. total - 1: as many of the largest size as fit, then of the next."""
    done = ir.Constant(total.type, 0)
    for size in sizes:
        width = ir.Constant(total.type, size)
        count = builder.sdiv(builder.sub(total, done), width)
        with cgutils.for_range(builder, count, intp=total.type) as loop:
            body(size, builder.add(done, builder.mul(loop.index, width)))
        done = builder.add(done, builder.mul(count, width))


def _flat(kind: Any) -> Any:
    return types.Array(kind.dtype, 1, "C")


@intrinsic
def _add_product(  # type: ignore[no-untyped-def]
    typingctx,
    scale,
    a,
    a_at,
    a_row,
    a_k,
    b,
    b_at,
    b_k,
    base,
    base_at,
    base_row,
    out,
    out_at,
    out_row,
    rows,
    vectors,
    depth,
):
    """See :func:`add_product`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        left, right, start, result = (_data(context, builder, signature, args, k) for k in (1, 5, 8, 11))
        factor, _, a0, ar, ak, _, b0, bk, _, s0, sr, _, o0, orow, n_rows, n_vectors, n_depth = args
        lanes, integer = _Lanes(builder, factor.type), a0.type
        add, mul = builder.add, builder.mul

        def tile(height: int, width: int, row: Any, column: Any) -> None:
            sums = lanes.sums(height * width)
            lane = mul(column, ir.Constant(integer, WIDTH))
            lefts = [add(a0, mul(add(row, ir.Constant(integer, r)), ar)) for r in range(height)]
            rights = [add(b0, add(lane, ir.Constant(integer, WIDTH * c))) for c in range(width)]
            for one in sums:
                builder.store(lanes.zero, one)
            with cgutils.for_range(builder, n_depth, intp=integer) as loop:
                down, along = mul(loop.index, bk), mul(loop.index, ak)
                others = [lanes.load(right, add(at, down)) for at in rights]
                for r, at in enumerate(lefts):
                    weight = lanes.splat(builder.load(builder.gep(left, [add(at, along)])))
                    for c, other in enumerate(others):
                        one = sums[r * width + c]
                        builder.store(lanes.fma(weight, other, builder.load(one)), one)
            times = lanes.splat(factor)
            for r in range(height):
                here = add(row, ir.Constant(integer, r))
                for c in range(width):
                    place = add(lane, ir.Constant(integer, WIDTH * c))
                    old = lanes.load(start, add(add(s0, mul(here, sr)), place))
                    new = lanes.fma(times, builder.load(sums[r * width + c]), old)
                    lanes.store(new, result, add(add(o0, mul(here, orow)), place))

        def strip(width: int, column: Any) -> None:
            _in_groups(builder, n_rows, (ROWS, 1), lambda height, row: tile(height, width, row, column))

        _in_groups(builder, n_vectors, (COLUMNS, 1), strip)
        return context.get_dummy_value()

    flat, n = _flat(a), types.intp
    arguments = (a.dtype, flat, n, n, n, flat, n, n, flat, n, n, flat, n, n, n, n, n)
    return types.none(*arguments), generate


@intrinsic
def _sum_of_rows(typingctx, values, places, first, last, table, table_at, out, out_at, vectors, row):  # type: ignore[no-untyped-def]
    """See :func:`sum_of_rows`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        factors, indices, rows, result = (_data(context, builder, signature, args, k) for k in (0, 1, 4, 6))
        _, _, begin, end, _, t0, _, o0, n_vectors, step = args
        lanes, integer = _Lanes(builder, context.get_value_type(signature.args[0].dtype)), begin.type

        def group(size: int, column: Any) -> None:
            sums, lane = lanes.sums(size), builder.mul(column, ir.Constant(integer, WIDTH))
            targets = [builder.add(builder.add(o0, lane), ir.Constant(integer, WIDTH * c)) for c in range(size)]
            for one, where in zip(sums, targets, strict=True):
                builder.store(lanes.load(result, where), one)
            with cgutils.for_range(builder, builder.sub(end, begin), intp=integer) as loop:
                j = builder.add(begin, loop.index)
                place = builder.sext(builder.load(builder.gep(indices, [j])), integer)
                weight = lanes.splat(builder.load(builder.gep(factors, [j])))
                at = builder.add(builder.add(t0, builder.mul(place, step)), lane)
                for c, one in enumerate(sums):
                    other = lanes.load(rows, builder.add(at, ir.Constant(integer, WIDTH * c)))
                    builder.store(lanes.fma(weight, other, builder.load(one)), one)
            for one, where in zip(sums, targets, strict=True):
                lanes.store(builder.load(one), result, where)

        _in_groups(builder, n_vectors, GROUPS, group)
        return context.get_dummy_value()

    flat, n = _flat(values), types.intp
    return types.none(flat, types.Array(types.int32, 1, "C"), n, n, flat, n, flat, n, n, n), generate


@intrinsic
def _add_to_rows(typingctx, values, places, first, last, source, source_at, table, table_at, vectors, row):  # type: ignore[no-untyped-def]
    """See :func:`add_to_rows`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        factors, indices, given, rows = (_data(context, builder, signature, args, k) for k in (0, 1, 4, 6))
        _, _, begin, end, _, s0, _, t0, n_vectors, step = args
        lanes, integer = _Lanes(builder, context.get_value_type(signature.args[0].dtype)), begin.type

        def group(size: int, column: Any) -> None:
            lane = builder.mul(column, ir.Constant(integer, WIDTH))
            start = builder.add(s0, lane)
            held = [lanes.load(given, builder.add(start, ir.Constant(integer, WIDTH * c))) for c in range(size)]
            with cgutils.for_range(builder, builder.sub(end, begin), intp=integer) as loop:
                j = builder.add(begin, loop.index)
                place = builder.sext(builder.load(builder.gep(indices, [j])), integer)
                weight = lanes.splat(builder.load(builder.gep(factors, [j])))
                at = builder.add(builder.add(t0, builder.mul(place, step)), lane)
                for c, one in enumerate(held):
                    where = builder.add(at, ir.Constant(integer, WIDTH * c))
                    lanes.store(lanes.fma(weight, one, lanes.load(rows, where)), rows, where)

        _in_groups(builder, n_vectors, GROUPS, group)
        return context.get_dummy_value()

    flat, n = _flat(values), types.intp
    return types.none(flat, types.Array(types.int32, 1, "C"), n, n, flat, n, flat, n, n, n), generate


@intrinsic
def _square_of_rows(typingctx, table, at, rows, row, vectors):  # type: ignore[no-untyped-def]
    """See :func:`square_of_rows`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = _data(context, builder, signature, args, 0)
        _, begin, n_rows, step, n_vectors = args
        lanes, integer = _Lanes(builder, context.get_value_type(signature.args[0].dtype)), begin.type
        wide = _Lanes(builder, ir.DoubleType())
        total, own = cgutils.alloca_once(builder, wide.vector), cgutils.alloca_once(builder, lanes.vector)
        builder.store(wide.zero, total)
        with cgutils.for_range(builder, n_rows, intp=integer) as outer:
            start = builder.add(begin, builder.mul(outer.index, step))
            builder.store(lanes.zero, own)
            with cgutils.for_range(builder, n_vectors, intp=integer) as inner:
                found = lanes.load(data, builder.add(start, builder.mul(inner.index, ir.Constant(integer, WIDTH))))
                builder.store(lanes.fma(found, found, builder.load(own)), own)
            more = builder.load(own)
            more = builder.fpext(more, wide.vector) if lanes.align == 4 else more
            builder.store(builder.fadd(builder.load(total), more), total)
        found, result = builder.load(total), ir.Constant(ir.DoubleType(), 0.0)
        for lane in range(WIDTH):
            result = builder.fadd(result, builder.extract_element(found, ir.Constant(ir.IntType(32), lane)))
        return result

    n = types.intp
    return types.float64(_flat(table), n, n, n, n), generate


@intrinsic
def _transpose_blocks(typingctx, source, at, row, out, out_at, out_row, down, across):  # type: ignore[no-untyped-def]
    """See :func:`transpose_blocks`."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        given, result = (_data(context, builder, signature, args, k) for k in (0, 3))
        _, s0, step, _, o0, out_step, n_down, n_across = args
        lanes, integer, place = (
            _Lanes(builder, context.get_value_type(signature.args[0].dtype)),
            s0.type,
            ir.IntType(32),
        )
        add, mul = builder.add, builder.mul

        def shuffled(x: Any, y: Any, lane: list[int]) -> Any:
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(place, WIDTH), lane))

        def offset(base: Any, index: Any, stride: Any, other: Any) -> Any:
            return add(add(base, mul(index, stride)), other)

        with (
            cgutils.for_range(builder, n_down, intp=integer) as outer,
            cgutils.for_range(builder, n_across, intp=integer) as inner,
        ):
            i, j = (mul(loop.index, ir.Constant(integer, WIDTH)) for loop in (outer, inner))
            block = [lanes.load(given, offset(s0, add(i, ir.Constant(integer, r)), step, j)) for r in range(WIDTH)]
            half = 1
            while half < WIDTH:  # swap the off-diagonal quarters of ever larger blocks
                for r in range(WIDTH):
                    if not r & half:
                        x, y = block[r], block[r + half]
                        kept = [c if not c & half else WIDTH + c - half for c in range(WIDTH)]
                        moved = [c + half if not c & half else WIDTH + c for c in range(WIDTH)]
                        block[r], block[r + half] = shuffled(x, y, kept), shuffled(x, y, moved)
                half *= 2
            for r in range(WIDTH):
                lanes.store(block[r], result, offset(o0, add(j, ir.Constant(integer, r)), out_step, i))
        return context.get_dummy_value()

    flat, n = _flat(source), types.intp
    return types.none(flat, n, n, flat, n, n, n, n), generate


@helper
def add_product(  # type: ignore[no-untyped-def]
    scale, a, a_at, a_row, a_k, b, b_at, b_k, base, base_at, base_row, out, out_at, out_row, rows, vectors, depth
):
    """out = base + scale * (a b), `rows` x `depth` times `depth` x `vectors` vectors.

    a[i, k] stands at a_at + i a_row + k a_k (so a may be a transpose), rows of b, base and out every b_k, base_row and
    out_row numbers. `base` may be `out`, or one row for all (base_row = 0).
    """
    _add_product(
        scale, a, a_at, a_row, a_k, b, b_at, b_k, base, base_at, base_row, out, out_at, out_row, rows, vectors, depth
    )


@helper
def sum_of_rows(values, places, first, last, table, table_at, out, out_at, vectors, row):  # type: ignore[no-untyped-def]
    """out += sum_j values[j] * (row places[j] of the table), j = first .. last - 1; rows of `vectors` vectors, every
    `row` numbers.
    """
    _sum_of_rows(values, places, first, last, table, table_at, out, out_at, vectors, row)


@helper
def add_to_rows(values, places, first, last, source, source_at, table, table_at, vectors, row):  # type: ignore[no-untyped-def]
    """Row places[j] of the table gains values[j] * source, j = first .. last - 1: the transpose of
    :func:`sum_of_rows`.
    """
    _add_to_rows(values, places, first, last, source, source_at, table, table_at, vectors, row)


@helper
def square_of_rows(table, at, rows, row, vectors):  # type: ignore[no-untyped-def]
    """Sum of the squares of `rows` rows of `vectors` vectors, every `row` numbers: of a row lane by lane in its own
    precision, of rows in double precision.
    """
    return _square_of_rows(table, at, rows, row, vectors)


@helper
def transpose_blocks(source, at, row, out, out_at, out_row, down, across):  # type: ignore[no-untyped-def]
    """out[j, i] = source[i, j], `down` x `across` blocks of WIDTH x WIDTH numbers; rows every `row`, `out_row`."""
    _transpose_blocks(source, at, row, out, out_at, out_row, down, across)
