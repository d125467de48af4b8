"""The stochastic meta-gradient G~ = (I - alpha H_i(w; D'')) g_i(w - alpha g_i(w; D); D') of one user: exact by
enumeration, or sampled.

Every batch of a finite support is enumerated: multisets with their multinomial probabilities where batches are drawn
with replacement, subsets without. Nothing is known here of how variances of means behave: the statements are about
that. Derivation of the rounding bound and of the sampling intervals: docs/theory/batches.md#9-1.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..algorithms.baselines import FedAvg
from ..errors import InputError, require
from ..federations.federation import Federation
from ..losses.cosine import Cosine
from ..losses.noise import Bump, FiniteNoise, Flat, Sine
from ..losses.piecewise import Curve
from ..problems.curves import gradient_error, hessian_error
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT, weigh_equally
from ..rigour.sampling import ERROR, TOGETHER, Summary, empirical_bernstein, merged, norm_of_mean, summary
from ..seeds import generator

LARGEST_ENUMERATION = 10**8  # outcomes of (D, D', D'') for one user at one point


BLOCK = 2**17  # numbers in one array of a block


LARGEST_BATCH = 170  # 170! is the last factorial that is a float


LARGEST_SUPPORT = 2**21  # data times coordinates


KEPT_TABLE = 2**15  # numbers in all batches that are listed once and gone through again and again


FACTORIALS = np.array([float(math.factorial(k)) for k in range(LARGEST_BATCH + 1)])


class Sizes(NamedTuple):
    """Sizes of D, D', D'' (None: the exact expectation) and whether they are drawn with replacement."""

    inner: int | None
    outer: int | None
    hessian: int | None
    replace: bool


def batch_sizes(algorithm: Any) -> Sizes:
    """Batches of Per-FedAvg or FedAvg; FedAvg has one, that of its gradient."""
    if isinstance(algorithm, FedAvg):
        return Sizes(None, algorithm.batch, None, bool(algorithm.replace))
    return Sizes(algorithm.batch_inner, algorithm.batch_outer, algorithm.batch_hessian, bool(algorithm.replace))


def batch_count(size: int | None, m: int, *, replace: bool) -> int:
    """Number of batches that are enumerated: multisets or subsets.

    Examples
    --------
    >>> batch_count(2, 3, replace=True), batch_count(2, 3, replace=False), batch_count(None, 3, replace=True)
    (6, 3, 1)
    """
    if size is None:
        return 1
    return math.comb(m + size - 1, size) if replace else math.comb(m, size)


def batches(size: int | None, weights: NDArray, *, replace: bool, rows: int) -> Iterator[tuple[NDArray, NDArray]]:
    """All batches, at most `rows` at a time.

    Parameters
    ----------
    size : int or None
        None: one batch, the exact expectation.
    weights : ndarray, shape (m,)
        Probabilities of the data.
    replace : bool
    rows : int

    Yields
    ------
    probability : ndarray, shape (k,)
    share : ndarray, shape (k, m)
        Share of each datum in the batch: a batch mean is share @ values.

    Examples
    --------
    >>> [(p.tolist(), s.tolist()) for p, s in batches(2, np.array([0.25, 0.75]), replace=True, rows=10)]
    [([0.0625, 0.375, 0.5625], [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])]
    """
    m = len(weights)
    if size is None:
        yield np.ones(1), weights[None]
        return
    every = batch_count(size, m, replace=replace)
    for count in _counts(size, m, replace, rows):
        if replace:
            several = FACTORIALS[size] / FACTORIALS[count].prod(1)
            probability = several * (weights**count).prod(1)
        else:
            probability = np.full(len(count), 1.0 / every)
        yield probability, count / size


def _counts(size: int, m: int, replace: bool, rows: int) -> Iterator[NDArray]:
    """How often each datum is in a batch, shape (k, m), `rows` batches at a time."""
    chosen = (
        itertools.combinations_with_replacement(range(m), size) if replace else itertools.combinations(range(m), size)
    )
    stream = itertools.chain.from_iterable(chosen)
    while True:
        flat = np.fromiter(itertools.islice(stream, rows * size), dtype=np.int64)
        if not flat.size:
            return
        k = len(flat) // size
        place = flat.reshape(k, size) + m * np.arange(k)[:, None]
        yield np.bincount(place.ravel(), minlength=k * m).reshape(k, m)


