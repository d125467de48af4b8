"""Fully connected networks: hidden layers of ELU, softplus or tanh, biases everywhere, and a loss of classes.

With h_0 = x and layers k = 1 .. m, of which m - 1 are hidden,

    z_k = W_k h_{k-1} + b_k,    h_k = phi(z_k) for k < m,    o = g(z_m),    l = factor * objective(o, y).

w holds layer after layer: W_k (out x in, row-major), then b_k. The gradient is backpropagation. The Hessian-vector
product is Pearlmutter's, exact: the derivative along v, called R here, of every line of backpropagation. Formulas, the
kink of ELU, and why no network has B, L or rho on the whole space: docs/theory/networks.md#5-14.

Kernels see the sizes of the layers as an array and every choice as a number: another network compiles nothing. What is
heavy are functions of arrays of few types, compiled once for each precision.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..constants import Constant
from ..errors import one_of, require
from ..federations.federation import Federation
from ..kernels.jit import helper
from ..kernels.vector_math import exp
from ..seeds import generator
from .dispatch import hvp as hvp_of
from .dispatch import implements
from .loss import Loss, checked_hyperparameter, checked_metric, class_labels
from .softmax import BLOCK, gather, softmax_rows

ELU, SOFTPLUS, TANH, LINEAR, SIGMOID, SOFTMAX = range(6)  # activations of hidden layers, and of the output
CROSS_ENTROPY, SQUARED, SIGMOID_CROSS_ENTROPY = range(3)


class MLPParameters(NamedTuple):
    """What the kernels see."""

    sizes: NDArray  # of the layers, features first
    activation: int
    elu: float
    output: int
    objective: int
    factor: float


# --- one layer -------------------------------------------------------------------------------------------------------


@helper
def matrix(flat, start, rows, columns):  # type: ignore[no-untyped-def]
    """rows * columns numbers from flat[start], as a matrix."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@helper
def transposed_product(a, m, out):  # type: ignore[no-untyped-def]
    """out = a m^T."""
    np.dot(a, m.T, out)


@helper
def add_transposed_product(a, m, spare, out):  # type: ignore[no-untyped-def]
    """out += a m^T; `spare` is scratch of the same shape."""
    np.dot(a, m.T, spare)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[k, j] += spare[k, j]


@helper
def product(a, m, out):  # type: ignore[no-untyped-def]
    """out = a m."""
    np.dot(a, m, out)


@helper
def add_product(a, m, spare, out):  # type: ignore[no-untyped-def]
    """out += a m; `spare` is scratch of the same shape."""
    np.dot(a, m, spare)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[k, j] += spare[k, j]


@helper
def weight_gradient(left, right, first, spare, out):  # type: ignore[no-untyped-def]
    """out = left^T right where `first`, else out += it; `out` and the scratch `spare` are flat."""
    size = left.shape[1] * right.shape[1]
    target = out if first else spare
    np.dot(left.T, right, target[:size].reshape(left.shape[1], right.shape[1]))
    if not first:
        for j in range(size):
            out[j] += spare[j]


@helper
def bias_gradient(delta, first, out):  # type: ignore[no-untyped-def]
    """out = column sums of delta where `first`, else out += them."""
    if first:
        out[:] = 0.0
    for k in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            out[j] += delta[k, j]


@helper
def add_bias(bias, z):  # type: ignore[no-untyped-def]
    """Add `bias` to every row of z."""
    for k in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[k, j] += bias[j]


