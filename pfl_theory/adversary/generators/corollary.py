"""Users with one flat curvature where a run comes, at the corollary's parameters or one beside them."""

from __future__ import annotations

import numpy as np

from ...algorithms.baselines import FedAvg
from ...judging.instance import Instance
from ...losses.piecewise import Curve, Piecewise
from ...problems.problem import Problem
from . import _sizes


def draw(rng: np.random.Generator) -> Instance:
    """Two to four users at alpha = 0; K exact, or off by one; epsilon at the limits of the statement on rounds."""
    n = int(rng.integers(2, 5))
    c = rng.uniform(-1, 1, n)
    L = float(rng.choice([1.0, 0.5, 2.0]))
    tip = float(rng.choice([0.0, 0.0, 0.0, -1e-9, 0.1]))  # f'' beyond the plateau
    x = np.array([-6.0, -4.0, 4.0, 6.0, 7.0, 8.0])
    h = np.array([0.0, L, L, 0.0, tip * L, 0.0])
    users = [Curve(x, h, 0.0, -L * v) for v in c]
    if rng.random() < 0.1:
        users[0] = Curve(x, h * (1 - 1e-9), 0.0, -L * c[0])
    problem = Problem.from_curves(Piecewise(users))
    m = int(rng.integers(1, n + 1))
    w0 = float(rng.choice([-1, 1]) * rng.uniform(0.3, 3.5))
    if rng.random() < 0.5:
        k = int(_sizes.pick(rng, (2, 3, 4)))
        epsilon = 10.0**-k if rng.random() < 0.7 else float(np.nextafter(10.0**-k, 0))
        one = 1 / epsilon
        tau, rounds = int(np.ceil(round(one**0.5, 9))), int(np.ceil(round(one**1.5, 6)))
        if rng.random() < 0.15:
            rounds += 1
        algorithm = FedAvg(beta=epsilon, local_steps=tau, participation=m)
    else:
        slope = L * (w0 - c)
        A = float(slope.mean() ** 2)
        P = (n - m) / (m * (n - 1)) * float(slope.var())
        limit = min(A / 10, P / 2) or 0.1
        epsilon = limit * float(rng.choice([0.999999, 1.000001, 0.3, 0.05]))
        rounds = 1
        algorithm = FedAvg(beta=float(rng.choice([0.1, 1.0, 1.000001])) / L, local_steps=1, participation=m)
    return Instance(problem, 0.0, None, "one curvature", algorithm, rounds=rounds, w0=np.array([w0]), epsilon=epsilon)
