"""Many independent runs at once, for users whose functions are scalar quadratics with Gaussian noise: what exact
expectations are judged against.

Runs stand side by side in vector registers. Every random number is a function of (seed, run, round, user, step), so any
chunk of runs gives the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..algorithms.algorithm import participants
from ..algorithms.baselines import FedAvg
from ..algorithms.local_steps import FIRST_ORDER, PLAIN
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import require
from ..kernels.jit import chunks, kernel, over_users, scalar
from ..kernels.philox import philox, stream_key
from ..kernels.vector_math import fma, from_bits, log, sin_cos_turn

SIDE = 64  # runs side by side
TWO_52 = 4503599627370496.0


class MonteCarlo(NamedTuple):
    """Averages over runs.

    Attributes
    ----------
    rounds : ndarray of int, shape (records,)
    gradient_norm2 : ndarray, shape (records,)
        Mean over runs of F'(w_k)^2.
    standard_error : ndarray, shape (records,)
        Of that mean.
    w : ndarray, shape (runs,)
        Last iterates.
    """

    rounds: NDArray
    gradient_norm2: NDArray
    standard_error: NDArray
    w: NDArray


@scalar
def word_unit(word):  # type: ignore[no-untyped-def]
    """A 32-bit word (in a uint64) as a number in (0, 1): (word + 1/2) / 2^32."""
    return (from_bits(np.int64(word) | 0x4330000000000000) - TWO_52 + 0.5) * 2.3283064365386963e-10


@kernel
def normals(key, round_, step, who, z):  # type: ignore[no-untyped-def]
    """Three standard normals for each of SIDE runs, to z[0:SIDE], z[SIDE:2 SIDE], z[2 SIDE:]; `who` is user + 2^32 run.

    Box-Muller on the four words of a Philox block, so |z| < 6.77. One flat array with constant offsets: the compiler
    sees that the three parts do not overlap, and keeps the whole loop in vector registers.
    """
    for k in range(SIDE):
        a, b, c, d = philox(key, round_, who[k], step, who[k] >> 32)
        radius = np.sqrt(-2.0 * log(word_unit(a)))
        sine, cosine = sin_cos_turn(word_unit(b))
        _, other = sin_cos_turn(word_unit(d))
        z[k] = radius * sine
        z[SIDE + k] = radius * cosine
        z[2 * SIDE + k] = np.sqrt(-2.0 * log(word_unit(c))) * other


@kernel
def quadratic_runs(  # type: ignore[no-untyped-def]
    curvature, centre, noise, meta, plan, count, rounds, every, start, user_key, noise_key, first, last, sums, final
):
    """Runs first .. last in blocks of SIDE. `meta` holds the slope and offset of F'; `sums[r]` gains F'(w)^2 and its
    square at record r.
    """
    n = len(curvature)
    w, local, total = np.empty(SIDE), np.empty(SIDE), np.empty(SIDE)
    a, c = np.empty(SIDE), np.empty(SIDE)
    z, who = np.empty(3 * SIDE), np.empty(SIDE, np.int64)
    chosen, run = np.empty((count, SIDE), np.int64), np.empty(SIDE, np.int64)
    order = np.empty(n, np.int64)
    step_alpha = 0.0 if plan.variant == FIRST_ORDER else plan.alpha  # first-order: the Hessian term is dropped
    for begin in range(first, last, SIDE):
        size = min(SIDE, last - begin)
        for k in range(SIDE):
            w[k], run[k] = start, begin + k
        record = 0
        for round_ in range(rounds + 1):
            if round_ % every == 0 or round_ == rounds:
                for k in range(size):
                    square = (meta[0] * w[k] - meta[1]) ** 2
                    sums[record, 0] += square
                    sums[record, 1] += square * square
                record += 1
            if round_ == rounds:
                break
            for k in range(SIDE):
                if count == n:
                    for j in range(n):
                        chosen[j, k] = j
                else:
                    for j in range(n):
                        order[j] = j
                    for j in range(0, count, 4):
                        words = philox(user_key, round_, j // 4, 0, run[k])
                        for e in range(min(4, count - j)):
                            here = j + e
                            word = words[0] if e == 0 else words[1] if e == 1 else words[2] if e == 2 else words[3]
                            other = here + np.int64(
                                (word * np.uint64(n - here)) >> np.uint64(32)
                            )  # off uniform by at most n / 2^32
                            order[here], order[other] = order[other], order[here]
                            chosen[here, k] = order[here]
            for k in range(SIDE):
                total[k] = 0.0
            for j in range(count):
                user = chosen[j]
                for k in range(SIDE):
                    a[k], c[k], local[k], who[k] = curvature[user[k]], centre[user[k]], w[k], user[k] + (run[k] << 32)
                for t in range(plan.local_steps):
                    normals(noise_key, round_, t, who, z)
                    if plan.variant == PLAIN:
                        for k in range(SIDE):
                            local[k] -= plan.beta * fma(a[k], local[k] - c[k], noise[1] * z[SIDE + k])
                    else:
                        for k in range(SIDE):
                            adapted = local[k] - plan.alpha * fma(a[k], local[k] - c[k], noise[0] * z[k])
                            v = fma(a[k], adapted - c[k], noise[1] * z[SIDE + k])
                            local[k] -= plan.beta * (v - step_alpha * (fma(noise[2], z[2 * SIDE + k], a[k]) * v))
                for k in range(SIDE):
                    total[k] += local[k]
            for k in range(SIDE):
                w[k] = total[k] / count
        for k in range(size):
            final[begin + k] = w[k]


def quadratic_monte_carlo(
    algorithm: PerFedAvg | FedAvg,
    curvature: ArrayLike,
    centre: ArrayLike,
    *,
    runs: int,
    rounds: int,
    noise: tuple[float, float, float] = (0.0, 0.0, 0.0),
    w0: float = 0.0,
    seed: int = 0,
    every: int = 1,
) -> MonteCarlo:
    """Independent runs of `algorithm` on f_i(w) = (curvature_i / 2)(w - centre_i)^2 with Gaussian noise.

    Parameters
    ----------
    algorithm : PerFedAvg or FedAvg
        Its batch sizes are not read: `noise` is that of the batch means.
    curvature, centre : array_like, shape (n,)
    runs, rounds : int
    noise : tuple of 3 floats
        Standard deviations of the batch means of inner gradient, outer gradient and Hessian. (The Hessian-free variant
        equals the exact one here: both difference points see one batch, and f_i is quadratic.)
    w0 : float
        First model.
    every : int
        Record at rounds 0, every, ... and after the last.

    Returns
    -------
    MonteCarlo

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> users, noise = ([1.0, 1.0], [-1.0, 1.0]), (0.0, 0.1, 0.0)
    >>> found = quadratic_monte_carlo(pfl.FedAvg(beta=0.5), *users, runs=100, rounds=40, noise=noise)
    >>> bool(abs(found.gradient_norm2[-1] - 0.5 * 0.01 / 2 / 1.5) < 5 * found.standard_error[-1])
    True
    """
    a, c = np.array(curvature, dtype=np.float64), np.array(centre, dtype=np.float64)
    require(
        a.ndim == 1 and a.shape == c.shape and len(a) > 0,
        f"curvature has shape {a.shape} and centre {c.shape}; give (n,) and (n,)",
    )
    require(bool(np.isfinite(a).all() and np.isfinite(c).all()), "curvature or centre contain NaN or infinity")
    sigma = np.array(noise, dtype=np.float64)
    require(sigma.shape == (3,) and bool((sigma >= 0).all()), f"noise = {noise}; give three standard deviations >= 0")
    for name, value in (("runs", runs), ("rounds", rounds), ("every", every)):
        require(isinstance(value, (int, np.integer)) and value >= 1, f"{name} = {value!r}; must be an integer >= 1")
    n = len(a)
    if isinstance(algorithm, FedAvg):
        from ..algorithms.local_steps import plain_plan

        alpha, plan = 0.0, plain_plan(algorithm.beta, algorithm.local_steps, None, True)
    else:
        alpha, plan = algorithm.alpha, algorithm.plan
    slopes = a * (1 - alpha * a) ** 2  # F_i'(w) = slope_i (w - c_i)
    meta = np.array([slopes.mean(), (slopes * c).mean()])
    at = np.array([k for k in range(rounds) if k % every == 0] + [rounds])
    blocks = -(-runs // SIDE)
    pieces = [
        (b0 * SIDE, min(b1 * SIDE, runs)) for b0, b1 in chunks(blocks, 50.0 * runs * rounds * n * plan.local_steps)
    ]
    sums, final = np.zeros((len(pieces), len(at), 2)), np.empty(runs)
    keys = stream_key(seed, "monte carlo users"), stream_key(seed, "monte carlo noise")
    count = participants(algorithm.participation, n)
    over_users(
        lambda piece, first, last: quadratic_runs(
            a, c, sigma, meta, plan, count, rounds, every, float(w0), *keys, first, last, sums[piece], final
        ),
        pieces,
    )
    mean, square = sums.sum(0).T / runs
    error = np.sqrt(np.maximum(square - mean**2, 0.0) / max(runs - 1, 1))
    return MonteCarlo(at, mean, error, final)