class UserData(Protocol):
    """A user's function datum by datum, with bounds of what a datum can do and of its rounding.

    Weights sum to 1, and noise to 0, only up to rounding: `offset` says how far.
    """

    @property
    def weights(self) -> NDArray:
        """Probabilities of the data, shape (m,)."""

    @property
    def dim(self) -> int:
        """d."""

    @property
    def steepest(self) -> float:
        """Bound of every datum's gradient."""

    @property
    def curvature(self) -> float:
        """Bound of every datum's Hessian."""

    @property
    def offset(self) -> tuple[float, float]:
        """Bounds of how far the mean over the data is from f_i, in gradient and Hessian."""

    def gradients(self, points: NDArray) -> NDArray:
        """Gradients of every datum at points (k, d), shape (m, k, d)."""

    def hvps(self, w: NDArray, v: NDArray) -> NDArray:
        """Hessians of every datum at w (d,) times v (k, d), shape (m, k, d)."""

    def drawn_gradients(self, points: NDArray, rows: NDArray) -> NDArray:
        """Mean gradient of batch rows[j] at points[j]: (k, d), (k, D) -> (k, d)."""

    def drawn_hvps(self, w: NDArray, v: NDArray, rows: NDArray) -> NDArray:
        """Mean Hessian of batch rows[j] at w times v[j]: (d,), (k, d), (k, D) -> (k, d)."""

    def errors(self, w: NDArray, reach: float) -> tuple[float, float]:
        """Bounds of the rounding of one datum's gradient at points of norm up to `reach`, and of its Hessian at w."""

    def content(self) -> bytes:
        """What names the streams of random numbers."""


def _shape_errors(shape: Flat | Sine | Bump, distance: float) -> tuple[float, float]:
    """Rounding of S' and S'' at a distance from the shape's center: the argument of a sine is rounded twice, a bump's
    polynomial has few terms.
    """
    if isinstance(shape, Flat):
        return 0.0, 0.0
    if isinstance(shape, Sine):
        return 4 * UNIT * (distance + shape.eps), 4 * UNIT * (1 + distance / shape.eps)
    return 32 * UNIT, 128 * UNIT / shape.radius


@dataclass(frozen=True, eq=False)
class CurveData:
    """A piecewise user whose data add finite noise."""

    curve: Curve
    noise: FiniteNoise

    @functools.cached_property
    def weights(self) -> NDArray:
        p = np.asarray(self.noise.weights)
        return p / p.sum()

    @property
    def dim(self) -> int:
        return 1

    @functools.cached_property
    def _suprema(self) -> NDArray:
        return np.array([s.suprema for s in self.noise.shapes])  # (k, 2)

    @functools.cached_property
    def _largest(self) -> NDArray:
        return np.asarray((np.abs(self.noise.coefficients) @ self._suprema).max(0))

    @functools.cached_property
    def steepest(self) -> float:
        return self.curve.steepest + float(self._largest[0])

    @functools.cached_property
    def curvature(self) -> float:
        return self.curve.curvature + float(self._largest[1])

    @functools.cached_property
    def offset(self) -> tuple[float, float]:
        c, p = self.noise.coefficients, self.weights
        mean = np.abs(p @ c) + (len(p) + 4) * UNIT * (p @ np.abs(c))
        gradient, hessian = (mean @ self._suprema)[:2]
        return float(gradient), float(hessian)

    def gradients(self, points: NDArray) -> NDArray:
        w = points[:, 0]
        return (self.curve.gradient(w)[:, None] + self.noise.gradients(w)).T[..., None]

    def _hessians(self, w: NDArray) -> NDArray:
        return (self.curve.hessian(w)[:, None] + self.noise.hessians(w))[0]

    def hvps(self, w: NDArray, v: NDArray) -> NDArray:
        return self._hessians(w)[:, None, None] * v

    def drawn_gradients(self, points: NDArray, rows: NDArray) -> NDArray:
        return self.gradients(points)[rows.T, np.arange(len(points)), :].mean(0)

    def drawn_hvps(self, w: NDArray, v: NDArray, rows: NDArray) -> NDArray:
        return self._hessians(w)[rows].mean(1)[:, None] * v

    def errors(self, w: NDArray, reach: float) -> tuple[float, float]:
        moved = 0.0
        bent = 0.0
        largest = np.abs(self.noise.coefficients).max(0)
        for shape, size, top in zip(self.noise.shapes, largest, self._suprema, strict=True):
            center = getattr(shape, "center", 0.0)
            moved += size * (_shape_errors(shape, reach + abs(center))[0] + (len(largest) + 2) * UNIT * top[0])
            bent += size * (_shape_errors(shape, abs(float(w[0]) - center))[1] + (len(largest) + 2) * UNIT * top[1])
        return gradient_error([self.curve]) + moved + UNIT * self.steepest, hessian_error(
            [self.curve]
        ) + bent + UNIT * self.curvature

    def content(self) -> bytes:
        c, n = self.curve, self.noise
        numbers = [c.x, c.h, np.array([c.anchor, c.slope]), n.coefficients, np.asarray(n.weights)]
        return b"".join(a.tobytes() for a in numbers) + repr(n.shapes).encode()


