"""Theorem 4.5: as transcribed, in both readings of its constants, and corrected: (M-i), (M-ii), Theorem 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..mathematics import master, readings
from ..mathematics.batches import can_be_drawn
from ..mathematics.hypotheses import at_most
from ..mathematics.runs import exact_run, is_run, steps_of
from ..real import Real, real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("runs", "quadratic_runs")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Left sides by writing out every batch, or by moments of quadratic users."""
    if form == "M-i":
        return by_own_numbers(instance, real(99) / 100, lambda run, a: Pair(run.X2, master.bound_i(a)))
    if form == "M-ii":
        return by_own_numbers(instance, real(99) / 100, lambda run, a: Pair(run.M2, master.bound_ii(a)))
    reading = readings.lemma if form == "lemma-constants" else readings.sharp
    if version == "paper":
        return as_transcribed(instance, reading)
    return by_assumptions(instance, reading, lambda run, a: Pair(run.M2, master.theorem_2(a)), exact=False)


def as_transcribed(instance: Any, reading: Any, *, full: bool = False) -> Ruling:
    """The transcribed bracket, its constant O(1) left open."""

    def pair(run: Any, a: Any) -> Pair:
        return Pair(run.M2 - 4 * a.Phi, master.transcribed(a, readings.bias_term(instance)))

    return by_assumptions(instance, reading, pair, exact=True, full=full, open_constant=True)


def by_assumptions(
    instance: Any,
    reading: Any,
    pair: Callable[[Any, Any], Pair],
    *,
    exact: bool,
    full: bool = False,
    open_constant: bool = False,
) -> Ruling:
    """A statement with the constants of the assumptions; `pair` makes both sides of the run and its terms."""
    applies, why = readings.on_assumptions(instance, reading, limit=real(1) / 10, exact=exact, full=full)
    if applies is False:
        return refused(why)
    run = exact_run(instance) if not why else None
    if run is None:
        return unsettled(why or "too much to write out")
    sides = pair(run, readings.assumption_terms(instance, reading(instance)))
    return Ruling(applies, pairs=[sides], open_constant=open_constant)


def by_own_numbers(instance: Any, limit: Real, pair: Callable[[Any, Any], Pair], *, full: bool = False) -> Ruling:
    """A master inequality, beta tau L_F <= limit; `pair` makes both sides of the run and its own numbers."""
    missing = is_run(instance)
    if missing:
        return refused(missing)
    if instance.runs and instance.problem.kind != "curves":
        return unsettled("runs of data are not written out here")
    L_F, steps = readings.smoothness(instance), steps_of(instance)
    if full and steps.m != steps.n:
        return refused("not all users take part")
    if L_F is None:
        return refused("the smoothness of F is not known")
    if instance.problem.kind == "rows" and _unbounded_bias(instance):
        return refused("the direction has a bias without bound")
    if can_be_drawn(instance.problem, instance.algorithm) is False:
        return refused("batches that the data do not allow")
    applies = at_most(steps.beta * steps.tau * L_F, limit)
    if applies is False:
        return refused(f"beta tau L_F > {float(limit):g}")
    run = exact_run(instance)
    if run is None:
        return unsettled("too much to write out")
    return Ruling(applies, pairs=[pair(run, readings.run_terms(instance, run, L_F))])


def _unbounded_bias(instance: Any) -> bool:
    """FO, and FedAvg measured on F, on quadratics that are not flat."""
    algorithm = instance.algorithm
    if instance.alpha == 0 or not instance.problem.loss.A.any():
        return False
    return type(algorithm).__name__ == "FedAvg" or algorithm.variant == "first-order"
