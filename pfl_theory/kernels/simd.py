"""Inner loops in vector instructions of four doubles, written in the compiler's own language.

Without permission to reassociate sums (which once gave other bits from the cache than freshly compiled) the compiler
leaves dot products in scalar registers, and keeps the result of a small matrix product in memory between rows. Here the
order of every sum is fixed by hand.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as _types
from numba.extending import intrinsic

from .jit import helper

types: Any = _types
WIDTH = 4
GROUP = 5
DOUBLE = ir.DoubleType()
VECTOR = ir.VectorType(DOUBLE, WIDTH)
ZERO = ir.Constant(VECTOR, [0.0] * WIDTH)
LANE0 = ir.Constant(ir.IntType(32), 0)


def _load(builder: Any, data: Any, index: Any) -> Any:
    """Eight doubles from data[index], of any alignment."""
    pointer = builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())
    loaded = builder.load(pointer)
    loaded.align = 8
    return loaded


def _store(builder: Any, value: Any, data: Any, index: Any) -> None:
    stored = builder.store(value, builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer()))
    stored.align = 8


def _splat(builder: Any, scalar: Any) -> Any:
    """The scalar in every lane."""
    nothing = ir.Constant(ir.VectorType(scalar.type, WIDTH), ir.Undefined)
    one = builder.insert_element(nothing, scalar, LANE0)
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c in every lane, rounded once."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{WIDTH}f64"
    )
    return builder.call(function, [a, b, c])


def _fold(builder: Any, vector: Any) -> Any:
    """Sum of the eight lanes: halves onto halves."""
    width = WIDTH
    while width > 1:
        width //= 2
        kind = ir.VectorType(ir.IntType(32), width)
        low = builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width))))
        high = builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width, 2 * width))))
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, LANE0)


def _data(context: Any, builder: Any, signature: Any, args: Any, k: int) -> Any:
    return context.make_array(signature.args[k])(context, builder, args[k]).data


@intrinsic
def _weighted_rows(typingctx, data, start, stride, count, coef, out, lanes):  # type: ignore[no-untyped-def]
    """See :func:`weighted_rows`; needs lanes >= WIDTH."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        rows, coefs, result = (_data(context, builder, signature, args, k) for k in (0, 4, 5))
        _, first, step, n, _, _, n_lanes = args
        integer = first.type

        def number(v: int) -> Any:
            return ir.Constant(integer, v)

        def group(size: int, base: Any) -> None:
            """`size` neighbouring blocks, from lane `base` on; even and odd rows have sums of their own."""
            sums = [[cgutils.alloca_once(builder, VECTOR) for _ in range(2)] for _ in range(size)]

            def add(k: Any, parity: int) -> None:
                weight = _splat(builder, builder.load(builder.gep(coefs, [k])))
                at = builder.add(builder.add(first, builder.mul(k, step)), base)
                for c in range(size):
                    row = _load(builder, rows, builder.add(at, number(WIDTH * c)))
                    builder.store(_fma(builder, weight, row, builder.load(sums[c][parity])), sums[c][parity])

            for pair in sums:
                for one in pair:
                    builder.store(ZERO, one)
            with cgutils.for_range(builder, builder.sdiv(n, number(2)), intp=integer) as loop:
                even = builder.mul(loop.index, number(2))
                add(even, 0)
                add(builder.add(even, number(1)), 1)
            with builder.if_then(builder.trunc(builder.and_(n, number(1)), ir.IntType(1))):
                add(builder.sub(n, number(1)), 0)
            for c in range(size):
                total = builder.fadd(builder.load(sums[c][0]), builder.load(sums[c][1]))
                _store(builder, total, result, builder.add(base, number(WIDTH * c)))

        blocks = builder.sdiv(n_lanes, number(WIDTH))
        groups = builder.sdiv(blocks, number(GROUP))
        with cgutils.for_range(builder, groups, intp=integer) as loop:
            group(GROUP, builder.mul(loop.index, number(GROUP * WIDTH)))
        done = builder.mul(groups, number(GROUP))
        left = builder.sub(blocks, done)
        for size in range(1, GROUP):
            with builder.if_then(builder.icmp_signed("==", left, number(size))):
                group(size, builder.mul(done, number(WIDTH)))
        with builder.if_then(builder.icmp_signed("!=", builder.mul(blocks, number(WIDTH)), n_lanes)):
            group(
                1, builder.sub(n_lanes, number(WIDTH))
            )  # the last lanes, overlapping: the same sums are written again
        return context.get_dummy_value()

    flat = types.Array(types.float64, 1, "C")
    return types.none(flat, types.intp, types.intp, types.intp, flat, flat, types.intp), generate