class RowData:
    """A user given by rows: one-row users for the kernels, as many copies as a block needs."""

    def __init__(self, problem: Problem, user: int, steepest: float | None = None) -> None:
        fed = problem.federation
        self._loss = problem.loss.of_user(user)
        rows = np.flatnonzero(fed.weights[fed.rows(user)] > 0) + fed.offsets[user]
        self._problem, self._rows = problem, rows
        self._x, self._y = fed.x[rows], None if fed.y is None else fed.y[rows]
        p = fed.weights[rows]
        self.weights = p / p.sum()
        self.dim = problem.dim
        constants = problem.constants()
        self.steepest = constants["B_datum"].max() if steepest is None else steepest
        self.curvature = constants["L_datum"].max()
        imbalance = abs(float(p.sum()) - 1.0) + len(p) * UNIT
        self.offset = (imbalance * self.steepest, imbalance * self.curvature)
        if isinstance(problem.loss, Cosine):  # a user's rho may be smaller than one datum's
            self._third = constants["lip_hessian_z"].max()
        else:  # rho of the user is sup |phi'''| times an eigenvalue of a sum over rows: no smaller than any row's share
            self._third = constants["rho"].max() / float(p.min())
        self._extent = fed.scale * float(np.linalg.norm(self._x.astype(np.float64), axis=1).max())
        self._kept: dict[int, Problem] = {}

    def _made(self, rows: NDArray, per_user: int) -> Problem:
        """A problem whose users are consecutive groups of `per_user` of these rows, equally weighted."""
        fed = self._problem.federation
        weights, offsets = np.full(len(rows), 1.0 / per_user), np.arange(0, len(rows) + 1, per_user)
        y = None if self._y is None else self._y[rows]
        return Problem(self._loss, Federation(self._x[rows], y, weights, offsets, fed.scale, name="batches"))

    def _copies(self, k: int) -> Problem:
        if k not in self._kept:
            if len(self._kept) >= 4:
                self._kept.clear()
            self._kept[k] = self._made(np.repeat(np.arange(len(self._x)), k), 1)
        return self._kept[k]

    def gradients(self, points: NDArray) -> NDArray:
        m, k = len(self.weights), len(points)
        return self._copies(k).gradient(np.tile(points, (m, 1))).reshape(m, k, self.dim)

    def hvps(self, w: NDArray, v: NDArray) -> NDArray:
        m, k = len(self.weights), len(v)
        return self._copies(k).hvp(w, np.tile(v, (m, 1))).reshape(m, k, self.dim)

    def drawn_gradients(self, points: NDArray, rows: NDArray) -> NDArray:
        return self._made(rows.ravel(), rows.shape[1]).gradient(points)

    def drawn_hvps(self, w: NDArray, v: NDArray, rows: NDArray) -> NDArray:
        return self._made(rows.ravel(), rows.shape[1]).hvp(w, v)

    def errors(self, w: NDArray, reach: float) -> tuple[float, float]:
        count = self.dim + 66  # section 4.2 with one row
        far = reach + self._extent
        return 2 * count * UNIT * (self.steepest + self.curvature * far), 8 * count * UNIT * (
            self.curvature + self._third * far
        )

    def content(self) -> bytes:
        y = b"" if self._y is None else self._y.tobytes()
        return self._x.tobytes() + y + self.weights.tobytes() + repr(self._problem.loss).encode()


def has_data(problem: Problem) -> bool:
    """Whether the users' data are known one by one, and what rounding does to them."""
    return problem.kind == "curves" or (problem.kind == "rows" and problem.oracle.dtype == np.float64)


