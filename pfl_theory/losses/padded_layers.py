"""The layers of a network above the first, on rows padded to whole vectors: what local steps run on.

Layer k = 1 .. m has u_k units. Its activations and errors are rows of `stride` u_k + 1 numbers, rounded up to whole
vectors: the number after the units is 1 in activations, so that a bias is one more row of weights. The weights of layer
k stand transposed, a row for each input and one for the bias, padded to `width`, u_k rounded up; what pads is 0 and
stays 0. `Layers` says where all of it stands. With it forwards, backwards and gradients of weights are the same small
product (``kernels/tiles.py``) with other strides.

Rows of several points or batches share one scratch, each in rows of its own, and go through a layer together where they
meet the same weights. Formulas: docs/theory/networks.md#5-14.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ..kernels.jit import helper
from ..kernels.slices import multiply, product
from ..kernels.tiles import WIDTH, add_product, transpose_blocks
from ..kernels.vector_math import exp, exp32
from . import mlp
from .mlp import CROSS_ENTROPY, ELU, LINEAR, SOFTMAX, SOFTPLUS, TANH

UNITS, PADDED, STRIDE, BEFORE, WEIGHTS, TRANSPOSE = range(6)  # rows of a table of layers


def padded(n: int) -> int:
    """n rounded up to whole vectors."""
    return -(-n // WIDTH) * WIDTH


def layers_of(sizes: NDArray, capacity: int) -> NDArray:
    """Where layers stand: for k = 0 .. m units, width, stride; where `capacity` rows of layers k >= 1 begin; where the
    weights of layers k >= 2 and their transposes begin. Column m + 1 holds the ends.

    Examples
    --------
    >>> layers_of(np.array([784, 80, 60, 10]), 40)[[UNITS, PADDED, STRIDE]].tolist()
    [[784, 80, 60, 10, 0], [784, 80, 64, 16, 0], [792, 88, 64, 16, 0]]
    """
    last = len(sizes) - 1
    table = np.zeros((6, last + 2), dtype=np.int64)
    for k, units in enumerate(map(int, sizes)):
        table[UNITS, k], table[PADDED, k], table[STRIDE, k] = units, padded(units), padded(units + 1)
        if k >= 1:
            table[BEFORE, k + 1] = table[BEFORE, k] + capacity * table[STRIDE, k]
        if k >= 2:
            below = int(sizes[k - 1])
            table[WEIGHTS, k + 1] = table[WEIGHTS, k] + (below + 1) * padded(units)
            table[TRANSPOSE, k + 1] = table[TRANSPOSE, k] + padded(units) * padded(below)
    return table


# Rows of the scratch, one array: activations with a 1 after the units, derivatives of the activation function, errors
# dl/dz, their derivatives along a direction, the outputs without padding, zeros. One array and not a tuple of arrays,
# which would enter every function number by number and take most of the time of compilation.
H, SLOPE, ERROR, ALONG_Z, ALONG_H, ALONG_ERROR, OUTPUTS, ZERO = range(8)


def scratch_for(layers: NDArray, capacity: int, dtype: np.dtype) -> NDArray:
    """Scratch for `capacity` rows, those of which the table of layers was made."""
    outputs = 6 * capacity * int(layers[UNITS, -2])
    return np.zeros((8, max(int(layers[BEFORE, -1]), outputs, int(layers[PADDED, 1:].max()))), dtype)


@helper
def place(layers, k, first):  # type: ignore[no-untyped-def]
    """Where row `first` of layer k stands."""
    return layers[BEFORE, k] + first * layers[STRIDE, k]


def elu_pair(a: Any, t: Any) -> Any:  # pragma: no cover - stands for its overload
    """ELU and its derivative."""


@overload(elu_pair, jit_options={"forceinline": True, "error_model": "numpy"})
def _elu_pair(a, t):  # type: ignore[no-untyped-def]
    if isinstance(t, types.Float) and t.bitwidth == 32:
        zero, one = np.float32(0.0), np.float32(1.0)

        def single(a, t):  # type: ignore[no-untyped-def]
            less, e = exp32(min(t, zero))
            return t if t > zero else a * less, one if t > zero else a * e

        return single

    def double(a, t):  # type: ignore[no-untyped-def]
        e = a * exp(min(t, 0.0))
        return t if t > 0.0 else e - a, 1.0 if t > 0.0 else e

    return double


@helper
def activate(kind, a, u, slope):  # type: ignore[no-untyped-def]
    """As :func:`mlp.activate`, with ELU in the precision of `u`."""
    if kind == ELU:
        for j in range(len(u)):
            u[j], slope[j] = elu_pair(a, u[j])
    else:
        mlp.activate(kind, a, u, slope)


@helper
def weights_forward(layers, rows, w, k, first, n):  # type: ignore[no-untyped-def]
    """z_k of rows `first` .. from the activations below."""
    width, below = layers[PADDED, k], layers[STRIDE, k - 1]
    one = rows.dtype.type(1.0)
    add_product(
        one, rows[H], place(layers, k - 1, first), below, 1, w, layers[WEIGHTS, k], width, rows[ZERO], 0, 0,
        rows[H], place(layers, k, first), layers[STRIDE, k], n, width // WIDTH, layers[UNITS, k - 1] + 1,
    )  # fmt: skip


@helper
def forward(loss, layers, rows, w, first, n):  # type: ignore[no-untyped-def]
    """From z_1 of n rows in `rows[H]` up to z_m, with the derivatives of the activations."""
    last = layers.shape[1] - 2
    for k in range(1, last + 1):
        if k > 1:
            weights_forward(layers, rows, w, k, first, n)
        if k < last:
            start, stride, units = place(layers, k, first), layers[STRIDE, k], layers[UNITS, k]
            end = start + n * stride
            activate(loss.activation, loss.elu, rows[H][start:end], rows[SLOPE][start:end])
            for r in range(n):
                rows[H, start + r * stride + units] = 1.0


@helper
def backward(layers, rows, transposes, first, n, error):  # type: ignore[no-untyped-def]
    """Errors of n rows of all layers from those of the last one."""
    one = rows.dtype.type(1.0)
    for k in range(layers.shape[1] - 2, 1, -1):
        start, stride, width = place(layers, k - 1, first), layers[STRIDE, k - 1], layers[PADDED, k - 1]
        add_product(
            one, error, place(layers, k, first), layers[STRIDE, k], 1, transposes, layers[TRANSPOSE, k], width,
            rows[ZERO], 0, 0, error, start, stride, n, width // WIDTH, layers[UNITS, k],
        )  # fmt: skip
        multiply(error[start : start + n * stride], rows[SLOPE][start : start + n * stride])


@helper
def add_gradient(layers, rows, h, error, first, n, scale, base, out):  # type: ignore[no-untyped-def]
    """out = base + scale * (gradient of the weights above the first layer), from activations and errors of n rows."""
    for k in range(2, layers.shape[1] - 1):
        width, at = layers[PADDED, k], layers[WEIGHTS, k]
        add_product(
            scale, h, place(layers, k - 1, first), 1, layers[STRIDE, k - 1], error, place(layers, k, first),
            layers[STRIDE, k], base, at, width, out, at, width, layers[UNITS, k - 1] + 1, width // WIDTH, n,
        )  # fmt: skip


@helper
def transpose(layers, w, out):  # type: ignore[no-untyped-def]
    """Weights above the first layer with a row for each unit: what errors go back through."""
    for k in range(2, layers.shape[1] - 1):
        width, other, units = layers[PADDED, k], layers[PADDED, k - 1], layers[UNITS, k]
        inputs, source, target = layers[UNITS, k - 1], layers[WEIGHTS, k], layers[TRANSPOSE, k]
        blocks = inputs // WIDTH
        transpose_blocks(w, source, width, out, target, other, blocks, width // WIDTH)
        for i in range(blocks * WIDTH, inputs):  # behind the inputs stands the bias, which no error goes back through
            for o in range(units):
                out[target + o * other + i] = w[source + i * width + o]


# --- the output ------------------------------------------------------------------------------------------------------


def exp_of_difference(t: Any) -> Any:  # pragma: no cover - stands for its overload
    """e^t for t <= 0, in the precision of t."""


@overload(exp_of_difference, jit_options={"forceinline": True, "error_model": "numpy"})
def _exp_of_difference(t):  # type: ignore[no-untyped-def]
    if isinstance(t, types.Float) and t.bitwidth == 32:
        return lambda t: exp32(t)[1]
    return lambda t: exp(t)


@helper
def probabilities(q):  # type: ignore[no-untyped-def]
    """Replace every row by its softmax."""
    n, classes = q.shape
    for k in range(n):
        top = q[k, 0]
        for c in range(1, classes):
            top = max(top, q[k, c])
        for c in range(classes):
            q[k, c] = exp_of_difference(q[k, c] - top)
        total = q[k, 0]
        for c in range(1, classes):
            total += q[k, c]
        for c in range(classes):
            q[k, c] /= total


@helper
def packed_outputs(rows, n, classes):  # type: ignore[no-untyped-def]
    """Scratch for n rows of outputs, six times."""
    return rows[OUTPUTS][: 6 * n * classes].reshape(6, n, classes)


@helper
def without_padding(layers, values, first, out):  # type: ignore[no-untyped-def]
    """Rows of the last layer, packed."""
    last = layers.shape[1] - 2
    start, stride = place(layers, last, first), layers[STRIDE, last]
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] = values[start + r * stride + c]


@helper
def with_padding(layers, packed, first, values):  # type: ignore[no-untyped-def]
    """The inverse of :func:`without_padding`."""
    last = layers.shape[1] - 2
    start, stride = place(layers, last, first), layers[STRIDE, last]
    for r in range(packed.shape[0]):
        for c in range(packed.shape[1]):
            values[start + r * stride + c] = packed[r, c]


@helper
def apply_output(loss, o, slope):  # type: ignore[no-untyped-def]
    """o = g(z) in place, with g' where g acts on each number alone."""
    if loss.output != LINEAR:
        mlp.activate(loss.output, loss.elu, o.reshape(o.size), slope.reshape(o.size))
    if loss.output == SOFTMAX:
        mlp.softmax_rows(o)


