"""Random runs of piecewise users, for statements about runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..losses.noise import FiniteNoise, Flat
from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..problems.problem import Problem
from .instance import Instance
from .on_runs import smoothness


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
