"""Hypotheses that statements share, and the constants they are read with."""

from __future__ import annotations

from typing import Any

from ...memory import remembered
from ..real import ONE, Real, minus, mp, norm, operator_norm, real, reals, times
from . import rows as on_rows
from .lines import lines_of

NEAR = mp.mpf(10) ** -12  # relative: how close a number may come to a limit before floats may call it either way


def at_most(value: Real, limit: Real, near: Real = NEAR) -> bool | None:
    """Whether value <= limit; None where they agree to some 12 digits.

    Examples
    --------
    >>> at_most(real(1), real(2)), at_most(real(1), real(1)), at_most(real(2), real(1))
    (True, None, False)
    """
    if abs(value - limit) <= near * max(abs(value), abs(limit)):
        return None
    return bool(value < limit)


def worst(*answers: bool | None) -> bool | None:
    """All of several hypotheses: False before None before True."""
    return False if False in answers else None if None in answers else True


def broken(answers: dict[str, bool | None]) -> str:
    """Which hypotheses fail."""
    return ", ".join(text for text, answer in answers.items() if answer is False)


def of_form(version: str, form: str, instance: Any) -> dict[str, bool | None]:
    """What the lemmas' forms ask of step and users: the transcribed and the convex one small steps, the convex one
    convex users.
    """
    answers: dict[str, bool | None] = {}
    if version == "paper" or form == "convex":
        answers["alpha <= 1/L"] = small_step(instance)
    if form == "convex":
        answers["f_i convex"] = convex(instance)
    return answers


def constant(instance: Any, name: str) -> Any:
    """The largest over users of a constant that a right side may use; None where there is none.

    Curves: by the definition. Rows: by formula where there is one, else as the package states it (whether it bounds
    what it should is seen at the points). Functions: as given.
    """
    found = remembered(instance, "constants of the referee", lambda: _constants(instance))
    if name in found:
        values: Any = found[name]
        return None if values is None else max(values)
    stated = instance.constants.get(name)
    return None if stated is None or not stated.usable else max(reals(stated.values))


def _constants(instance: Any) -> dict[str, list[Real] | None]:
    problem = instance.problem
    if problem.kind == "curves":
        lines = lines_of(problem)
        found: dict[str, list[Real] | None] = {
            "L": [f.L for f in lines],
            "rho": [f.rho for f in lines],
            "B": [f.B for f in lines],
        }
        spread = noise_spread(problem.family.noise)
        if spread is not None:
            found |= {"sigma_G": [spread[0]], "sigma_H": [spread[1]]}
        return found
    if problem.kind == "rows" and on_rows.known(problem.loss):
        return dict(on_rows.constants(problem, instance.ball))
    return {}


def noise_spread(noise: Any) -> tuple[Real, Real] | None:
    """sup of the standard deviations of one datum's gradient and second derivative: exact for one flat shape or sine;
    None for others.
    """
    if noise is None:
        return mp.mpf(0), mp.mpf(0)
    if len(noise.shapes) != 1:
        return None
    p = reals(noise.weights)
    deviation = mp.sqrt(mp.fsum(q * real(c[0]) ** 2 for q, c in zip(p, noise.coefficients, strict=True)) / mp.fsum(p))
    kind = type(noise.shapes[0]).__name__
    if kind == "Flat":
        return deviation, mp.mpf(0)
    if kind == "Sine":
        return deviation * real(noise.shapes[0].eps), deviation
    return None


def small_step(instance: Any, limit: int = 1) -> bool | None:
    """alpha <= limit / L."""
    L = constant(instance, "L")
    return None if L is None else at_most(real(instance.alpha) * L, ONE * limit)


def convex(instance: Any) -> bool | None:
    """Every f_i convex, as far as that is known of its kind; functions are not known to be."""
    problem = instance.problem
    if problem.kind == "curves":
        return all(h >= 0 for line in lines_of(problem) for h in line.h)
    if problem.kind != "rows":
        return False
    loss = problem.loss
    if on_rows.name_of(loss) == "Quadratic":
        a = [on_rows.matrix_of(loss, i, problem.dim) for i in range(problem.n_users)]
        lowest = min(min(_eigenvalues(m)) for m in a)
        return None if abs(lowest) <= NEAR * max(operator_norm(m) for m in a) else bool(lowest > 0)
    return on_rows.name_of(loss) != "Cosine" and not getattr(loss, "nonconvex", 0.0)


def _eigenvalues(matrix: list[list[Real]]) -> list[Real]:
    from ..real import eigenvalues

    return eigenvalues(matrix)


def in_ball(instance: Any, *, adapted: bool = False) -> bool | None:
    """Every point in the ball of the assumptions, and with `adapted` what every user adapts it to."""
    if instance.ball is None or instance.points is None:
        return True
    radius, centre = real(instance.ball[0]), instance.ball[1]
    middle = reals(centre) if centre is not None else [mp.mpf(0)] * instance.problem.dim
    answers = []
    for w in instance.points:
        point = reals(w)
        reached = [point]
        if adapted:
            moved = adapted_points(instance, point)
            if moved is None:
                return None
            reached += moved
        answers += [at_most(norm(minus(p, middle)), radius) for p in reached]
    return worst(*answers)


def adapted_points(instance: Any, w: list[Real]) -> list[list[Real]] | None:
    """w - alpha grad f_i(w) for every user; None where the users are not known."""
    problem, alpha = instance.problem, real(instance.alpha)
    if problem.kind == "curves":
        return [[line.adapted(w[0], alpha)] for line in lines_of(problem)]
    if problem.kind == "rows" and on_rows.known(problem.loss):
        return [user.adapted(w, alpha) for user in on_rows.user_functions(problem)]
    return None


__all__ = ["adapted_points", "at_most", "constant", "convex", "in_ball", "noise_spread", "small_step", "times", "worst"]
