"""Statements broken on purpose, one file a statement: each must be caught by the attack.

A mutant changes one form of a statement, or what its sides are computed from. It is caught at the first instance on
which the attack fails with it and does not without.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pfl_theory import claims
from pfl_theory.adversary import loop
from pfl_theory.claims import Claim, Sides
from pfl_theory.rigour.interval import Interval

Change = Callable[[Claim], Claim]


@dataclass(frozen=True)
class Mutant:
    """One thing wrong with one form of a statement."""

    what: str
    claim: str
    version: str
    form: str = ""
    change: Change | None = None
    patches: tuple[tuple[str, Any], ...] = ()  # "module.name" under pfl_theory, and what stands there instead

    def __str__(self) -> str:
        return " ".join(part for part in (self.claim, self.version, self.form, "-", self.what) if part)


def all_mutants() -> list[Mutant]:
    """Of every file."""
    found = (importlib.import_module(f"{__name__}.{m.name}").MUTANTS for m in pkgutil.iter_modules(__path__))
    return [mutant for file in found for mutant in file]


def caught(mutant: Mutant, *, most: int, seconds: float) -> int | None:
    """Number of the instance that tells the mutant from the statement, or None."""
    original = claims.get(mutant.claim, mutant.version, mutant.form)
    start = time.perf_counter()
    for number in range(most):
        if time.perf_counter() - start > seconds:
            return None
        if _failures(mutant, [original], (), number):  # an open fault of the package tells nothing
            continue
        changed = original if mutant.change is None else mutant.change(original)
        if _failures(mutant, [changed], mutant.patches, number):
            return number
    return None


def _failures(mutant: Mutant, forms: list[Claim], patches: tuple[tuple[str, Any], ...], number: int) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "forms", lambda name: forms)
        patch.setattr(loop, "CHANGED", 0.0)
        for place, instead in patches:
            patch.setattr(f"pfl_theory.{place}", instead)
        return loop.attack([mutant.claim], 1e9, 0, most=1, first=number).failures


# -- ways to break a statement -----------------------------------------------------------------------------------------


def sides(make: Callable[[Any], Sides]) -> Change:
    """Both sides by another function."""
    return lambda claim: dataclasses.replace(claim, sides=make)


def right_times(factor: float) -> Change:
    """The right side times a factor."""
    return _each_pair(lambda lhs, rhs: (lhs, rhs.times(factor)))


def left_times(factor: float) -> Change:
    """The left side times a factor."""
    return _each_pair(lambda lhs, rhs: (lhs.times(factor), rhs))


def too_sure() -> Change:
    """Sides as computed, their rounding forgotten."""
    return _each_pair(lambda lhs, rhs: (_point(lhs), _point(rhs)))


def _point(side: Interval) -> Interval:
    return Interval(side.middle, side.middle)


def _each_pair(change: Callable[[Interval, Interval], tuple[Interval, Interval]]) -> Change:
    def changed(claim: Claim) -> Claim:
        def make(at: Any) -> Sides:
            found = claim.sides(at)
            (lhs, rhs), *more = [change(a, b) for a, b in ((found.lhs, found.rhs), *found.more)]
            return dataclasses.replace(found, lhs=lhs, rhs=rhs, more=tuple(more))

        return dataclasses.replace(claim, sides=make)

    return changed


def first_pair(claim: Claim) -> Claim:
    """The first user or point for the worst."""
    return dataclasses.replace(claim, sides=lambda at: dataclasses.replace(claim.sides(at), more=()))


def without(text: str) -> Change:
    """A hypothesis dropped."""

    def changed(claim: Claim) -> Claim:
        kept = tuple(h for h in claim.hypotheses if text not in h.text)
        assert len(kept) == len(claim.hypotheses) - 1, f"{text!r} names no hypothesis of {claim.name}"
        return dataclasses.replace(claim, hypotheses=kept)

    return changed


def closed(claim: Claim) -> Claim:
    """An open constant read as 1."""
    return dataclasses.replace(claim, open_constant="")