@helper
def predict(objective, o, q):  # type: ignore[no-untyped-def]
    """As :func:`mlp.predictions`, softmax in the precision of `o`."""
    if objective == CROSS_ENTROPY:
        q[:] = o
        probabilities(q)
    else:
        mlp.predictions(objective, o, q)


@helper
def output_losses(loss, layers, rows, labels, shares, first, n):  # type: ignore[no-untyped-def]
    """sum of shares times losses of n rows."""
    packed = packed_outputs(rows, n, layers[UNITS, layers.shape[1] - 2])
    o, slope = packed[0], packed[1]
    without_padding(layers, rows[H], first, o)
    apply_output(loss, o, slope)
    return mlp.losses_of_rows(loss, o, labels[first : first + n], shares[first : first + n])


@helper
def output_errors(loss, layers, rows, labels, shares, first, n):  # type: ignore[no-untyped-def]
    """dl/dz of the last layer of n rows."""
    classes = layers[UNITS, layers.shape[1] - 2]
    packed = packed_outputs(rows, n, classes)
    o, slope, q = packed[0], packed[1], packed[2]
    without_padding(layers, rows[H], first, o)
    apply_output(loss, o, slope)
    predict(loss.objective, o, q)
    mlp.residuals(loss.objective, labels[first : first + n], shares[first : first + n], q)
    if loss.output == SOFTMAX:
        mlp.times_softmax_jacobian(o, q, q)
    elif loss.output != LINEAR:
        mlp.scaled_by(slope.reshape(o.size), q.reshape(o.size))
    with_padding(layers, q, first, rows[ERROR])


