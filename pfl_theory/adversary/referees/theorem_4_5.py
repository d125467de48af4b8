"""Theorem 4.5: as transcribed, in both readings of its constants, and corrected: (M-i), (M-ii), Theorem 2."""

from __future__ import annotations

from typing import Any

from ..mathematics import master, readings
from ..mathematics.batches import can_be_drawn
from ..mathematics.hypotheses import at_most
from ..mathematics.runs import exact_run, is_run, steps_of
from ..real import real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("runs", "quadratic_runs")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Left sides by writing out every batch, or by moments of quadratic users."""
    if form in ("M-i", "M-ii"):
        return _master(form, instance)
    reading = readings.lemma if form == "lemma-constants" else readings.sharp
    applies, why = readings.on_assumptions(instance, reading, limit=real(1) / 10, exact=version == "paper")
    if applies is False:
        return refused(why)
    run = exact_run(instance) if not why else None
    if run is None:
        return unsettled(why or "too much to write out")
    terms = readings.assumption_terms(instance, reading(instance))
    if version == "paper":
        right = master.transcribed(terms, readings.bias_term(instance))
        return Ruling(applies, pairs=[Pair(run.M2 - 4 * terms.Phi, right)], open_constant=True)
    return Ruling(applies, pairs=[Pair(run.M2, master.theorem_2(terms))])


def _master(form: str, instance: Any) -> Ruling:
    missing = is_run(instance)
    if missing:
        return refused(missing)
    L_F, steps = readings.smoothness(instance), steps_of(instance)
    if L_F is None:
        return refused("the smoothness of F is not known")
    if instance.problem.kind == "rows" and _unbounded_bias(instance):
        return refused("the direction has a bias without bound")
    if can_be_drawn(instance.problem, instance.algorithm) is False:
        return refused("batches that the data do not allow")
    applies = at_most(steps.beta * steps.tau * L_F, real(99) / 100)
    if applies is False:
        return refused("beta tau L_F > 0.99")
    run = exact_run(instance)
    if run is None:
        return unsettled("too much to write out")
    terms = readings.run_terms(instance, run, L_F)
    bound = master.bound_i(terms) if form == "M-i" else master.bound_ii(terms)
    return Ruling(applies, pairs=[Pair(run.X2 if form == "M-i" else run.M2, bound)])


def _unbounded_bias(instance: Any) -> bool:
    """FO, and FedAvg measured on F, on quadratics that are not flat."""
    algorithm = instance.algorithm
    if instance.alpha == 0 or not instance.problem.loss.A.any():
        return False
    return type(algorithm).__name__ == "FedAvg" or algorithm.variant == "first-order"
