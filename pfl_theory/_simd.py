"""Two inner loops in vector instructions of eight doubles, written in the compiler's own language.

Without permission to reassociate sums (which once gave other bits from the cache than freshly compiled) the compiler leaves dot products in scalar
registers, and keeps the result of a small matrix product in memory between rows. Here the order of every sum is fixed by hand. A processor
without 512-bit registers runs the same additions in the same order with shorter ones.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as _types
from numba.extending import intrinsic

types: Any = _types
WIDTH = 8
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
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, LANE0)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c in every lane, rounded once."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{WIDTH}f64")
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
def weighted_rows(typingctx, data, start, stride, count, coef, out, blocks):  # type: ignore[no-untyped-def]
    """out[:8 blocks] = sum_k coef[k] * data[start + k stride : ... + 8 blocks], k < count; all arrays flat float64, reading whole blocks.

    Even and odd k have sums of their own. Blocks are taken three at a time, then one at a time.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        rows, coefs, result = (_data(context, builder, signature, args, k) for k in (0, 4, 5))
        _, first, step, n, _, _, n_blocks = args
        integer = first.type
        number = lambda v: ir.Constant(integer, v)  # noqa: E731

        def group(size: int, base: Any) -> None:
            """`size` neighbouring blocks, from lane `base` on."""
            sums = [[cgutils.alloca_once_value(builder, ZERO) for _ in range(2)] for _ in range(size)]

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

        triples = builder.sdiv(n_blocks, number(3))
        with cgutils.for_range(builder, triples, intp=integer) as loop:
            group(3, builder.mul(loop.index, number(3 * WIDTH)))
        done = builder.mul(triples, number(3))
        with cgutils.for_range(builder, builder.sub(n_blocks, done), intp=integer) as loop:
            group(1, builder.mul(builder.add(done, loop.index), number(WIDTH)))
        return context.get_dummy_value()

    flat = types.Array(types.float64, 1, "C")
    return types.none(flat, types.intp, types.intp, types.intp, flat, flat, types.intp), generate


@intrinsic
def four_dots(typingctx, data, start, stride, w, blocks):  # type: ignore[no-untyped-def]
    """The products of four rows data[start + r stride :] with w over the first 8 `blocks` entries; all arrays flat float64."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        rows, point = (_data(context, builder, signature, args, k) for k in (0, 3))
        _, first, step, _, n_blocks = args
        integer = first.type
        sums = [cgutils.alloca_once_value(builder, ZERO) for _ in range(4)]
        for one in sums:
            builder.store(ZERO, one)
        with cgutils.for_range(builder, n_blocks, intp=integer) as loop:
            at = builder.mul(loop.index, ir.Constant(integer, WIDTH))
            other = _load(builder, point, at)
            for r in range(4):
                index = builder.add(builder.add(first, builder.mul(step, ir.Constant(integer, r))), at)
                builder.store(_fma(builder, _load(builder, rows, index), other, builder.load(sums[r])), sums[r])
        values = [_fold(builder, builder.load(one)) for one in sums]
        return context.make_tuple(builder, signature.return_type, values)

    flat = types.Array(types.float64, 1, "C")
    return types.UniTuple(types.float64, 4)(flat, types.intp, types.intp, flat, types.intp), generate


@intrinsic
def fetch_ahead(typingctx, data, first, last):  # type: ignore[no-untyped-def]
    """Ask for the cache lines of data[first:last], to be used soon; reads nothing, and an address beyond the array does no harm."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        base = _data(context, builder, signature, args, 0)
        _, begin, end = args
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, word, word, word]))
        line = ir.Constant(begin.type, 8)  # 64 bytes
        count = builder.sdiv(builder.add(builder.sub(end, begin), ir.Constant(begin.type, 7)), line)
        with cgutils.for_range(builder, count, intp=begin.type) as loop:
            pointer = builder.bitcast(builder.gep(base, [builder.add(begin, builder.mul(loop.index, line))]), byte)
            builder.call(function, [pointer, word(0), word(3), word(1)])  # to read, keep close, data
        return context.get_dummy_value()

    return types.none(types.Array(types.float64, 1, "C"), types.intp, types.intp), generate
