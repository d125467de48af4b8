"""How far a run can come: where the assumptions hold on a ball only, the run must provably stay in it.

Proofs: docs/theory/runs-of-data.md#9-5-9-staying.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.baselines import FedAvg
from ..expectations.batches import batch_sizes
from ..losses.least_squares import LeastSquares
from ..losses.loss import ball_center
from ..losses.quadratic import Quadratic
from ..losses.row_moments import user_rows
from ..memory import remembered
from ..rigour.norms import norms
from .instance import Instance
from .run_steps import first_model, steps_of

SLACK = 1 + 2.0**-30  # of eigenvalues and norms of floats


class Reach(NamedTuple):
    """A ball that no model of the run leaves, nor what it adapts to; radius infinite where none is known."""

    centre: NDArray
    radius: float
    how: str


def reach(instance: Instance) -> Reach:
    """The smaller of what the length of all steps allows and what contraction allows, kept on the instance."""
    return remembered(instance, "reach", lambda: _reach(instance))


def _reach(instance: Instance) -> Reach:
    centre = ball_center(instance.problem.dim, None if instance.ball is None else instance.ball[1])
    start = float(np.linalg.norm(first_model(instance) - centre))
    found = (_by_length(instance, start), _drawn_in(instance, start))
    known = [Reach(centre, radius * SLACK, how) for radius, how in found]
    return min(known, key=lambda found: found.radius)


def _largest(instance: Instance) -> tuple[float, float]:
    """Largest gradient and Hessian that a step meets: of a datum, or of a user where there are no batches."""
    exact = instance.problem.kind == "functions" and getattr(instance.problem.oracle, "noise", None) is None
    alone = exact or batch_sizes(instance.algorithm)[:3] == (None, None, None)
    found = []
    for name in ("B", "L"):
        constant = instance.constants.get(name if alone else f"{name}_datum")
        found.append(constant.max() if constant is not None and constant.usable else math.inf)
    return found[0], found[1]


def _by_length(instance: Instance, start: float) -> tuple[float, str]:
    """Every step is at most beta (1 + alpha L) B long, or beta B without a Hessian."""
    steps, alpha = steps_of(instance), instance.alpha
    B, L = _largest(instance)
    if not math.isfinite(B) or not math.isfinite(L):
        return math.inf, ""
    assert instance.rounds is not None
    variant = "plain" if isinstance(instance.algorithm, FedAvg) else getattr(instance.algorithm, "variant", "exact")
    step = steps.beta * B * (1 + alpha * L if variant in ("exact", "hessian-free") else 1.0)
    beyond = alpha * B + (getattr(instance.algorithm, "difference_step", 0.0) * B if variant == "hessian-free" else 0.0)
    return start + instance.rounds * steps.tau * step + beyond, "the steps are no longer"


def _drawn_in(instance: Instance, start: float) -> tuple[float, str]:
    """Quadratic users with beta lam <= 1, lam = a (1 - alpha a)^2 over the eigenvalues a in (0, 1/alpha): a step is a
    contraction by 1 - beta lam_min towards the centre, plus what it does there.
    """
    problem, alpha = instance.problem, instance.alpha
    other = isinstance(instance.algorithm, FedAvg) or getattr(instance.algorithm, "variant", "exact") != "exact"
    if problem.kind != "rows" or not isinstance(problem.loss, (Quadratic, LeastSquares)) or (other and alpha > 0):
        return math.inf, ""
    sizes, fed = batch_sizes(instance.algorithm)[:3], problem.federation
    if isinstance(problem.loss, LeastSquares) and sizes != (None, None, None):
        return math.inf, ""  # a batch's Hessian need not contract
    centre = ball_center(problem.dim, None if instance.ball is None else instance.ball[1])
    pull = np.linalg.norm(problem.meta_gradient(centre, alpha), axis=1)
    hessians = problem.hessian(centre)
    radius, beyond = start, 0.0
    for i, h in enumerate(hessians):
        a = np.linalg.eigvalsh(h)
        error = 64 * len(a) * 2.0**-53 * float(np.abs(a).max())
        low, high = float(a[0]) - error, float(a[-1]) + error
        if low <= 0 or alpha * high >= 1:
            return math.inf, ""
        lam = a * (1 - alpha * a) ** 2
        # lam moves no faster than a: its slope (1 - alpha a)(1 - 3 alpha a) lies in [-1, 1]
        least = float(lam.min()) * (1 - 2.0**-20) - 8 * error
        if least <= 0 or steps_of(instance).beta * (float(lam.max()) + 8 * error) > 1:
            return math.inf, ""
        kick = away = 0.0
        if isinstance(problem.loss, Quadratic):
            z, pi, _ = user_rows(fed, i)
            away = float(norms(z - pi @ z).max()) if any(size is not None for size in sizes) else 0.0
            kick = float((a * (1 - alpha * a) * (1 + alpha * a)).max()) * away
        radius = max(radius, (float(pull[i]) + kick) / least)
        gradient = float(np.linalg.norm(problem.gradient(centre)[i]))
        beyond = max(beyond, alpha * (gradient + high * away))
    # ||w~ - c|| <= (1 - alpha a_min) ||w - c|| + alpha (||grad f_i(c)|| + ||A|| away)
    return radius + beyond, "steps contract"


def stays_in_ball(instance: Instance) -> str | None:
    """Where the assumptions are read on a ball, the run must not leave it."""
    if instance.ball is None:
        return None
    radius = instance.ball[0]
    found = reach(instance)
    if found.radius <= radius:
        return None
    far = f"{found.radius:.6g} from the center" if math.isfinite(found.radius) else "anywhere"
    return f"the run may come {far}, outside the ball of radius {radius:.6g} on which the assumptions are read."
