"""Long runs of quadratic users: rows in one or two dimensions, batches of every size, up to 10^9 rounds."""

from __future__ import annotations

import numpy as np

from ...algorithms.baselines import FedAvg
from ...algorithms.per_fedavg import PerFedAvg
from ...federations.federation import Federation
from ...judging.instance import Instance
from ...losses.quadratic import Quadratic
from ...problems.problem import Problem
from . import _sizes


def draw(rng: np.random.Generator) -> Instance:
    """One to three users; equal ones, one row, curvatures of either sign for few rounds."""
    n, d = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    parts = rng.normal(size=(n, d, d))
    convex = rng.random() < 0.6
    a = parts @ parts.transpose(0, 2, 1) / d if convex else (parts + parts.transpose(0, 2, 1)) / 2
    scale = _sizes.mild_scale(rng)
    a = a * scale
    unit = _sizes.scale(rng)
    rows = int(rng.integers(1, 4))
    x = [rng.normal(size=(rows, d)) * unit * rng.choice([0.0, 1.0]) + rng.normal(size=d) * unit for _ in range(n)]
    if rng.random() < 0.1:
        x, a = [x[0]] * n, np.repeat(a[:1], n, 0)
    replace = bool(rng.random() < 0.6)
    p = None if not replace or rng.random() < 0.6 else [_sizes.weights(rng, rows) for _ in range(n)]
    problem = Problem(Quadratic(a), Federation.from_arrays(x, sample_weight=p))
    L = float(np.abs(np.linalg.eigvalsh(a)).max())
    alpha = _sizes.step(rng, L) if rng.random() < 0.7 else 0.0
    found = problem.meta_smoothness(alpha)
    assert found is not None
    tau, m = int(rng.integers(1, 5)), int(rng.integers(1, n + 1))
    beta = float(rng.choice([0.02, 0.1, 0.3, 0.9, 0.985, 1.02])) / tau / (max(float(found[0].max()), 1e-6 * L) or 1.0)
    size = [None if rng.random() < 0.3 else int(rng.integers(1, rows + 1 + int(replace))) for _ in range(3)]
    if alpha == 0 and rng.random() < 0.7:
        algorithm: PerFedAvg | FedAvg = FedAvg(
            beta=beta, local_steps=tau, participation=m, batch=size[0], replace=replace
        )
    else:
        kind = _sizes.pick(rng, ("exact",) * 6 + ("hessian-free", "first-order"))
        algorithm = PerFedAvg(alpha, beta, tau, m, size[0], size[1], size[2], kind, None, replace)
    rounds = int(10.0 ** rng.uniform(0, 9)) if convex else int(rng.integers(1, 6))
    w0 = rng.normal(size=d) * unit * float(rng.choice([0.0, 1.0, 10.0]))
    return Instance(problem, alpha, None, "run of quadratics", algorithm, rounds=rounds, w0=w0)
