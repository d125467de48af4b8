"""Gradient steps of piecewise and quadratic users: FedAvg and Reptile with one to six steps, a L up to and beyond its
limits, a ball that holds the steps or just does not; what the statements are not about too.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...algorithms.baselines import FedAvg
from ...algorithms.reptile import Reptile
from ...judging.instance import Instance
from . import _sizes, curves, rows

LIMITS = (1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.9, 4.1)  # a L


def draw(rng: np.random.Generator) -> Instance:
    """alpha is a (K - 1)/4, or something else."""
    base = curves.draw(rng) if rng.random() < 0.5 else rows.draw(rng, names=("Quadratic",))
    L = base.problem.constants()["L"].max() if base.ball is None else base.constants["L"].max()
    x = _sizes.pick(rng, LIMITS) if rng.random() < 0.6 else float(rng.uniform(0, 1))
    a, steps, n = (x / L if L > 0 else 1.0), int(rng.integers(1, 7)), base.problem.n_users
    few = n if rng.random() < 0.95 else 1
    batch = None if rng.random() < 0.95 else 1
    if rng.random() < 0.4:
        server = "sgd" if rng.random() < 0.9 else "adam"
        rate = float(rng.choice([1.0, 1.0, 0.5, 1.7]))
        algorithm: FedAvg | Reptile = Reptile(a, steps, few, batch, server=server, server_step=rate)
    else:
        algorithm = FedAvg(a, steps, few, batch)
    alpha = a * (steps - 1) / 4 * (1.0 if rng.random() < 0.6 else float(rng.choice([0.0, 2.0, 1 + 1e-9, 0.3])))
    points, ball = base.judged_at, base.ball
    if base.problem.kind == "rows" and rng.random() < 0.8:
        far = float(np.linalg.norm(points, axis=1).max()) * (1 + x) ** steps * 3 + 1e-300
        ball = (far * float(rng.choice([1.0, 10.0, 0.1])), None)
    return dataclasses.replace(base, alpha=alpha, algorithm=algorithm, ball=ball, name="local runs")
