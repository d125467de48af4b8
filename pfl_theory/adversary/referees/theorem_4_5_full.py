"""Theorem 4.5 at full participation: as transcribed, Proposition 3, and (M-r1)."""

from __future__ import annotations

from typing import Any

from ..mathematics import master, readings
from ..mathematics.batches import can_be_drawn
from ..mathematics.hypotheses import at_most
from ..mathematics.runs import exact_run, is_run, steps_of
from ..real import ZERO, real
from ..ruling import Pair, Ruling, refused, unsettled
from .theorem_4_5 import _unbounded_bias

KINDS = ("runs", "quadratic_runs")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Left sides by writing out every batch, or by moments of quadratic users."""
    if form == "M-r1":
        return _step_by_step(instance)
    reading = readings.sharp if version == "paper" else readings.lemma
    applies, why = readings.on_assumptions(instance, reading, limit=real(1) / 10, exact=True, full=True)
    if applies is False:
        return refused(why)
    run = exact_run(instance) if not why else None
    if run is None:
        return unsettled(why or "too much to write out")
    a = readings.assumption_terms(instance, reading(instance))
    bias = readings.bias_term(instance)
    if version == "paper":
        pair = Pair(run.M2 - 4 * a.Phi, master.transcribed(a, bias))
        return Ruling(applies, pairs=[pair], open_constant=True)
    drift = a.x**2 * a.tau * (a.tau - 1) * a.gamma2
    right = 2 * max(a.Phi, ZERO) + a.x * a.v2 + drift + real(785) / 100 * bias
    return Ruling(applies, pairs=[Pair(run.M2, right)])


def _step_by_step(instance: Any) -> Ruling:
    missing = is_run(instance)
    if missing:
        return refused(missing)
    L_F, steps = readings.smoothness(instance), steps_of(instance)
    if steps.m != steps.n:
        return refused("not all users take part")
    if L_F is None:
        return refused("the smoothness of F is not known")
    if instance.problem.kind == "rows" and _unbounded_bias(instance):
        return refused("the direction has a bias without bound")
    if can_be_drawn(instance.problem, instance.algorithm) is False:
        return refused("batches that the data do not allow")
    applies = at_most(steps.beta * steps.tau * L_F, real(1))
    if applies is False:
        return refused("beta tau L_F > 1")
    run = exact_run(instance)
    if run is None:
        return unsettled("too much to write out")
    terms = readings.run_terms(instance, run, L_F)._replace(gamma2=run.gamma2_steps)
    return Ruling(applies, pairs=[Pair(run.M2, master.bound_r1(terms))])
