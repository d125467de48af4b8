"""Hessian-free Per-FedAvg on curves, and on rows under the losses whose fourth derivative is known, and others."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...algorithms.per_fedavg import PerFedAvg
from ...judging.instance import Instance
from . import _sizes, curves, rows


def draw(rng: np.random.Generator) -> Instance:
    """delta ||v|| from far below the unit of w to far above it; now and then another variant."""
    base = (
        curves.draw(rng) if rng.random() < 0.55 else rows.draw(rng, names=("Cosine", "Logistic", "Logistic", "Softmax"))
    )
    base = dataclasses.replace(base, ball=None if rng.random() < 0.8 else base.ball)
    problem = base.problem
    v = problem.gradient(problem.adapted(base.points[0], base.alpha))  # type: ignore[index]
    size = float(np.abs(v).max())
    unit = float(np.abs(base.points).max()) or 1.0  # type: ignore[arg-type]
    delta = float(10.0 ** rng.uniform(-3, 1)) * (unit / size if 1e-100 < size < 1e100 else 1.0)
    variant = _sizes.pick(rng, ("hessian-free",) * 9 + ("exact",))
    algorithm = PerFedAvg(alpha=base.alpha, beta=0.1, variant=variant, delta=min(max(delta, 1e-30), 1e30))
    return dataclasses.replace(base, algorithm=algorithm, name=f"{base.name}, {variant}")
