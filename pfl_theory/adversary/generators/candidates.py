"""A base and one to four candidates for it: on piecewise and quadratic users, with twins, the base among them,
candidates an ulp away or far off; weights by any norm, now and then with something added to the distance.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...algorithms.fedfomo import NORMS, FedFomo
from ...judging.instance import Instance
from . import _sizes, curves, rows


def draw(rng: np.random.Generator) -> Instance:
    """Users of any unit, points around their nodes or rows; alpha, read as a share by statements, at 0, 1, beyond."""
    if rng.random() < 0.5:
        base = curves.draw(rng)
        nodes = np.concatenate([c.x for c in base.problem.family.curves])
        middle, unit = float(np.median(nodes)), float(np.ptp(nodes)) or 1.0
    else:
        base = rows.draw(rng, names=("Quadratic",))
        x = base.problem.federation.x.astype(float) * base.problem.federation.scale
        middle, unit = x.mean(0), float(np.abs(x - x.mean(0)).max()) or 1.0  # type: ignore[assignment]
    points = middle + rng.normal(size=(int(rng.integers(2, 6)), base.problem.dim)) * unit
    if rng.random() < 0.2:
        points[-1] = points[0]
    if rng.random() < 0.2:
        points[-1] = points[1]
    if rng.random() < 0.1:
        points[1] = np.nextafter(points[0], np.inf)
    if rng.random() < 0.1:
        points[1] *= 1e3
    algorithm = None
    if rng.random() < 0.5:
        eps = float(rng.choice([0.0, 1e-6, 1.0])) * unit
        algorithm = FedFomo(1.0, norm="l2" if rng.random() < 0.7 else _sizes.pick(rng, NORMS), eps=eps)
    alpha = float(rng.choice([0.0, 0.5, 1.0, 1.5])) if rng.random() < 0.7 else float(rng.uniform(0, 1))
    return dataclasses.replace(base, points=points, alpha=alpha, algorithm=algorithm, ball=None, name="candidates")