@helper
def activate(kind, a, u, slope):  # type: ignore[no-untyped-def]
    """Replace u by phi(u) and write phi'(u) to `slope`; in double precision, rounded when stored.

    ELU has its slope at 0 from the left, a, as public codes do (u > 0 ? 1 : a e^u).
    """
    if kind == ELU:
        for j in range(len(u)):
            t = np.float64(u[j])
            e = a * exp(min(t, 0.0))
            u[j] = t if t > 0.0 else e - a
            slope[j] = 1.0 if t > 0.0 else e
    elif kind == SOFTPLUS:
        for j in range(len(u)):
            t = np.float64(u[j])
            e = exp(-abs(t))
            u[j] = max(t, 0.0) + np.log1p(e)
            slope[j] = (1.0 if t >= 0.0 else e) / (1.0 + e)
    elif kind == TANH:
        for j in range(len(u)):
            t = np.float64(u[j])
            e = exp(-2.0 * abs(t))
            size = (1.0 - e) / (1.0 + e)
            u[j] = size if t >= 0.0 else -size
            slope[j] = 4.0 * e / ((1.0 + e) * (1.0 + e))
    elif kind == SIGMOID:
        for j in range(len(u)):
            t = np.float64(u[j])
            e = exp(-abs(t))
            u[j] = (1.0 if t >= 0.0 else e) / (1.0 + e)
            slope[j] = e / ((1.0 + e) * (1.0 + e))
    else:
        slope[:] = 1.0


@helper
def scaled_by(slope, e):  # type: ignore[no-untyped-def]
    """e becomes phi' e: an error passes an activation backwards."""
    for j in range(len(e)):
        e[j] *= slope[j]


@helper
def scaled_along(kind, h, slope, rz, e, re):  # type: ignore[no-untyped-def]
    """The same for an error and its derivative: re becomes phi' re + phi'' rz e, e becomes phi' e."""
    for j in range(len(e)):
        if kind == ELU:
            bend = 0.0 if h[j] > 0.0 else np.float64(slope[j])  # phi(u) > 0 where u > 0 and nowhere else
        elif kind == SOFTPLUS:
            bend = slope[j] * exp(-np.float64(h[j]))  # e^-softplus(u) = 1 - phi'(u), with all its digits
        elif kind == TANH:
            bend = -2.0 * np.float64(h[j]) * slope[j]
        elif kind == SIGMOID:
            bend = (1.0 - 2.0 * np.float64(h[j])) * slope[j]
        else:
            bend = 0.0
        re[j] = slope[j] * re[j] + bend * rz[j] * e[j]
        e[j] *= slope[j]


# --- the output: o = g(z), and dl/do ----------------------------------------------------------------------------------


@helper
def times_softmax_jacobian(p, a, out):  # type: ignore[no-untyped-def]
    """out = (diag p - p p^T) a, row by row; `out` may be `a`."""
    for k in range(p.shape[0]):
        mean = 0.0
        for c in range(p.shape[1]):
            mean += p[k, c] * a[k, c]
        for c in range(p.shape[1]):
            out[k, c] = p[k, c] * (a[k, c] - mean)


@helper
def losses_of_rows(loss, o, labels, shares):  # type: ignore[no-untyped-def]
    """sum_k shares[k] l(o_k, y_k)."""
    total, rows, classes = 0.0, o.shape[0], o.shape[1]
    for k in range(rows):
        right = labels[k]
        found = 0.0
        if loss.objective == CROSS_ENTROPY:
            top = np.float64(o[k, 0])
            for c in range(1, classes):
                top = max(top, np.float64(o[k, c]))
            for c in range(classes):
                found += exp(o[k, c] - top)
            found = (top - o[k, right]) + np.log(found)
        elif loss.objective == SQUARED:
            for c in range(classes):
                away = np.float64(o[k, c]) - (1.0 if c == right else 0.0)
                found += away * away
        else:
            for c in range(classes):
                u = np.float64(o[k, c])
                u = -u if c == right else u
                found += max(u, 0.0) + np.log1p(np.exp(-abs(u)))
        total += shares[k] * found
    return total


@helper
def predictions(objective, o, q):  # type: ignore[no-untyped-def]
    """The part of dl/do that does not see the label: softmax(o), 2 o or sigmoid(o)."""
    for k in range(o.shape[0]):
        for c in range(o.shape[1]):
            if objective == SIGMOID_CROSS_ENTROPY:
                e = exp(-abs(np.float64(o[k, c])))
                q[k, c] = (1.0 if o[k, c] >= 0.0 else e) / (1.0 + e)
            else:
                q[k, c] = o[k, c] if objective == CROSS_ENTROPY else 2.0 * o[k, c]
    if objective == CROSS_ENTROPY:
        softmax_rows(q)


