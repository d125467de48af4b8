"""The bias of the stochastic meta-gradient, every batch written out, against 2 alpha L sigma_G / sqrt(D), and sharp."""

from __future__ import annotations

from typing import Any

from ..mathematics import rows as on_rows
from ..mathematics.batches import bias_and_error, can_be_drawn, data_of, factor, outcomes
from ..mathematics.hypotheses import broken, constant, convex, small_step, worst
from ..real import Real, mp, real, reals
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("batches", "batches_of_rows")
MOST = 20_000  # triples of batches that are written out


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair for every user at every point."""
    names = ("L", "sigma_G") if version == "paper" else ("L", "rho", "sigma_G")
    applies, stop = hypotheses(version, form, instance, names)
    if stop is not None:
        return stop
    sizes, alpha = instance.algorithm, real(instance.alpha)
    L, rho, sigma = (constant(instance, name) for name in ("L", "rho", "sigma_G"))
    pairs = []
    for data, w in every(instance):
        c = factor(sizes.batch_inner, len(data.weights), replace=sizes.replace or version == "paper")
        if version == "paper":
            right = 2 * alpha * L * sigma * mp.sqrt(c)
        elif form == "convex":
            right = _huber(alpha * sigma * mp.sqrt(c), L / 2, rho)
        else:
            right = (1 + alpha * L) * _huber(alpha * sigma * mp.sqrt(c), L, rho)
        pairs.append(Pair(both(instance, data, w)[0], right, loose(instance)))
    return Ruling(applies, pairs=pairs)


def hypotheses(version: str, form: str, instance: Any, names: tuple[str, ...]) -> tuple[bool | None, Ruling | None]:
    """Data known one by one, batches of exact Per-FedAvg that they allow, whole space; and why to stop, if so."""
    problem, algorithm = instance.problem, instance.algorithm
    if problem.kind == "functions":
        return False, refused("the users' data are not known")
    if type(algorithm).__name__ != "PerFedAvg" or algorithm.variant != "exact":
        return False, refused("not exact Per-FedAvg")
    if algorithm.alpha != instance.alpha:
        return False, refused("the algorithm has another alpha")
    if instance.ball is not None:
        return False, refused("assumptions on a ball")
    if problem.kind == "rows" and not on_rows.known(problem.loss):
        return None, unsettled("no formula of this loss here")
    missing = [name for name in names if constant(instance, name) is None]
    if missing:
        return False, refused(f"{missing[0]} has no value that a bound may use")
    answers = {"batches that the data allow": can_be_drawn(problem, algorithm)}
    if form == "convex":
        answers["f_i convex"], answers["alpha <= 2/L"] = convex(instance), small_step(instance, 2)
    elif version == "paper":
        answers["alpha <= 1/L"] = small_step(instance)
    applies = worst(*answers.values())
    if applies is False:
        return False, refused(broken(answers))
    if instance.points is None:
        return None, unsettled("no points")
    if outcomes(problem, algorithm) * len(instance.points) > MOST:
        return applies, Ruling(applies, "too many batches to write out")
    return applies, None


def every(instance: Any) -> list[tuple[Any, list[Real]]]:
    """Users' data and points."""
    return [(data, reals(w)) for data in data_of(instance.problem) for w in instance.points]


def both(instance: Any, data: Any, w: list[Real]) -> tuple[Real, Real]:
    """Bias and mean square error."""
    return bias_and_error(data, w, real(instance.alpha), instance.algorithm)


def loose(instance: Any) -> float:
    """Right sides whose constants the package knows as upper bounds a little above the formula."""
    if instance.problem.kind == "curves":
        noise = instance.problem.family.noise
        return 0.0 if noise is None or len(noise.shapes) == 1 else 1.0
    return 1e-5 if on_rows.name_of(instance.problem.loss) in ("LogCosh location", "LeastSquares") else 0.0


def _huber(s: Real, L: Real, rho: Real) -> Real:
    """rho s^2 / 2 up to s = L / rho, from there on the tangent."""
    return rho * s * s / 2 if rho * s <= L else L * s - L * L / (2 * rho)
