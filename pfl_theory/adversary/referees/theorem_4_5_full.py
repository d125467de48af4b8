"""Theorem 4.5 at full participation: as transcribed, Proposition 3, and (M-r1)."""

from __future__ import annotations

from typing import Any

from ..mathematics import master, readings
from ..real import ZERO, real
from ..ruling import Pair, Ruling
from .theorem_4_5 import as_transcribed, by_assumptions, by_own_numbers

KINDS = ("runs", "quadratic_runs")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Left sides by writing out every batch, or by moments of quadratic users."""
    if form == "M-r1":
        return by_own_numbers(instance, real(1), _step_by_step, full=True)
    if version == "paper":
        return as_transcribed(instance, readings.sharp, full=True)

    def pair(run: Any, a: Any) -> Pair:
        drift = a.x**2 * a.tau * (a.tau - 1) * a.gamma2
        bias = real(785) / 100 * readings.bias_term(instance)
        return Pair(run.M2, 2 * max(a.Phi, ZERO) + a.x * a.v2 + drift + bias)

    return by_assumptions(instance, readings.lemma, pair, exact=True, full=True)


def _step_by_step(run: Any, a: Any) -> Pair:
    return Pair(run.M2, master.bound_r1(a._replace(gamma2=run.gamma2_steps)))