@helper
def residuals(objective, labels, shares, q):  # type: ignore[no-untyped-def]
    """What :func:`predictions` wrote becomes shares[k] dl/do."""
    for k in range(q.shape[0]):
        q[k, labels[k]] -= 2.0 if objective == SQUARED else 1.0
        for c in range(q.shape[1]):
            q[k, c] *= shares[k]


@helper
def predictions_along(objective, q, ro, shares, rq):  # type: ignore[no-untyped-def]
    """rq = shares[k] (Hessian of l in o) ro; `q` as :func:`predictions` wrote it."""
    if objective == CROSS_ENTROPY:
        times_softmax_jacobian(q, ro, rq)
    for k in range(q.shape[0]):
        for c in range(q.shape[1]):
            if objective == SQUARED:
                rq[k, c] = 2.0 * ro[k, c]
            elif objective == SIGMOID_CROSS_ENTROPY:
                rq[k, c] = q[k, c] * (1.0 - q[k, c]) * ro[k, c]
            rq[k, c] *= shares[k]


@helper
def through_softmax_along(p, rp, r, rr):  # type: ignore[no-untyped-def]
    """r becomes J r and rr its derivative, J = diag p - p p^T: J rr + rp (r - <p, r>) - p <rp, r>."""
    for k in range(p.shape[0]):
        mean = mean_along = moved = 0.0
        for c in range(p.shape[1]):
            mean += p[k, c] * r[k, c]
            mean_along += p[k, c] * rr[k, c]
            moved += rp[k, c] * r[k, c]
        for c in range(p.shape[1]):
            rr[k, c] = p[k, c] * (rr[k, c] - mean_along - moved) + rp[k, c] * (r[k, c] - mean)
            r[k, c] = p[k, c] * (r[k, c] - mean)


# --- a block of rows through the network ------------------------------------------------------------------------------


@helper
def units(loss):  # type: ignore[no-untyped-def]
    """Units of all layers but the features: what a row needs of every kind of scratch."""
    return loss.sizes.sum() - loss.sizes[0]


@helper
def largest_matrix(loss):  # type: ignore[no-untyped-def]
    """Numbers of the largest W_k, and of the widest layer of a block."""
    most = 0
    for k in range(1, len(loss.sizes)):
        most = max(most, max(loss.sizes[k - 1], BLOCK) * loss.sizes[k])
    return most


@helper
def take(loss, x, y, scale, rows, coef, first, inputs, labels, shares):  # type: ignore[no-untyped-def]
    """Rows first, first + 1, .. as floats, with their labels and factor * coef: arrays of the same types whatever the
    data are.
    """
    gather(x, scale, rows, first, first + inputs.shape[0], inputs)
    for k in range(inputs.shape[0]):
        labels[k] = y[rows[first + k]]
        shares[k] = loss.factor * coef[first + k]


@helper
def forward(loss, inputs, w, h, slope):  # type: ignore[no-untyped-def]
    """h: outputs of all layers, one after the other, a row of units a row of data; `slope`: phi'(z) of each."""
    n, last = inputs.shape[0], len(loss.sizes) - 1
    at = start = 0
    before = inputs
    for k in range(1, last + 1):
        i, o = loss.sizes[k - 1], loss.sizes[k]
        z = matrix(h, start, n, o)
        transposed_product(before, matrix(w, at, o, i), z)
        add_bias(w[at + o * i : at + o * i + o], z)
        kind = loss.activation if k < last else loss.output
        activate(kind, loss.elu, h[start : start + n * o], slope[start : start + n * o])
        if kind == SOFTMAX:
            softmax_rows(z)
        before = z
        at += o * (i + 1)
        start += n * o


