"""Elementwise loops over whole slices.

The compiler runs these in vector registers; the same loops over parts of longer arrays, or with two of the arrays
equal, it runs one number at a time. Scales come in the type of the arrays: another one would raise every number to it.
"""

from __future__ import annotations

from .jit import helper


@helper
def multiply(out, by):  # type: ignore[no-untyped-def]
    """out *= by."""
    for j in range(len(out)):
        out[j] *= by[j]


@helper
def copy(out, a):  # type: ignore[no-untyped-def]
    """out = a."""
    for j in range(len(out)):
        out[j] = a[j]


@helper
def product(out, a, b):  # type: ignore[no-untyped-def]
    """out = a * b."""
    for j in range(len(out)):
        out[j] = a[j] * b[j]


@helper
def scaled(out, scale, a):  # type: ignore[no-untyped-def]
    """out = scale * a."""
    for j in range(len(out)):
        out[j] = scale * a[j]


@helper
def gain(out, scale, a):  # type: ignore[no-untyped-def]
    """out += scale * a."""
    for j in range(len(out)):
        out[j] += scale * a[j]


@helper
def add_scaled(out, a, scale, b):  # type: ignore[no-untyped-def]
    """out = a + scale * b; where `out` is `a`, :func:`gain` is faster."""
    for j in range(len(out)):
        out[j] = a[j] + scale * b[j]