@helper
def weighted_rows(data, start, stride, count, coef, out, lanes):  # type: ignore[no-untyped-def]
    """out[:lanes] = sum_k coef[k] * data[start + k stride : ... + lanes], k < count; all arrays flat float64."""
    if lanes >= WIDTH:
        _weighted_rows(data, start, stride, count, coef, out, lanes)
    else:
        for j in range(lanes):
            total = 0.0
            for k in range(count):
                total += coef[k] * data[start + k * stride + j]
            out[j] = total


@intrinsic
def four_dots(typingctx, data, start, stride, w, lanes):  # type: ignore[no-untyped-def]
    """The products of four rows data[start + r stride :] with w, `lanes` >= WIDTH numbers each; all arrays flat
    float64.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        rows, point = (_data(context, builder, signature, args, k) for k in (0, 3))
        _, first, step, _, n_lanes = args
        integer = first.type

        def number(v: int) -> Any:
            return ir.Constant(integer, v)

        sums = [cgutils.alloca_once(builder, VECTOR) for _ in range(4)]

        def add(at: Any, other: Any) -> None:
            for r in range(4):
                index = builder.add(builder.add(first, builder.mul(step, number(r))), at)
                builder.store(_fma(builder, _load(builder, rows, index), other, builder.load(sums[r])), sums[r])

        for one in sums:
            builder.store(ZERO, one)
        blocks = builder.sdiv(n_lanes, number(WIDTH))
        with cgutils.for_range(builder, blocks, intp=integer) as loop:
            at = builder.mul(loop.index, number(WIDTH))
            add(at, _load(builder, point, at))
        seen = builder.mul(blocks, number(WIDTH))
        with builder.if_then(builder.icmp_signed("!=", seen, n_lanes)):
            # the last lanes, overlapping: what was seen already counts zero
            at = builder.sub(n_lanes, number(WIDTH))
            lane = ir.Constant(ir.VectorType(integer, WIDTH), list(range(WIDTH)))
            old = _splat(builder, builder.sub(seen, at))
            add(at, builder.select(builder.icmp_signed(">=", lane, old), _load(builder, point, at), ZERO))
        values = [_fold(builder, builder.load(one)) for one in sums]
        return context.make_tuple(builder, signature.return_type, values)

    flat = types.Array(types.float64, 1, "C")
    return types.UniTuple(types.float64, 4)(flat, types.intp, types.intp, flat, types.intp), generate


@intrinsic
def fetch_ahead(typingctx, data, first, last):  # type: ignore[no-untyped-def]
    """Ask for the cache lines of data[first:last], to be used soon; reads nothing, and an address beyond the array does
    no harm.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        base = _data(context, builder, signature, args, 0)
        _, begin, end = args
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        )
        line = ir.Constant(begin.type, 8)  # 64 bytes
        count = builder.sdiv(builder.add(builder.sub(end, begin), ir.Constant(begin.type, 7)), line)
        with cgutils.for_range(builder, count, intp=begin.type) as loop:
            pointer = builder.bitcast(builder.gep(base, [builder.add(begin, builder.mul(loop.index, line))]), byte)
            builder.call(function, [pointer, word(0), word(3), word(1)])  # to read, keep close, data
        return context.get_dummy_value()

    return types.none(types.Array(types.float64, 1, "C"), types.intp, types.intp), generate