@helper
def forward_along(loss, inputs, w, v, h, slope, rz, rh):  # type: ignore[no-untyped-def]
    """rz, rh: derivatives of z and h along v."""
    n, last = inputs.shape[0], len(loss.sizes) - 1
    at = start = 0
    before, before_along = inputs, inputs
    for k in range(1, last + 1):
        i, o = loss.sizes[k - 1], loss.sizes[k]
        z, out = matrix(rz, start, n, o), matrix(rh, start, n, o)
        transposed_product(before, matrix(v, at, o, i), z)
        if k > 1:  # the features do not move
            add_transposed_product(before_along, matrix(w, at, o, i), out, z)
        add_bias(v[at + o * i : at + o * i + o], z)
        if k == last and loss.output == SOFTMAX:
            times_softmax_jacobian(matrix(h, start, n, o), z, out)
        else:
            for j in range(start, start + n * o):
                rh[j] = slope[j] * rz[j]
        before, before_along = matrix(h, start, n, o), out
        at += o * (i + 1)
        start += n * o


@helper
def backward(loss, inputs, w, h, slope, delta, first, spare, out):  # type: ignore[no-untyped-def]
    """From dl/dz of the last layer in `delta`: gradients of all layers to `out` (added where not `first`)."""
    n = inputs.shape[0]
    at, start = len(out), n * units(loss)
    for k in range(len(loss.sizes) - 1, 0, -1):
        i, o = loss.sizes[k - 1], loss.sizes[k]
        at, start = at - o * (i + 1), start - n * o
        error = matrix(delta, start, n, o)
        before = inputs if k == 1 else matrix(h, start - n * i, n, i)
        weight_gradient(error, before, first, spare, out[at : at + o * i])
        bias_gradient(error, first, out[at + o * i : at + o * i + o])
        if k > 1:
            product(error, matrix(w, at, o, i), matrix(delta, start - n * i, n, i))
            scaled_by(slope[start - n * i : start], delta[start - n * i : start])


@helper
def backward_along(loss, inputs, w, v, h, slope, rz, rh, delta, rdelta, first, spare, out):  # type: ignore[no-untyped-def]
    """From dl/dz of the last layer in `delta` and its derivative in `rdelta`: derivatives of all gradients along v."""
    n = inputs.shape[0]
    at, start = len(out), n * units(loss)
    for k in range(len(loss.sizes) - 1, 0, -1):
        i, o = loss.sizes[k - 1], loss.sizes[k]
        at, start = at - o * (i + 1), start - n * o
        below = start - n * i
        error, moved = matrix(delta, start, n, o), matrix(rdelta, start, n, o)
        before = inputs if k == 1 else matrix(h, below, n, i)
        weight_gradient(moved, before, first, spare, out[at : at + o * i])
        bias_gradient(moved, first, out[at + o * i : at + o * i + o])
        if k > 1:
            weight_gradient(error, matrix(rh, below, n, i), False, spare, out[at : at + o * i])
            product(error, matrix(w, at, o, i), matrix(delta, below, n, i))
            product(moved, matrix(w, at, o, i), matrix(rdelta, below, n, i))
            add_product(error, matrix(v, at, o, i), matrix(spare, 0, n, i), matrix(rdelta, below, n, i))
            scaled_along(
                loss.activation,
                h[below:start],
                slope[below:start],
                rz[below:start],
                delta[below:start],
                rdelta[below:start],
            )


@helper
def output_errors(loss, labels, shares, h, slope, delta):  # type: ignore[no-untyped-def]
    """dl/dz of the last layer."""
    n, o = len(labels), loss.sizes[-1]
    end = n * units(loss)
    outputs, error = matrix(h, end - n * o, n, o), matrix(delta, end - n * o, n, o)
    predictions(loss.objective, outputs, error)
    residuals(loss.objective, labels, shares, error)
    if loss.output == SOFTMAX:
        times_softmax_jacobian(outputs, error, error)
    else:
        scaled_by(slope[end - n * o : end], delta[end - n * o : end])


