"""Curves told as Python functions, with the constants that their author states: exact, bounds, searched or none."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ...constants import Constant
from ...judging.instance import Instance
from ...problems.problem import Problem
from . import _sizes, curves


def draw(rng: np.random.Generator) -> Instance:
    """The author knows the smoothness of every F_i to 12 digits."""
    base = curves.draw(rng)
    users = base.problem.family.curves
    known = {
        "L": Constant.exact([c.curvature for c in users], "given"),
        "rho": Constant.upper([1.5 * c.third for c in users], "given"),
        "B": Constant.upper([1.01 * c.steepest for c in users], "given"),
    }
    if rng.random() < 0.2:
        known["B"] = _sizes.pick(
            rng, (Constant.none(len(users), "given"), Constant.lower(np.ones(len(users)), "searched"))
        )
    if rng.random() < 0.1:
        known.pop("rho")

    def smoothness(alpha: float) -> tuple[NDArray, NDArray]:
        value, error = base.problem.meta_smoothness(alpha)  # type: ignore[misc]
        return value, error + 1e-12 * value

    problem = Problem.from_functions(
        lambda w: np.array([c.value(w[i])[0] for i, c in enumerate(users)]),
        lambda w: np.array([c.gradient(w[i]) for i, c in enumerate(users)]),
        lambda w, v: np.array([c.hessian(w[i]) for i, c in enumerate(users)]) * v,
        n_users=len(users),
        dim=1,
        constants=known,
        meta_smoothness=smoothness,
    )
    return dataclasses.replace(base, problem=problem, name="functions with constants", ball=None)
