"""Finite-sample intervals for verdicts that rest on sampling, and the level at which they are stated.

At most `TOGETHER` sampled verdicts are judged together; each has level `LEVEL`, so that all of them are right at once
with probability at least 1 - `ERROR` (Bonferroni). The intervals are proved for every sample size, not asymptotic:
docs/theory/batches.md#9-1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from .interval import Interval

ERROR = 1e-3  # of all sampled verdicts together
TOGETHER = 32  # sampled verdicts that are judged together, at most
LEVEL = 1 - ERROR / TOGETHER  # of one


class Summary(NamedTuple):
    """Number, mean and sum of squared deviations of samples; summaries of blocks are added with :func:`merged`."""

    number: int
    mean: float
    deviations: float


def summary(values: NDArray) -> Summary:
    """Summary of one block, values of shape (k,)."""
    mean = float(values.mean())
    return Summary(len(values), mean, float(((values - mean) ** 2).sum()))


def merged(a: Summary, b: Summary) -> Summary:
    """Summary of two blocks (Chan, Golub and LeVeque 1983).

    Examples
    --------
    >>> merged(Summary(2, 0.5, 0.5), Summary(1, 2.0, 0.0))
    Summary(number=3, mean=1.0, deviations=2.0)
    """
    number = a.number + b.number
    gap = b.mean - a.mean
    return Summary(
        number, a.mean + gap * b.number / number, a.deviations + b.deviations + gap**2 * a.number * b.number / number
    )


def empirical_bernstein(found: Summary, largest: float, error: float) -> float:
    """How far the expectation of samples in [0, largest] may lie from their mean on either side: exceeded with
    probability at most `error`.

    Maurer and Pontil (2009), Theorem 4, for X / largest and for 1 - X / largest with `error` / 2 each.

    Examples
    --------
    >>> round(empirical_bernstein(Summary(1001, 0.5, 0.0), 1.0, 4 * math.exp(-3.0)), 12)
    0.007
    """
    require(found.number >= 2, f"{found.number} sample; an interval needs at least 2: use a larger runs=")
    log = math.log(4 / error)
    variance = found.deviations / (found.number - 1)
    return math.sqrt(2 * variance * log / found.number) + 7 * largest * log / (3 * (found.number - 1))


STAKE = 0.75  # share of the capital that may be lost on one sample


def mean_interval(values: NDArray, largest: float, error: float) -> Interval:
    """Interval for the expectation of independent samples in [0, largest], whatever their law: it misses with
    probability at most `error`.

    By betting (Waudby-Smith and Ramdas 2024, section 4.1; proof: docs/theory/batches.md#9-1-betting). Against "the mean
    is m" a gambler holds prod (1 + s_j (x_j - m)), s_j chosen before x_j: a capital of mean 1 if m is right, so that it
    reaches 2 / error with probability at most error / 2. The lower end needs no upper bound of the samples: it stays
    sharp where they are much smaller than `largest`.

    Parameters
    ----------
    values : ndarray, shape (N,)
        N >= 2 independent samples, in an order fixed beforehand.
    largest : float
        What no sample exceeds.
    error : float

    Raises
    ------
    InputError
        Fewer than two samples, or one outside [0, largest].

    Examples
    --------
    >>> found = mean_interval(np.tile([0.4, 0.6], 500), 1.0, 0.05)
    >>> found.lower < 0.5 < found.upper, found.width < 0.03
    (True, True)
    """
    x = np.asarray(values, dtype=np.float64)
    require(len(x) >= 2, f"{len(x)} sample; an interval needs at least 2: use a larger runs=")
    inside = bool(x.min() >= 0 and x.max() <= largest)
    require(inside, f"samples from {x.min():.6g} to {x.max():.6g} are not all between 0 and {largest:.6g}")
    if largest == 0:
        return Interval(0.0, 0.0)
    y = x / largest
    margin = len(x) * 2.0**-46  # of the rounding of sums of logarithms and of y
    lower = _lower_end(y, math.log(2 / error) + margin)
    upper = 1 - _lower_end(1 - y, math.log(2 / error) + margin)
    return Interval(lower * largest * (1 - 2.0**-40), upper * largest * (1 + 2.0**-40))


def _lower_end(y: NDArray, goal: float) -> float:
    """Smallest m in [0, 1] at which the logarithm of the capital is below `goal`; it falls with m."""
    count = np.arange(1, len(y) + 1)
    away = (y - np.cumsum(y) / count) ** 2
    # stakes know the samples before theirs only, and measure them by the first: they move with the unit of y
    variance = (y[0] ** 2 / 4 + np.cumsum(away)[:-1]) / (1 + count[:-1])
    with np.errstate(divide="ignore"):
        stake = np.concatenate([[0.0], np.sqrt(2 * goal / (len(y) * variance))])

    def capital(m: float) -> float:
        return float(np.log1p(np.minimum(stake, STAKE / m) * (y - m)).sum())

    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if capital(middle) >= goal else (low, middle)
    return low


def norm_of_mean(count: int, largest: float, mean_square: float, error: float) -> float:
    """How far the mean of `count` independent vectors may lie from its expectation: exceeded with probability at most
    `error`.

    For vectors of norm at most `largest` and mean square norm at most `mean_square`, in any dimension: Smale and Zhou
    (2007), Lemma 2, which follows from Pinelis (1994).

    Examples
    --------
    >>> round(norm_of_mean(1000, 1.0, 0.0, 2 * math.exp(-3.0)), 12)
    0.006
    """
    log = math.log(2 / error)
    return 2 * largest * log / count + math.sqrt(2 * mean_square * log / count)


def note(count: int, lhs: Interval, rhs: Interval) -> str:
    """A sentence for the verdict: how many samples, at which level and, where the sides overlap, how many would settle
    it.
    """
    text = f"Sampled with N = {count}, level {LEVEL:.7g} each, at most {TOGETHER} judged together."
    if lhs.upper <= rhs.lower or lhs.lower > rhs.upper:
        return text
    gap = abs(rhs.middle - lhs.middle)
    if gap <= 1e-3 * lhs.width:
        return f"{text} The sides are too close for sampling to settle it."
    return f"{text} About {math.ceil(count * max(1.0, 1.1 * (lhs.width / 2 / gap)) ** 2):.2g} samples would settle it."