@helper
def output_errors_along(loss, labels, shares, h, slope, rz, rh, delta, rdelta):  # type: ignore[no-untyped-def]
    """dl/dz of the last layer and its derivative."""
    n, o = len(labels), loss.sizes[-1]
    end = n * units(loss)
    at = end - n * o
    outputs, along = matrix(h, at, n, o), matrix(rh, at, n, o)
    error, moved = matrix(delta, at, n, o), matrix(rdelta, at, n, o)
    predictions(loss.objective, outputs, error)
    predictions_along(loss.objective, error, along, shares, moved)
    residuals(loss.objective, labels, shares, error)
    if loss.output == SOFTMAX:
        through_softmax_along(outputs, along, error, moved)
    else:
        scaled_along(loss.output, h[at:end], slope[at:end], rz[at:end], delta[at:end], rdelta[at:end])


# --- all rows, block by block: what kernels call ----------------------------------------------------------------------


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    width, classes, size = units(loss), loss.sizes[-1], min(BLOCK, len(rows))
    block, scratch = np.empty(size * loss.sizes[0], w.dtype), np.empty(2 * size * width, w.dtype)
    labels, shares = np.empty(size, np.int64), np.empty(size, w.dtype)
    total = 0.0
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        inputs = matrix(block, 0, n, loss.sizes[0])
        take(loss, x, y, scale, rows, coef, first, inputs, labels[:n], shares[:n])
        h, slope = scratch[: n * width], scratch[n * width : 2 * n * width]
        forward(loss, inputs, w, h, slope)
        total += losses_of_rows(loss, matrix(h, n * (width - classes), n, classes), labels[:n], shares[:n])
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    width, size = units(loss), min(BLOCK, len(rows))
    block, scratch = np.empty(size * loss.sizes[0], w.dtype), np.empty(3 * size * width, w.dtype)
    labels, shares = np.empty(size, np.int64), np.empty(size, w.dtype)
    spare = np.empty(largest_matrix(loss), w.dtype)
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        m = n * width
        inputs = matrix(block, 0, n, loss.sizes[0])
        take(loss, x, y, scale, rows, coef, first, inputs, labels[:n], shares[:n])
        h, slope, delta = scratch[:m], scratch[m : 2 * m], scratch[2 * m : 3 * m]
        forward(loss, inputs, w, h, slope)
        output_errors(loss, labels[:n], shares[:n], h, slope, delta)
        backward(loss, inputs, w, h, slope, delta, first == 0, spare, out)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    width, size = units(loss), min(BLOCK, len(rows))
    block, scratch = np.empty(size * loss.sizes[0], w.dtype), np.empty(6 * size * width, w.dtype)
    labels, shares = np.empty(size, np.int64), np.empty(size, w.dtype)
    spare = np.empty(largest_matrix(loss), w.dtype)
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        m = n * width
        inputs = matrix(block, 0, n, loss.sizes[0])
        take(loss, x, y, scale, rows, coef, first, inputs, labels[:n], shares[:n])
        h, slope, rz, rh = scratch[:m], scratch[m : 2 * m], scratch[2 * m : 3 * m], scratch[3 * m : 4 * m]
        delta, rdelta = scratch[4 * m : 5 * m], scratch[5 * m : 6 * m]
        forward(loss, inputs, w, h, slope)
        forward_along(loss, inputs, w, v, h, slope, rz, rh)
        output_errors_along(loss, labels[:n], shares[:n], h, slope, rz, rh, delta, rdelta)
        backward_along(loss, inputs, w, v, h, slope, rz, rh, delta, rdelta, first == 0, spare, out)


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    """Column by column, by products with unit vectors; what rounding left unequal is averaged."""
    unit = np.zeros(len(w), w.dtype)
    for j in range(len(w)):
        unit[j] = 1.0
        hvp_of(loss, user, x, y, scale, rows, coef, w, unit, out[j])
        unit[j] = 0.0
    for a in range(len(w)):
        for b in range(a):
            out[a, b] = out[b, a] = 0.5 * (out[a, b] + out[b, a])