def steepest_near(problem: Problem, points: NDArray, alpha: float) -> float:
    """Bound of a datum's gradient at the points and wherever a batch adapts them to: on the whole space where there is
    one, else on the balls around the points that no batch leaves.
    """
    whole = problem.constants()["B_datum"]
    if whole.usable:
        return whole.max()
    here = [problem.constants(radius=0.0, center=w)["B_datum"].max() for w in points]
    near = [alpha * g * (1 + 64 * UNIT) for g in here]
    return max(
        problem.constants(radius=r, center=w)["B_datum"].bound("B_datum") for r, w in zip(near, points, strict=True)
    )


def data_of(problem: Problem, user: int, steepest: float | None = None) -> UserData:
    """Data of one user.

    Parameters
    ----------
    problem : Problem
    user : int
    steepest : float, optional
        Bound of a datum's gradient where batches come (:func:`steepest_near`), for users given by rows; that of the
        whole space when absent.

    Raises
    ------
    InputError
        Functions whose data are not known, or a problem in float32.
    """
    if problem.kind == "rows":
        dtype = problem.oracle.dtype
        require(dtype == np.float64, f"the problem computes in {dtype}; batches are enumerated in float64")
        return RowData(problem, user, steepest)
    if problem.kind != "curves":
        raise InputError(
            "batches: the users' data are not known; give rows with a loss, or piecewise users with FiniteNoise"
        )
    family = problem.family
    return CurveData(family.curves[user], family.noise or FiniteNoise(np.zeros((1, 1)), [Flat()]))


def support_sizes(problem: Problem) -> NDArray:
    """Number m of data of every user, shape (n,)."""
    if problem.kind == "rows":
        fed = problem.federation
        return np.add.reduceat((fed.weights > 0).astype(np.int64), fed.offsets[:-1])
    noise = problem.family.noise
    return np.full(problem.n_users, 1 if noise is None else len(noise.coefficients))


def without_replacement_failure(problem: Problem, sizes: Sizes) -> str | None:
    """Why these batches cannot be drawn without replacement, or None."""
    if sizes.replace:
        return None
    largest, m = (
        max((s for s in (sizes.inner, sizes.outer, sizes.hessian) if s is not None), default=0),
        int(support_sizes(problem).min()),
    )
    if largest > m:
        return f"a batch of {largest} without replacement, but a user has {m} data."
    if largest == 0:
        return None
    if problem.kind == "rows":
        fed = problem.federation
        weights = [fed.weights[fed.rows(i)] for i in range(fed.n_users)]
    else:
        noise = problem.family.noise
        weights = [] if noise is None else [np.asarray(noise.weights)]
    for p in weights:
        if not weigh_equally(p):
            spread = float(np.abs(p * len(p) - 1).max())
            return (
                f"batches without replacement need data of equal weight: a weight is {spread:.6g} of 1/m away from 1/m."
            )
    return None


class Moments(NamedTuple):
    """E G~ and its errors for one user at one point.

    Attributes
    ----------
    gradient : ndarray, shape (d,)
        grad F_i(w).
    mean : ndarray, shape (d,)
        E G~, or the mean of the samples.
    bias : Interval
        ||E G~ - grad F_i||.
    error : Interval
        E||G~ - grad F_i||^2.
    outcomes : int
        Outcomes that were enumerated, or samples.
    """

    gradient: NDArray
    mean: NDArray
    bias: Interval
    error: Interval
    outcomes: int


def _target(data: UserData, w: NDArray, alpha: float) -> tuple[NDArray, NDArray]:
    """Gradients of all data at w (m, d), and grad F_i(w)."""
    m, d, p = len(data.weights), data.dim, data.weights
    first = data.gradients(w[None]).reshape(m, d)
    second = p @ data.gradients((w - alpha * (p @ first))[None]).reshape(m, d)
    return first, second - alpha * (p @ data.hvps(w, second[None]).reshape(m, d))


def difference_error(data: UserData, w: NDArray, alpha: float) -> float:
    """Bound of the rounding error of one computed G~ - grad F_i(w) (docs/theory/batches.md#9-1).

    Examples
    --------
    >>> curve = Curve(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    >>> data = CurveData(curve, FiniteNoise([[-0.5], [0.5]], [Flat()]))
    >>> 1e-15 < difference_error(data, np.zeros(1), 1.0) < 1e-12
    True
    """
    A, C, m = data.steepest, data.curvature, len(data.weights)
    reach = float(np.linalg.norm(w)) + alpha * A
    at_point, at_hessian = data.errors(w, reach)
    mean = (m + 4) * UNIT  # shares, products and the sum over m data
    moved = alpha * (at_point + mean * A) + 2 * UNIT * reach
    outer = at_point + C * moved + mean * A
    product = at_hessian * A + C * outer + mean * C * A
    one = outer + alpha * product + 4 * UNIT * (1 + alpha * C) * A
    off_gradient, off_hessian = data.offset
    return float(2 * one + (1 + alpha * C) ** 2 * off_gradient + alpha * A * off_hessian)


