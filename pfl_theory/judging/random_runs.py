"""Random runs of piecewise users, for statements about runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..federations.federation import Federation
from ..losses.cosine import Cosine
from ..losses.least_squares import LeastSquares
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.loss import Loss
from ..losses.noise import FiniteNoise, Flat
from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.problem import Problem
from .instance import GAMMAS, Instance
from .run_constants import sharp_reading, smoothness
from .staying import reach


def _rising(curve: Curve, rng: np.random.Generator) -> Curve:
    """The curve with f' <= 0 on the far left and >= 0 on the far right, so that f and with it every F is bounded
    below.
    """
    rise = float(curve.gradient(curve.x[-1:])[0] - curve.gradient(curve.x[:1])[0])
    return Curve(curve.x, curve.h if rise >= 0 else -curve.h, float(curve.x[0]), -abs(rise) * float(rng.uniform(0, 1)))


def random_piecewise_run(
    rng: np.random.Generator,
    *,
    most_s: float = 0.9,
    smooth: Callable[[Instance], float] | None = None,
    bounded: bool = False,
) -> Instance:
    """Piecewise users with and without noise, every variant, FedAvg measured on F too; a few rounds."""
    n = int(rng.integers(1, 4))
    noise = None
    if rng.random() < 0.6:
        spread = float(np.exp(rng.normal()))
        skew = float(rng.choice([1.0, 2.0]))
        noise = FiniteNoise(
            np.array([[-spread], [spread / skew]]), [Flat()], np.array([1 / (1 + skew), skew / (1 + skew)])
        )
    curves = (
        [_rising(c, rng) for c in random_piecewise(rng, n_users=n).curves]
        if bounded
        else random_piecewise(rng, n_users=n).curves
    )
    problem = Problem.from_curves(Piecewise(curves, noise))
    alpha = float(rng.uniform(0, 1)) / problem.constants()["L"].max()
    m = int(rng.integers(1, n + 1)) if noise is None else 1
    tau = int(rng.integers(1, 5)) if noise is None else int(rng.integers(1, 3))
    kind = str(rng.choice(["exact", "first-order", "hessian-free", "fedavg", "fedavg-on-F"]))
    alpha = 0.0 if kind == "fedavg" else alpha
    batches = [1 if rng.random() < 0.6 else None for _ in range(3)]
    start = np.array([float(rng.normal(scale=2))])

    def with_step(beta: float) -> Instance:
        if kind.startswith("fedavg"):
            algorithm: PerFedAvg | FedAvg = FedAvg(beta=beta, local_steps=tau, participation=m, batch=batches[1])
        else:
            delta = float(10 ** rng.uniform(-2, 0)) if kind == "hessian-free" else None
            algorithm = PerFedAvg(alpha, beta, tau, m, batches[0], batches[1], batches[2], kind, delta)
        rounds = int(rng.integers(1, 5)) if noise is None else int(rng.integers(1, 3))
        return Instance(problem, alpha, None, f"random piecewise users, {kind}", algorithm, rounds=rounds, w0=start)

    s = float(rng.choice([0.02, 0.1, 0.3, 0.9]))
    return with_step(min(s, most_s) / tau / (smooth or smoothness)(with_step(1.0)))


KINDS = ["logistic", "nonconvex", "softmax", "log-cosh", "log-cosh-regression", "cosine", "quadratic", "least-squares"]


def random_rows_run(rng: np.random.Generator, *, runs: int = 12, rounds: int = 30) -> Instance:
    """Users made from rows: any loss with the constants (quadratics and least squares on a ball that the run does not
    leave), sizes, scales from 1e-3 to 1e3, unequal users, weights, all variants and ways to know gamma, s <= 1/10.
    """
    n, d = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    kind = str(rng.choice(KINDS))
    scale, sizes = float(10 ** rng.uniform(-3, 3)), rng.integers(1, 12, n)
    middles = rng.normal(size=(n, d)) * rng.uniform(0, 2)
    x = [(middles[i] + rng.normal(size=(sizes[i], d))) * scale for i in range(n)]
    loss = _loss(kind, rng, scale)
    y: list[NDArray] | None = None
    if loss.reads_labels:
        y = [rng.integers(0, 3 if kind == "softmax" else 2, k) for k in sizes]
        y = [v + scale * rng.normal(size=len(v)) for v in y] if not loss.classifies else y
    weighted = bool(rng.random() < 0.3)
    weights = [(v := rng.uniform(0.2, 1.0, k)) / v.sum() for k in sizes] if weighted else None
    fed = Federation.from_arrays(x, y, sample_weight=weights)
    problem = Problem(loss, fed)
    alpha = float(rng.choice([0.0, rng.uniform(0, 0.95)])) / problem.constants()["L"].max()
    m = (1, n, int(rng.integers(1, n + 1)))[int(rng.integers(3))]
    tau, K = int(rng.integers(1, 6)), int(rng.integers(1, rounds + 1))
    on_ball = kind in ("quadratic", "least-squares")
    variants = ["exact"] if on_ball and alpha > 0 else ["exact", "first-order", "hessian-free", "fedavg"]
    variant = str(rng.choice(variants))
    least = int(sizes.min())
    replace = weighted or bool(rng.random() < 0.7)
    sampled = kind != "least-squares"
    batches = [int(rng.integers(1, least + 1)) if sampled and rng.random() < 0.7 else None for _ in range(3)]
    gamma = str(rng.choice(["known", "tv", "trivial"] if loss.reads_labels and not loss.classifies else GAMMAS))
    start = rng.normal(size=problem.dim) * scale ** (1 if kind in ("log-cosh", "cosine", "quadratic") else -1)

    def with_step(beta: float, ball: tuple[float, NDArray | None] | None) -> Instance:
        if variant == "fedavg":
            algorithm: PerFedAvg | FedAvg = FedAvg(beta, tau, m, batches[1], replace=replace)
        else:
            third = None if variant == "first-order" else batches[2]
            algorithm = PerFedAvg(alpha, beta, tau, m, batches[0], batches[1], third, variant, None, replace)
        name = f"random {kind} users, {variant}, gamma {gamma}"
        return Instance(problem, alpha, None, name, algorithm, ball, K, start, runs, gamma=gamma)

    s = float(rng.choice([0.01, 0.03, 0.1]))
    if not on_ball:
        return with_step(s / tau / sharp_reading(with_step(1.0, None)).L_F, None)
    # neither the smoothness of quadratics nor where contraction keeps a run depends on the ball
    beta = s / tau / sharp_reading(with_step(1.0, (1.0, None))).L_F
    return with_step(beta, (reach(with_step(beta, (1.0, None))).radius, None))


def _loss(kind: str, rng: np.random.Generator, scale: float) -> Loss:
    if kind == "softmax":
        return Softmax(3)
    if kind.startswith("log-cosh"):
        return LogCosh("regression" if "regression" in kind else "location", scale * float(rng.uniform(0.5, 2)))
    if kind == "cosine":
        return Cosine(scale * float(rng.uniform(1, 3)))
    if kind == "quadratic":
        return Quadratic(float(rng.uniform(0.1, 2)))
    if kind == "least-squares":
        return LeastSquares()
    return Logistic(nonconvex=0.05 if kind == "nonconvex" else 0.0)
