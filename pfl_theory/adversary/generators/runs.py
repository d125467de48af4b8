"""Short runs of curves, with data and without; every variant; n = 1, r n = 1, tau = K = 1; steps beside limits."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...algorithms.baselines import FedAvg
from ...algorithms.per_fedavg import PerFedAvg
from ...judging.instance import Instance
from ...losses.piecewise import Curve, Piecewise
from ...problems.problem import Problem
from . import _sizes, batches, curves

SHARES = (0.02, 0.1 * (1 - 1e-9), 0.1, 0.1 * (1 + 1e-6), 0.3, 0.9, 0.98, 1.01)


def bounded(curve: Curve, rng: np.random.Generator) -> Curve:
    """The curve turned and tilted so that f' <= 0 far left and >= 0 far right, now and then by a little not."""
    rise = float(curve.gradient(curve.x[-1:])[0] - curve.gradient(curve.x[:1])[0])
    share = float(rng.choice([0.0, 1.0, -1e-3])) if rng.random() < 0.15 else float(rng.uniform(0.01, 0.99))
    return Curve(curve.x, curve.h if rise >= 0 else -curve.h, float(curve.x[0]), -abs(rise) * share)


def draw(rng: np.random.Generator) -> Instance:
    """One to three users, up to two rounds of up to two steps; every other time as the assumptions want them."""
    base, kept = curves.draw(rng), bool(rng.random() < 0.5)
    users = list(base.problem.family.curves[:3])
    if kept or rng.random() < 0.4:
        users = [bounded(c, rng) for c in users]
    unit = float(np.ptp(users[0].x))
    steep = max(c.steepest for c in users) or 1.0
    data = batches.noise(rng, steep * float(10.0 ** rng.uniform(-3, 0)), unit) if rng.random() < 0.5 else None
    if data is not None and len(data.coefficients) > 2:
        data = None
    problem = Problem.from_curves(Piecewise(users, data))
    n = len(users)
    L = problem.constants()["L"].max()
    alpha = _sizes.step(rng, L) if rng.random() < 0.8 else 0.0
    if kept and alpha * L > 1:
        alpha = _sizes.pick(rng, (0.7, 0.7, 1 + 1e-6)) / L
    m = 1 if data is not None else int(_sizes.pick(rng, (n, n, *range(1, n + 1))))
    tau, rounds = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    if data is not None:
        rounds = 1 if tau > 1 else rounds
    kind = _sizes.pick(rng, ("exact",) * (9 if kept else 3) + ("first-order", "hessian-free", "fedavg"))
    size = [1 if rng.random() < 0.6 else None for _ in range(3)]
    replace = bool(rng.random() < 0.85)
    found = problem.meta_smoothness(alpha)
    L_F = max(float(found[0].max()), 1e-6 * L) if found is not None else 1.0
    if kept:  # steps for the constants of the assumptions
        c, a = problem.constants(), 1 + alpha * L
        L_F = _sizes.pick(rng, (a * a * L, 4 * L)) + alpha * c["rho"].max() * c["B"].max()
    beta = float(rng.choice(SHARES[: 4 if kept else 8])) / tau / (L_F or 1.0)
    beta = min(max(beta, 1e-30), 1e30)
    if kind == "fedavg":
        algorithm: PerFedAvg | FedAvg = FedAvg(
            beta=beta, local_steps=tau, participation=m, batch=size[1], replace=replace
        )
    else:
        delta = unit / steep * float(10.0 ** rng.uniform(-2, 0)) if kind == "hessian-free" else None
        algorithm = PerFedAvg(alpha, beta, tau, m, size[0], size[1], size[2], kind, delta, replace)
    w0 = None if rng.random() < 0.1 else np.array([float(base.points[0, 0])])  # type: ignore[index]
    return dataclasses.replace(
        base,
        problem=problem,
        alpha=alpha,
        points=None,
        ball=None,
        algorithm=algorithm,
        rounds=rounds,
        w0=w0,
        name=f"run of curves, {kind}",
    )