@helper
def output_errors_along(loss, layers, rows, labels, shares, first, n):  # type: ignore[no-untyped-def]
    """The same, and the derivative along the direction of `rows[ALONG_Z]`."""
    classes = layers[UNITS, layers.shape[1] - 2]
    packed = packed_outputs(rows, n, classes)
    o, slope, q = packed[0], packed[1], packed[2]
    rz, ro, rq = packed[3], packed[4], packed[5]
    without_padding(layers, rows[H], first, o)
    without_padding(layers, rows[ALONG_Z], first, rz)
    apply_output(loss, o, slope)
    if loss.output == SOFTMAX:
        mlp.times_softmax_jacobian(o, rz, ro)
    else:
        ro[:] = rz
        if loss.output != LINEAR:
            mlp.scaled_by(slope.reshape(o.size), ro.reshape(o.size))
    predict(loss.objective, o, q)
    mlp.predictions_along(loss.objective, q, ro, shares[first : first + n], rq)
    mlp.residuals(loss.objective, labels[first : first + n], shares[first : first + n], q)
    if loss.output == SOFTMAX:
        mlp.through_softmax_along(o, ro, q, rq)
    elif loss.output != LINEAR:
        size = o.size
        mlp.scaled_along(
            loss.output, o.reshape(size), slope.reshape(size), rz.reshape(size), q.reshape(size), rq.reshape(size)
        )
    with_padding(layers, q, first, rows[ERROR])
    with_padding(layers, rq, first, rows[ALONG_ERROR])