def correct(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    """Share of rows whose largest output is the label's (the first of equal outputs counts)."""
    width, classes, size = units(loss), loss.sizes[-1], min(BLOCK, len(rows))
    block, scratch = np.empty(size * loss.sizes[0], w.dtype), np.empty(2 * size * width, w.dtype)
    labels, shares = np.empty(size, np.int64), np.empty(size, w.dtype)
    total = 0.0
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        inputs = matrix(block, 0, n, loss.sizes[0])
        take(loss, x, y, scale, rows, coef, first, inputs, labels[:n], shares[:n])
        h, slope = scratch[: n * width], scratch[n * width : 2 * n * width]
        forward(loss, inputs, w, h, slope)
        outputs = matrix(h, n * (width - classes), n, classes)
        for k in range(n):
            if np.argmax(outputs[k]) == labels[k]:
                total += coef[first + k]
    return total


implements(MLPParameters, value=value, gradient=gradient, hvp=hvp, hessian=hessian, correct=correct)


# --- the loss ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = {"elu": ELU, "softplus": SOFTPLUS, "tanh": TANH}
OUTPUTS = {"linear": LINEAR, "elu": ELU, "sigmoid": SIGMOID, "softmax": SOFTMAX}
OBJECTIVES = {"cross-entropy": CROSS_ENTROPY, "squared": SQUARED, "sigmoid-cross-entropy": SIGMOID_CROSS_ENTROPY}
FITTING = {  # outputs of which an objective makes sense
    "cross-entropy": ("linear", "elu", "softmax"),
    "squared": ("linear", "elu", "sigmoid", "softmax"),
    "sigmoid-cross-entropy": ("linear", "sigmoid"),
}
ON_LOGITS = {("cross-entropy", "softmax"), ("sigmoid-cross-entropy", "sigmoid")}  # the objective holds the output
WEIGHTS = ("he", "lecun", "glorot", "torch", "gaussian")
BIASES = ("zero", "normal", "weights")


@dataclass(frozen=True)
class MLP(Loss):
    """A fully connected network with a loss of classes, labels 0 .. n_classes - 1; every layer has biases.

    With h_0 = x: z_k = W_k h_{k-1} + b_k, h_k = phi(z_k) in hidden layers, o = g(z) of the last one, and
    l = factor * objective(o, y). w is W_1 (out x in, row-major), b_1, W_2, b_2, ...: see :meth:`split`.

    Parameters
    ----------
    n_classes : int
        Outputs, >= 2.
    hidden : tuple of int
        Sizes of the hidden layers; () for none.
    activation : {"elu", "softplus", "tanh"}
        phi. ELU(u) = u for u > 0, else elu * (e^u - 1), with derivative elu * e^u at u = 0, the one from the left, as
        in public codes: where it differs from 1 the loss has a kink there.
    elu : float
        Parameter of ELU, > 0, in hidden layers and output.
    output : {"linear", "elu", "sigmoid", "softmax"}
        g.
    objective : {"cross-entropy", "squared", "sigmoid-cross-entropy"}
        ``cross-entropy``: log sum_c e^(o_c) - o_y; with a softmax output it is -log o_y, the same number as with a
        linear one. ``squared``: sum_c (o_c - [c = y])^2. ``sigmoid-cross-entropy``: sum_c log(1 + e^(z_c)) - [c = y]
        z_c, which is -log of the product of sigmoids. All are computed from logits, without overflow.
    factor : float
        Multiplies the objective, > 0: 1/2 for half the squared error, 1/n_classes for a mean over classes.

    Notes
    -----
    Runs start at w = 0 unless told otherwise, where the units of a layer are all alike and stay so: give ``w0`` from
    :meth:`initial_weights`.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0, 0.0], [1.0, 2.0]]], [[0, 2]])
    >>> loss = pfl.losses.MLP(n_classes=3, hidden=(4,), activation="tanh")
    >>> problem = pfl.Problem(loss, fed)
    >>> problem.dim, round(float(problem.value([0.0] * 27)[0]), 6)
    (27, 1.098612)
    >>> w = loss.initial_weights(fed, weights="lecun", seed=1)
    >>> [(W.shape, b.shape) for W, b in loss.split(w)]
    [((4, 2), (4,)), ((3, 4), (3,))]
    """

    n_classes: int
    hidden: tuple[int, ...] = (80, 60)
    activation: str = "elu"
    elu: float = 1.0
    output: str = "linear"
    objective: str = "cross-entropy"
    factor: float = 1.0
    classifies: ClassVar[bool] = True
    step_by_rounding: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            _whole(self.n_classes) and self.n_classes >= 2,
            f"MLP: n_classes = {self.n_classes}; must be an integer >= 2",
        )
        given = self.hidden
        require(
            isinstance(given, (tuple, list)) and all(_whole(size) and size >= 1 for size in given),
            f"MLP: hidden = {given!r}; must be sizes of layers, integers >= 1, as in (80, 60), or () for none",
        )
        object.__setattr__(self, "hidden", tuple(int(size) for size in given))  # a list where it comes from a file
        one_of("MLP: activation", self.activation, tuple(ACTIVATIONS))
        one_of("MLP: output", self.output, tuple(OUTPUTS))
        one_of("MLP: objective", self.objective, tuple(OBJECTIVES))
        require(
            self.output in FITTING[self.objective],
            f"MLP: objective {self.objective!r} does not go with output {self.output!r}; choose output "
            f"{', '.join(map(repr, FITTING[self.objective]))}, or another objective",
        )
        checked_hyperparameter("MLP", "elu", self.elu, positive=True)
        checked_hyperparameter("MLP", "factor", self.factor, positive=True)

    def sizes(self, n_features: int) -> tuple[int, ...]:
        """Sizes of all layers, features first."""
        return (int(n_features), *self.hidden, int(self.n_classes))

    def dim(self, fed: Federation) -> int:
        sizes = self.sizes(fed.n_features)
        return sum(o * (i + 1) for i, o in itertools.pairwise(sizes))

    def parameters(self, fed: Federation, dtype: np.dtype) -> MLPParameters:
        on_logits = (self.objective, self.output) in ON_LOGITS
        return MLPParameters(
            np.array(self.sizes(fed.n_features), dtype=np.int64),
            ACTIVATIONS[self.activation],
            dtype.type(self.elu),
            LINEAR if on_logits else OUTPUTS[self.output],
            OBJECTIVES[self.objective],
            dtype.type(self.factor),
        )

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        return class_labels(self, fed, int(self.n_classes))

    def lowest(self, fed: Federation) -> NDArray:
        return np.zeros(fed.n_users)  # no term is negative

    # -- weights -------------------------------------------------------------------------------------------------------

    def split(self, w: ArrayLike) -> list[tuple[NDArray, NDArray]]:
        """(W, b) of every layer, first layer first: views of `w` where it is an array.

        Parameters
        ----------
        w : array_like, shape (d,)

        Examples
        --------
        >>> (W, b), = MLP(2, hidden=()).split([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> W.tolist(), b.tolist()
        ([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0])
        """
        flat = np.asarray(w)
        beyond = sum(o * (i + 1) for i, o in itertools.pairwise(self.sizes(0)[1:]))
        features, left = divmod(flat.size - beyond, self.sizes(0)[1])
        require(
            flat.ndim == 1 and left == 0 and features >= 2,
            f"MLP.split: w has shape {flat.shape}; no number of features gives a network {self.hidden} of "
            f"{self.n_classes} classes so many weights",
        )
        sizes, at, layers = self.sizes(features - 1), 0, []
        for i, o in itertools.pairwise(sizes):
            layers.append((flat[at : at + o * i].reshape(o, i), flat[at + o * i : at + o * (i + 1)]))
            at += o * (i + 1)
        return layers

    def initial_weights(
        self, fed: Federation, *, weights: str = "he", biases: str = "zero", scale: float = 1.0, seed: int = 0
    ) -> NDArray:
        """Random weights to start from, shape (d,): the same for the same seed, whatever was drawn before.

        Parameters
        ----------
        fed : Federation
            Whose features are the inputs.
        weights : {"he", "lecun", "glorot", "torch", "gaussian"}
            With i inputs and o outputs of a layer: N(0, 2/i); N(0, 1/i); uniform up to sqrt(6 / (i + o)); uniform up to
            1/sqrt(i); N(0, 1).
        biases : {"zero", "normal", "weights"}
            0; N(0, 1); of the law of the layer's weights.
        scale : float
            Multiplies the weights, and biases of their law.
        seed : int
            Root seed.

        Examples
        --------
        >>> import numpy as np, pfl_theory as pfl
        >>> fed = pfl.Federation.from_arrays([np.zeros((1, 784))], [[0]])
        >>> loss = MLP(10)
        >>> w = loss.initial_weights(fed, weights="torch", biases="weights")
        >>> w.shape, [round(float(abs(W).max()), 3) for W, _ in loss.split(w)]
        ((68270,), [0.036, 0.112, 0.129])
        """
        one_of("initial_weights: weights", weights, WEIGHTS)
        one_of("initial_weights: biases", biases, BIASES)
        checked_hyperparameter("initial_weights", "scale", scale, positive=True)
        w = np.zeros(self.dim(fed))
        for k, (W, b) in enumerate(self.split(w)):
            o, i = W.shape
            for part, array in (("weights", W), ("biases", b)):
                rng = generator(seed, "MLP", k, part)
                if part == "biases" and biases != "weights":
                    array[...] = 0.0 if biases == "zero" else rng.normal(size=array.shape)
                elif weights in ("glorot", "torch"):
                    most = scale * (math.sqrt(6 / (i + o)) if weights == "glorot" else 1 / math.sqrt(i))
                    array[...] = rng.uniform(-most, most, array.shape)
                else:
                    deviation = {"he": math.sqrt(2 / i), "lecun": math.sqrt(1 / i), "gaussian": 1.0}[weights]
                    array[...] = scale * deviation * rng.normal(size=array.shape)
        return w

    # -- constants -----------------------------------------------------------------------------------------------------

    def _kink(self) -> str:
        """What ELU breaks; "" where no unit has it."""
        if self.output != "elu" and (self.activation != "elu" or not self.hidden):
            return ""
        if self.elu == 1:
            return "ELU'' jumps where a unit's input is 0, and Hessians with it: none is Lipschitz [theory 5.14, 7c]"
        jump = f"from {self.elu:g} to 1"
        return (
            f"ELU' jumps {jump} where a unit's input is 0, and gradients with it: none is Lipschitz [theory 5.14, 7c]"
        )

    def _reasons(self, radius: float | None) -> tuple[str, str, str]:
        """Why there is no B, no L and no rho."""
        if radius is not None:
            growth = ["no bound on a ball is derived for networks"] * 2
        elif self.hidden:
            growth = [
                "trained layers: the gradient grows with the output layer's weights [theory 5.14, 7a]",
                "trained layers: Hessians grow with the square of the output layer's weights [theory 5.14, 7b]",
            ]
        else:
            growth = ["no hidden layer, nothing is derived: use Softmax on rows with a column of ones"] * 2
        kink = self._kink()
        broken = f"{growth[1]}; {kink}"
        return growth[0], broken if kink and self.elu != 1 else growth[1], broken if kink else growth[1]

    def constants(
        self,
        fed: Federation,
        *,
        radius: float | None = None,
        center: NDArray | None = None,
        metric: str | None = None,
        kappa: float | None = None,
    ) -> dict[str, Constant]:
        """None exists, or none is derived: each says why."""
        checked_metric(metric, kappa, "labelled")
        gradient, curvature, third = self._reasons(radius)
        reasons = {
            "B": gradient,
            "L": curvature,
            "rho": third,
            "sigma_G": f"not derived for networks; {gradient}",
            "sigma_H": f"not derived for networks; {curvature}",
            "B_datum": gradient,
            "L_datum": curvature,
            "lip_gradient_z": f"not derived for networks; {gradient}",
            "lip_hessian_z": f"not derived for networks; {third}",
        }
        return {name: Constant.none(fed.n_users, reason) for name, reason in reasons.items()}

    def heterogeneity(self, fed: Federation) -> dict[str, Constant]:
        gradient, curvature, _ = self._reasons(None)
        return {
            "gamma_G": Constant.none(1, f"needs B ({gradient})"),
            "gamma_H": Constant.none(1, f"needs L ({curvature})"),
        }


def _whole(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)
