"""Curves whose data take finitely many values: one datum, twins, rare data, skew; flat noise and sines."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...judging.instance import Instance
from ...losses.noise import FiniteNoise, Flat, Sine
from ...losses.piecewise import Piecewise
from ...problems.problem import Problem
from . import _batches, _sizes, curves


def noise(rng: np.random.Generator, size: float, unit: float, *, flat: bool = False) -> FiniteNoise | None:
    """One to three data of mean zero; a rare one of probability down to 1e-6."""
    if rng.random() < 0.1:
        return None
    m = int(rng.integers(1, 4))
    if rng.random() < 0.25 and m == 2:
        p = np.array([1e-6, 1 - 1e-6]) if rng.random() < 0.5 else np.array([0.125, 0.875])
        c = np.array([np.sqrt(p[1] / p[0]), -np.sqrt(p[0] / p[1])])
    else:
        p, c = np.full(m, 1.0 / m), rng.normal(size=m)
        c = c - c.mean()
        c[-1] = -c[:-1].sum()  # mean exactly 0 for two, within rounding for three
    shape = (
        Flat()
        if flat or rng.random() < 0.6
        else Sine(float(rng.normal()) * unit, unit * float(10.0 ** rng.uniform(-3, 0)))
    )
    return FiniteNoise((c * size)[:, None], [shape], p)


def draw(rng: np.random.Generator) -> Instance:
    """One or two users with data, one or two points."""
    base = curves.draw(rng)
    users = base.problem.family
    steep = max(c.steepest for c in users.curves) or 1.0
    unit = float(np.ptp(users.curves[0].x))
    data = noise(rng, steep * float(10.0 ** rng.uniform(-3, 0.5)), unit)
    problem = Problem.from_curves(Piecewise(list(users.curves[:2]), data))
    m = 1 if data is None else len(data.coefficients)
    alpha = _sizes.step(rng, problem.constants()["L"].max())
    if rng.random() < 0.1:
        alpha = min(2 * alpha, 1e300)
    ball = base.ball if rng.random() < 0.3 else None
    points = base.points[:2]  # type: ignore[index]
    return dataclasses.replace(
        base,
        problem=problem,
        alpha=alpha,
        points=points,
        ball=ball,
        algorithm=_batches.algorithm(rng, alpha, m),
        name="curves with data",
    )