# --- derivatives along a direction -----------------------------------------------------------------------------------


@helper
def forward_along(layers, rows, w, v, first, n):  # type: ignore[no-untyped-def]
    """From the derivative of z_1 of n rows up to that of z_m, along v above the first layer."""
    last = layers.shape[1] - 2
    one = rows.dtype.type(1.0)
    for k in range(1, last + 1):
        start, stride, width = place(layers, k, first), layers[STRIDE, k], layers[PADDED, k]
        if k > 1:
            from_, below, at = place(layers, k - 1, first), layers[STRIDE, k - 1], layers[WEIGHTS, k]
            inputs, vectors = layers[UNITS, k - 1], width // WIDTH
            add_product(
                one, rows[H], from_, below, 1, v, at, width, rows[ZERO], 0, 0, rows[ALONG_Z], start, stride, n, vectors,
                inputs + 1,
            )  # fmt: skip
            add_product(
                one, rows[ALONG_H], from_, below, 1, w, at, width, rows[ALONG_Z], start, stride, rows[ALONG_Z], start,
                stride, n, vectors, inputs,
            )  # fmt: skip
        if k < last:
            end = start + n * stride
            product(rows[ALONG_H][start:end], rows[SLOPE][start:end], rows[ALONG_Z][start:end])


@helper
def add_bend(kind, h, rz, error, moved):  # type: ignore[no-untyped-def]
    """moved += phi'' rz e, where `error` is phi' e: phi''/phi' is [u <= 0], e^-softplus(u), -2 tanh(u)."""
    if kind == ELU:
        for j in range(len(moved)):
            bent = moved[j] + rz[j] * error[j]
            moved[j] = moved[j] if h[j] > 0 else bent
    elif kind == SOFTPLUS:
        for j in range(len(moved)):
            moved[j] += exp(-np.float64(h[j])) * rz[j] * error[j]
    elif kind == TANH:
        for j in range(len(moved)):
            moved[j] += -2.0 * h[j] * rz[j] * error[j]


@helper
def backward_along(loss, layers, rows, transposes, along, first, n):  # type: ignore[no-untyped-def]
    """Derivatives of the errors of n rows; `along`: transposes of v. The errors themselves are in `rows[ERROR]`."""
    one = rows.dtype.type(1.0)
    for k in range(layers.shape[1] - 2, 1, -1):
        start, stride, width = place(layers, k - 1, first), layers[STRIDE, k - 1], layers[PADDED, k - 1]
        from_, above, at = place(layers, k, first), layers[STRIDE, k], layers[TRANSPOSE, k]
        vectors, units, end = width // WIDTH, layers[UNITS, k], start + n * stride
        add_product(
            one, rows[ALONG_ERROR], from_, above, 1, transposes, at, width, rows[ZERO], 0, 0, rows[ALONG_ERROR], start,
            stride, n, vectors, units,
        )  # fmt: skip
        add_product(
            one, rows[ERROR], from_, above, 1, along, at, width, rows[ALONG_ERROR], start, stride, rows[ALONG_ERROR],
            start, stride, n, vectors, units,
        )  # fmt: skip
        multiply(rows[ALONG_ERROR][start:end], rows[SLOPE][start:end])
        add_bend(
            loss.activation, rows[H][start:end], rows[ALONG_Z][start:end], rows[ERROR][start:end],
            rows[ALONG_ERROR][start:end],
        )  # fmt: skip
