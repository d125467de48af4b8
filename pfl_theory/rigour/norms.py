"""Euclidean norms that neither underflow nor overflow on the way: 0 only where the vector is 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def norms(vectors: NDArray) -> NDArray:
    """Norms along the last axis, squares taken of numbers near 1.

    The scale is a power of two: where squares are normal numbers the result has the bits of the plain formula.

    Examples
    --------
    >>> norms(np.array([[3e-200, 4e-200], [0.0, 0.0]])).tolist()
    [5e-200, 0.0]
    """
    v = np.asarray(vectors, dtype=np.float64)
    _, exponent = np.frexp(np.abs(v).max(axis=-1, initial=0.0))
    scaled = np.ldexp(v, -exponent[..., None])
    return np.asarray(np.ldexp(np.sqrt((scaled**2).sum(-1)), exponent))


def root_mean_square(vectors: NDArray, weights: NDArray | None = None) -> float:
    """(sum_j weights_j ||v_j||^2)^(1/2), weights 1/m when absent.

    Examples
    --------
    >>> float(f"{root_mean_square(np.array([[1e-200], [7e-200]])):.9g}")
    5e-200
    """
    v = np.asarray(vectors, dtype=np.float64)
    _, exponent = np.frexp(np.abs(v).max(initial=0.0))
    squares = (np.ldexp(v, -int(exponent)) ** 2).reshape(len(v), -1).sum(1)
    mean = squares.mean() if weights is None else weights @ squares
    return float(np.ldexp(np.sqrt(mean), int(exponent)))
