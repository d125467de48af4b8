"""Users whose data have given Hessians: one datum, equal ones, opposite ones, any scale."""

from __future__ import annotations

import numpy as np

from ...claims.hessian_batch_norm import QuadraticData, WithHessians
from ...judging.instance import Instance
from ...problems.problem import Problem
from . import _batches, _sizes


def draw(rng: np.random.Generator) -> Instance:
    """One to four symmetric matrices, d = 1 to 3."""
    m, d = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    a = rng.normal(size=(m, d, d)) * _sizes.scale(rng)
    kind = _sizes.pick(rng, ("any", "any", "diagonal", "equal"))
    a = a + a.transpose(0, 2, 1)
    if kind == "diagonal":
        a = a * np.eye(d)
    if kind == "equal":
        a = np.repeat(a[:1], m, axis=0)
    if m > 1 and rng.random() < 0.3:
        a[1] = -a[0]
    data = QuadraticData(a)
    problem = Problem.from_functions(**data.functions())
    return WithHessians(
        problem, 1.0, np.zeros((1, d)), "Hessians datum by datum", _batches.algorithm(rng, 1.0, m), data=data
    )