def enumerated(data: UserData, w: NDArray, alpha: float, sizes: Sizes) -> Moments:
    """Exact expectations over every triple of batches, in blocks.

    Parameters
    ----------
    data : UserData
    w : ndarray, shape (d,)
    alpha : float
    sizes : Sizes

    Raises
    ------
    InputError
        More than `LARGEST_ENUMERATION` triples, a batch beyond `LARGEST_BATCH`, or a support too large for a block.

    Examples
    --------
    >>> curve = Curve(np.array([-9.0, -8.0, 8.0, 9.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    >>> data = CurveData(curve, FiniteNoise([[-0.5], [0.5]], [Flat()]))
    >>> found = enumerated(data, np.array([1.0]), 0.0, Sizes(None, 1, None, True))
    >>> round(found.bias.middle, 12), round(found.error.middle, 12), found.outcomes
    (0.0, 0.25, 2)
    """
    p, m, d = data.weights, len(data.weights), data.dim
    counts = [batch_count(s, m, replace=sizes.replace) for s in sizes[:3]]
    total = math.prod(counts)
    largest = max(s or 0 for s in sizes[:3])
    require(
        total <= LARGEST_ENUMERATION,
        f"batches: {total:.3g} outcomes to enumerate, at most {LARGEST_ENUMERATION:g}; use runs= to sample",
    )
    require(
        largest <= LARGEST_BATCH,
        f"batches: a batch of {largest} to enumerate, at most {LARGEST_BATCH}; use runs= to sample",
    )
    require(
        m * d <= LARGEST_SUPPORT,
        f"batches: {m} data x {d} coordinates to enumerate, at most {LARGEST_SUPPORT}; use runs= to sample",
    )
    first, target = _target(data, w, alpha)
    # rows of a block of D'', of D' and of D: no array of a block has many more than BLOCK numbers (or those of one
    # point)
    e_rows = max(1, min(counts[2], BLOCK // max(d, m)))
    pairs = max(1, BLOCK // (d * max(m, e_rows)))
    c_rows = max(1, min(counts[1], pairs, BLOCK // m))
    b_rows = max(1, min(counts[0], pairs // c_rows))
    bias, square = np.zeros(d), 0.0
    every_outer = _again(sizes.outer, p, sizes.replace, c_rows)
    every_hessian = _again(sizes.hessian, p, sizes.replace, e_rows)
    for p_inner, inner in batches(sizes.inner, p, replace=sizes.replace, rows=b_rows):
        g = data.gradients(w - alpha * (inner @ first)).reshape(m, -1)
        for p_outer, outer in every_outer():
            v = (outer @ g).reshape(-1, d)
            probability = np.multiply.outer(p_outer, p_inner).ravel()
            product = data.hvps(w, v).reshape(m, -1)
            for p_hessian, share in every_hessian():
                off = (share @ product).reshape(len(share), -1, d)
                off *= -alpha
                off += v - target
                bias += probability @ (p_hessian @ off.reshape(len(share), -1)).reshape(-1, d)
                square += float(p_hessian @ (np.einsum("end,end->en", off, off) @ probability))
    one = difference_error(data, w, alpha)
    # probabilities are products of at most 4 (D + m) numbers each; sums run over blocks, then over the number of blocks
    blocks = math.ceil(counts[0] / b_rows) * math.ceil(counts[1] / c_rows) * math.ceil(counts[2] / e_rows)
    relative = (12 * (largest + m) + b_rows * c_rows + e_rows + blocks + d + 16) * UNIT
    size = math.sqrt(square)
    return Moments(
        target,
        target + bias,
        _nonnegative(float(np.linalg.norm(bias)), one + relative * size),
        _nonnegative(square, 2 * one * size + one**2 + relative * square),
        total,
    )


def _again(size: int | None, p: NDArray, replace: bool, rows: int) -> Callable[[], Iterable[tuple[NDArray, NDArray]]]:
    """All batches, as often as they are asked for: few are listed once, many made anew."""
    if batch_count(size, len(p), replace=replace) * len(p) > KEPT_TABLE:
        return lambda: batches(size, p, replace=replace, rows=rows)
    listed = list(batches(size, p, replace=replace, rows=rows))
    return lambda: listed


def sampled(
    data: UserData, w: NDArray, alpha: float, sizes: Sizes, *, draws: int, error: float = ERROR / TOGETHER
) -> Moments:
    """Both expectations from `draws` independent G~: each interval fails with probability at most `error`, proved for
    every number of draws.

    Parameters
    ----------
    data : UserData
    w : ndarray, shape (d,)
    alpha : float
    sizes : Sizes
    draws : int
        N.
    error : float

    Notes
    -----
    Random numbers are named by the content: the same instance gives the same samples.

    Examples
    --------
    >>> curve = Curve(np.array([-9.0, -8.0, 8.0, 9.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    >>> data = CurveData(curve, FiniteNoise([[-0.5], [0.5]], [Flat()]))
    >>> found = sampled(data, np.array([1.0]), 0.0, Sizes(None, 1, None, True), draws=10_000)
    >>> found.bias.lower <= 0.0 <= found.bias.upper, found.error.lower <= 0.25 <= found.error.upper
    (True, True)
    """
    p, m, d = data.weights, len(data.weights), data.dim
    first, target = _target(data, w, alpha)
    digest = hashlib.sha256(data.content() + w.tobytes()).hexdigest()
    rng = generator(0, "sampled batches", digest, alpha, tuple(sizes))
    widest = max(
        m if not sizes.replace else 1, *((s or 1) * max(d, 8) for s in sizes[:3]), m * d if None in sizes[:3] else 1
    )
    total, squares = np.zeros(d), Summary(0, 0.0, 0.0)
    rows = max(1, 8 * BLOCK // widest)
    for at in range(0, draws, rows):
        k = min(rows, draws - at)
        drawn = [None if s is None else _draw(rng, p, k, s, sizes.replace) for s in sizes[:3]]
        inner = np.broadcast_to(p @ first, (k, d)) if drawn[0] is None else first[drawn[0]].mean(1)
        points = w - alpha * inner
        v = _averaged(data, points) if drawn[1] is None else data.drawn_gradients(points, drawn[1])
        if drawn[2] is None:
            product = np.tensordot(p, data.hvps(w, v), 1)
        else:
            product = data.drawn_hvps(w, v, drawn[2])
        off = v - target - alpha * product
        total += off.sum(0)
        squares = merged(squares, summary(np.einsum("kd,kd->k", off, off)))
    one = difference_error(data, w, alpha)
    relative = (max((s or 0) for s in sizes[:3]) + rows + draws / rows + d + 16) * UNIT
    norm = float(np.linalg.norm(target)) + (1 + alpha * data.curvature) * data.steepest  # of G~ - grad F_i, at most
    rounding = 2 * one * norm + one**2 + relative * squares.mean
    # for the bias: `error` / 2 for a bound of the mean square, `error` / 2 for the mean itself
    mean_square = squares.mean + empirical_bernstein(squares, norm**2, error / 2) + rounding
    radius = norm_of_mean(draws, norm, mean_square, error / 2)
    mean = total / draws
    bias, off = float(np.linalg.norm(mean)), radius + one + relative * math.sqrt(mean_square)
    spread = empirical_bernstein(squares, norm**2, error) + rounding
    return Moments(
        target,
        target + mean,
        Interval(max(0.0, bias - off), bias + off),
        Interval(max(0.0, squares.mean - spread), squares.mean + spread),
        draws,
    )


def _averaged(data: UserData, points: NDArray) -> NDArray:
    """Gradient of f_i at each point, (k, d)."""
    return np.asarray(np.tensordot(data.weights, data.gradients(points), 1))


def _draw(rng: np.random.Generator, p: NDArray, k: int, size: int, replace: bool) -> NDArray:
    """k independent batches of row numbers, shape (k, size)."""
    if not replace:
        if size == len(p):
            return np.tile(np.arange(size), (k, 1))
        return np.argpartition(rng.random((k, len(p))), size, axis=1)[:, :size]
    if np.ptp(p) == 0:
        return rng.integers(len(p), size=(k, size))
    return rng.choice(len(p), size=(k, size), p=p)


def _nonnegative(value: float, error: float) -> Interval:
    lower, upper = max(0.0, value - error), value + error
    return Interval(lower, upper, upper - lower)
