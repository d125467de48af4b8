"""Losses on rows: one row, twins, weights down to 1e-12, equal users, rows and points an ulp apart or far away."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...federations.federation import Federation
from ...judging.instance import Instance
from ...losses.cosine import Cosine
from ...losses.least_squares import LeastSquares
from ...losses.log_cosh import LogCosh
from ...losses.logistic import Logistic
from ...losses.quadratic import Quadratic
from ...losses.softmax import Softmax
from ...problems.problem import Problem
from . import _sizes

LOSSES: dict[str, Any] = {
    "Quadratic": lambda rng, d, n: Quadratic(_matrices(rng, d, n)),
    "LeastSquares": lambda rng, d, n: LeastSquares(),
    "Logistic": lambda rng, d, n: Logistic(
        l2=_sizes.pick(rng, (0.0, 0.0, 0.3)), nonconvex=_sizes.pick(rng, (0.0, 0.0, 0.4))
    ),
    "LogCosh": lambda rng, d, n: LogCosh(
        kind=_sizes.pick(rng, ("location", "location", "regression")), c=_sizes.mild_scale(rng)
    ),
    "Softmax": lambda rng, d, n: Softmax(int(rng.integers(2, 4)), l2=_sizes.pick(rng, (0.0, 0.0, 0.1))),
    "Cosine": lambda rng, d, n: Cosine(_sizes.mild_scale(rng)),
}


def _matrices(rng: np.random.Generator, d: int, n: int) -> Any:
    kind = _sizes.pick(rng, ("number", "matrix", "own"))
    if kind == "number":
        return float(rng.choice([1.0, -1.0, 0.0, 2.5])) * _sizes.mild_scale(rng)
    a = rng.normal(size=(1 if kind == "matrix" else n, d, d))
    a = (a + a.transpose(0, 2, 1)) * _sizes.mild_scale(rng)
    return a[0] if kind == "matrix" else a


def federation(rng: np.random.Generator, loss: Any, n: int, d: int, unit: float) -> Federation:
    """Users on common points, in part; twins, equal users, rows an ulp apart."""
    k = int(rng.integers(1, 5))
    points = rng.normal(size=(k, d)) * unit
    if rng.random() < 0.3:
        points = _sizes.on_grid(points, unit)
    if k > 1 and rng.random() < 0.2:
        points[1] = np.nextafter(points[0], np.inf)
    if k > 1 and rng.random() < 0.2:
        points[1] = points[0]
    if rng.random() < 0.15:
        points += float(rng.choice([1e3, 1e6])) * unit  # all far from 0
    classes = getattr(loss, "n_classes", 2) if loss.classifies else None
    labelled = classes is not None or getattr(loss, "kind", "") == "regression" or loss.name == "LeastSquares"
    labels = rng.integers(0, classes, k).astype(float) if classes else rng.normal(size=k)
    alike = rng.random() < 0.1
    x: list[Any] = []
    y: list[Any] = []
    p: list[Any] = []
    for i in range(n):
        if i and alike:
            for kept in (x, y, p):
                kept.append(kept[-1])
            continue
        rows = rng.choice(k, int(rng.integers(1, k + 2)), replace=True)
        x.append(points[rows])
        flips = (rng.random(len(rows)) < 0.3) if classes else np.zeros(len(rows), bool)
        y.append(np.where(flips, (labels[rows] + 1) % (classes or 2), labels[rows]))
        p.append(_sizes.weights(rng, len(rows)))
    targets = [v.astype(np.int64) if classes else v for v in y] if labelled else None
    return Federation.from_arrays(x, targets, sample_weight=p)


def draw(rng: np.random.Generator, *, names: tuple[str, ...] = tuple(LOSSES), small: bool = False) -> Instance:
    """One to three users under a loss of the package, two or three points, now and then a ball."""
    name = _sizes.pick(rng, names)
    n, d = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    loss = LOSSES[name](rng, d, n)
    periodic = name in ("Cosine", "LogCosh")
    unit = _sizes.mild_scale(rng) * (loss.c if periodic else 1.0) if small or periodic else _sizes.scale(rng)
    problem = Problem(loss, federation(rng, loss, n, d, unit))
    reach = unit if name in ("Quadratic", "Cosine") or getattr(loss, "kind", "") == "location" else 1 / unit
    points = rng.normal(size=(int(rng.integers(2, 4)), problem.dim)) * reach
    if rng.random() < 0.5:
        points = _sizes.on_grid(points, reach)
    if rng.random() < 0.15:
        points[1] = np.nextafter(points[0], np.inf)
    if rng.random() < 0.1:
        points *= 1e3
    ball = None
    if rng.random() < 0.45:
        far = float(np.linalg.norm(points, axis=1).max())
        ball = (far * float(rng.choice([0.999999, 1.000001, 2.0, 10.0])), None)
    found = problem.constants() if ball is None else problem.constants(radius=ball[0])
    L = found["L"].max() if found["L"].usable else 1.0
    return Instance(problem, _sizes.step(rng, L), points, f"{name} on rows", ball=ball)
