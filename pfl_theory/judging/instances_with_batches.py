"""Instances for statements about batches: users whose data are known one by one."""

from __future__ import annotations

import numpy as np

from ..algorithms.per_fedavg import PerFedAvg
from ..federations.federation import Federation
from ..losses.log_cosh import LogCosh
from ..losses.logistic import Logistic
from ..losses.noise import Bump, FiniteNoise, Flat, Sine
from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..problems.problem import Problem
from ..seeds import generator
from .claim import Case
from .instance import Instance


def with_batches(
    curve: Curve,
    noise: FiniteNoise,
    alpha: float,
    w: float,
    sizes: tuple[int | None, int | None, int | None],
    name: str,
    *,
    replace: bool = True,
) -> Instance:
    """One piecewise user with finite noise, looked at from w, with batches of these sizes."""
    problem = Problem.from_curves(Piecewise([curve], noise))
    return Instance(problem, alpha, np.array([[w]]), name, _algorithm(alpha, sizes, replace))


def _algorithm(alpha: float, sizes: tuple[int | None, int | None, int | None], replace: bool) -> PerFedAvg:
    inner, outer, hessian = sizes
    return PerFedAvg(
        alpha=alpha, beta=0.1, batch_inner=inner, batch_outer=outer, batch_hessian=hessian, replace=replace
    )


def random_with_batches(rng: np.random.Generator, *, convex: bool = False, largest: float = 3.0) -> Instance:
    """Random users with random data, batches of 1 to 3, with and without replacement; alpha up to `largest` / L.

    Three of four are piecewise users with finite noise, the others rows of a loss with bounded gradients.
    """
    made = _random_rows if rng.random() < 0.25 else _random_curves
    problem, smallest, points = made(rng, convex)
    replace = bool(rng.random() < 0.6)
    top = 3 if replace else min(3, smallest)
    sizes = [None if rng.random() < 0.1 else int(rng.integers(1, top + 1)) for _ in range(3)]
    alpha = float(rng.uniform(0, largest)) / problem.constants()["L"].max()
    name = "random rows" if made is _random_rows else "random piecewise users with data"
    return Instance(problem, alpha, points, name, _algorithm(alpha, (sizes[0], sizes[1], sizes[2]), replace))


def _random_curves(rng: np.random.Generator, convex: bool) -> tuple[Problem, int, np.ndarray]:
    family = random_piecewise(rng, n_users=int(rng.integers(1, 3)))
    curves = [Curve(c.x, np.abs(c.h), c.anchor, c.slope) for c in family.curves] if convex else list(family.curves)
    m = int(rng.integers(2, 6))
    nodes = np.concatenate([c.x for c in curves])
    center = float(rng.uniform(nodes.min(), nodes.max()))
    shapes: list[Flat | Sine | Bump] = [
        Flat(),
        Sine(center, float(10 ** rng.uniform(-3, 0.5))),
        Bump(center, float(10 ** rng.uniform(-1, 1))),
    ]
    chosen = [shapes[k] for k in rng.choice(3, int(rng.integers(1, 3)), replace=False)]
    coefficients = rng.normal(size=(m, len(chosen))) * 10 ** rng.uniform(-1.5, 1.0)
    noise = FiniteNoise(coefficients - coefficients.mean(0), chosen)
    points = np.array([[rng.choice(nodes)], [rng.uniform(nodes.min() - 1, nodes.max() + 1)]])
    return Problem.from_curves(Piecewise(curves, noise)), m, points


def _random_rows(rng: np.random.Generator, convex: bool) -> tuple[Problem, int, np.ndarray]:
    d, n = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    sizes = rng.integers(2, 5, size=n)
    x = [rng.normal(size=(int(m), d)) * 10 ** rng.uniform(-0.5, 0.7) for m in sizes]
    kind = int(rng.integers(3))
    if kind == 0:
        problem = Problem(LogCosh(c=float(10 ** rng.uniform(-1, 0.5))), Federation.from_arrays(x))
    elif kind == 1:
        problem = Problem(LogCosh("regression"), Federation.from_arrays(x, [rng.normal(size=int(m)) for m in sizes]))
    else:
        bend = 0.0 if convex else float(rng.choice([0.0, 0.1]))
        problem = Problem(
            Logistic(nonconvex=bend), Federation.from_arrays(x, [rng.integers(0, 2, int(m)) for m in sizes])
        )
    return problem, int(sizes.min()), rng.normal(size=(1, d))


def many_rows() -> Instance:
    """Three hundred rows, batches of 20 of each kind: sampled."""
    rng = generator(5, "rows of lemma 4.3")
    x = rng.normal(size=(300, 2))
    x *= 3.0 / np.linalg.norm(x, axis=1, keepdims=True)
    y = (x @ np.array([1.0, -0.5]) + rng.normal(size=300) > 0).astype(np.int64)
    problem = Problem(Logistic(), Federation.from_arrays([x], [y], name="300 rows"))
    alpha = 1.0 / problem.constants()["L"].max()
    algorithm = _algorithm(alpha, (20, 20, 20), True)
    return Instance(problem, alpha, np.array([[0.3, 0.1]]), "logistic, 300 rows, batches of 20", algorithm, runs=60_000)


def unequal_weights() -> Instance:
    """Data of unequal weight: no batches without replacement."""
    noise = FiniteNoise(np.array([[-0.5], [1.5]]), [Flat()], np.array([0.75, 0.25]))
    return with_batches(
        _bend(1.0, 1.0, 1.0, 2.0), noise, 1.0, 1.0, (1, 1, 1), "unequal weights, without replacement", replace=False
    )


def _bend(alpha: float, L: float, rho: float, S: float) -> Curve:
    """f'' = clip(rho x, -L, L) on [-S, S], then down to -L at the node w from which w~ = 0."""
    top = min(rho * S, L)
    w = S + (top + L) / rho
    inside = [(-L / rho, -L), (L / rho, L)] if rho * S > L else []
    nodes = [(-S - top / rho, 0.0), (-S, -top), *inside, (S, top), (w, -L), (w + L / rho, 0.0)]
    x, h = np.array(nodes).T
    return Curve(x, h, w, w / alpha)


PLAIN = (Case("unequal-weights", unequal_weights, "NOT_APPLICABLE"), Case("many-rows", many_rows, "HOLDS"))
