"""Both sides of a statement about a run: the left one exactly or from runs, the right one as the claim makes it."""

from __future__ import annotations

from collections.abc import Callable

from ..rigour.balls import Ball
from ..rigour.interval import Interval
from ..rigour.sampling import LEVEL
from ..theory.master import Terms
from .claim import Sides
from .exact_runs import exact_run
from .instance import Instance
from .run_constants import Reading, assumption_terms, exact_terms, sharp_reading, trivial_bound
from .sampled_runs import measured_spread, note, sampled_at_server, sampled_left_side
from .spread_of_users import spread_of_users


def interval(ball: Ball, *, rounding: bool = True) -> Interval:
    """A ball as a side of a claim; its width is rounding unless said otherwise."""
    lower, upper = float(ball.lower), float(ball.upper)
    return Interval(lower, upper, (upper - lower) if rounding else 0.0)


def on_assumptions(
    instance: Instance, reading: Callable[[Instance], Reading], right: Callable[[Terms], Ball], *, first: float = 0.0
) -> Sides:
    """M^2 - `first` Phi against `right` of the terms that the constants of the assumptions give."""
    terms = assumption_terms(instance, reading(instance))
    rhs, away = interval(right(terms)), first * terms.Phi
    trivial = trivial_bound(instance) - float(away.lower)
    if instance.runs:
        found = sampled_left_side(instance)
        lhs = interval(Ball.between(found.lower, found.upper) - away, rounding=False) if first else found
        return Sides(lhs, rhs, "points", LEVEL, f"{_road(instance)}{note(instance)}", trivial=trivial)
    return Sides(interval(exact_run(instance).M2 - away), rhs, "points", note=_road(instance), trivial=trivial)


def _road(instance: Instance) -> str:
    """How gamma is known, where there is more than one way."""
    if instance.problem.kind == "curves":
        return ""
    how = spread_of_users(instance).how
    return f"{how[0].upper()}{how[1:]}. "


def on_own_numbers(instance: Instance, right: Callable[[Terms], Ball], *, server: bool = False) -> Sides:
    """M^2, or X^2 at the server's models, against a master inequality with the run's own numbers.

    From runs gamma is measured along them; L_F, v and b stay proved bounds, since (A) and (B) ask for bounds at every
    point that a step can reach, which no average tells.
    """
    trivial = trivial_bound(instance)
    if not instance.runs:
        run = exact_run(instance)
        left = run.X2 if server else run.M2
        return Sides(interval(left), interval(right(exact_terms(instance))), "points", trivial=trivial)
    lhs = (sampled_at_server if server else sampled_left_side)(instance, share=0.5)
    spread = measured_spread(instance, share=0.5)
    terms = assumption_terms(instance, sharp_reading(instance))
    low, high = (right(terms._replace(gamma2=Ball(end))) for end in (spread.lower, spread.upper))  # increases in gamma
    rhs = Interval(max(float(low.lower), 0.0), float(high.upper))
    measured = f"gamma_F measured along the runs, in [{spread.lower**0.5:.4g}, {spread.upper**0.5:.4g}]. "
    return Sides(lhs, rhs, "measured", LEVEL, f"{measured}{note(instance)}", trivial=trivial)
