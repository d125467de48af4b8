"""Piecewise users of one variable: zigzags, plateaus, spikes, straight lines, twins; any unit of w and of f."""

from __future__ import annotations

import numpy as np

from ...judging.instance import Instance
from ...losses.piecewise import Curve, Piecewise
from ...problems.problem import Problem
from . import _sizes


def heights(rng: np.random.Generator, k: int) -> np.ndarray:
    """Values of f'' at k nodes, 0 at both ends."""
    kind = _sizes.pick(rng, ("zigzag", "plateau", "spike", "bump", "straight", "convex", "nearly convex"))
    h = np.zeros(k)
    if kind == "zigzag":
        h[1:-1] = np.resize([1.0, -1.0], k - 2) * rng.uniform(0.2, 1, k - 2)
    elif kind == "plateau":
        h[1:-1] = float(rng.choice([-1.0, 1.0]))
    elif kind == "spike":
        h[int(rng.integers(1, k - 1))] = float(rng.choice([-1.0, 1.0]))
    elif kind == "bump":
        h[1:-1] = rng.uniform(-1, 1, k - 2)
    elif kind != "straight":
        h[1:-1] = rng.uniform(0, 1, k - 2)
    if kind == "nearly convex":
        h[int(rng.integers(1, k - 1))] = -1e-12
    return h


def family(rng: np.random.Generator, n: int) -> tuple[Piecewise, float]:
    """n users in one unit of w and of f'', and the unit of w."""
    unit, bend, k = _sizes.scale(rng), _sizes.scale(rng), int(rng.integers(3, 7))
    shared = np.cumsum(rng.uniform(0.2, 2, k)) - rng.uniform(0, k)
    curves: list[Curve] = []
    for i in range(n):
        x = shared if rng.random() < 0.6 else np.cumsum(rng.uniform(0.05, 2, k)) - rng.uniform(0, k)
        if i and rng.random() < 0.15:
            curves.append(curves[-1])  # twins
            continue
        slope = float(rng.normal()) * bend * unit * float(rng.choice([0.0, 1.0, 1.0, 5.0]))
        curves.append(Curve(x * unit, heights(rng, k) * bend, float(rng.choice(x)) * unit, slope))
    return Piecewise(curves), unit


def places(rng: np.random.Generator, users: Piecewise, unit: float, alpha: float, count: int) -> np.ndarray:
    """Nodes, floats beside them, between them, far out, what they adapt to; equal ones too."""
    nodes = np.concatenate([c.x for c in users.curves])
    low, high = nodes.min() - unit, nodes.max() + unit
    kinds = (
        lambda: _sizes.beside(rng, nodes),
        lambda: float(rng.uniform(low, high)),
        lambda: float(rng.choice(nodes) + alpha * users.curves[0].gradient(rng.choice(nodes, 1))[0]),
        lambda: float(rng.choice([-1, 1]) * 1e3 * (high - low)),
    )
    found = [_sizes.pick(rng, kinds)() for _ in range(count)]
    return np.array([*found, found[0]] if rng.random() < 0.2 else found)[:, None]


def draw(rng: np.random.Generator) -> Instance:
    """One to four users, alpha L at and beside 0, 1 and 3, now and then a ball that leaves a point just outside."""
    users, unit = family(rng, int(rng.integers(1, 5)))
    problem = Problem.from_curves(users)
    alpha = _sizes.step(rng, problem.constants()["L"].max())
    points = places(rng, users, unit, alpha, int(rng.integers(1, 4)))
    ball = None
    if rng.random() < 0.15:
        far = float(np.abs(points).max())
        ball = (far * float(rng.choice([0.999999, 1.000001, 3.0])) + 1e-300, None)
    return Instance(problem, alpha, points, "curves", ball=ball)
