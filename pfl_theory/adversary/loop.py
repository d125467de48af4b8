"""The attack: instances from all generators, judged by the package and by the referee, until time is up."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..claims import forms
from ..claims import names as claim_names
from ..errors import InputError, require
from ..seeds import generator
from . import generators, invariances, referees
from .compare import disagreements
from .report import Failure, Report, Tally
from .ruling import Ruling

STRANGE = 0.1  # share of instances of kinds that a statement is not about
CHANGED = 0.2  # share of instances that are judged a second time after a change that must not matter


def instance(claim: str, seed: int, number: int) -> Any:
    """The instance of this number in the sequence of a statement.

    Examples
    --------
    >>> a, b = instance("lemma-4.4", 0, 3), instance("lemma-4.4", 0, 3)
    >>> bool(a.alpha == b.alpha and (a.points == b.points).all())
    True
    """
    rng = generator(seed, "attack", claim, number)
    kinds: Sequence[str] = referees.module_of(claim).KINDS
    own = rng.random() >= STRANGE
    kind = kinds[number % len(kinds)] if own else str(rng.choice(generators.names()))
    return generators.draw(kind, rng)


def attack(names: Sequence[str], seconds: float, seed: int = 0, *, most: int | None = None, first: int = 0) -> Report:
    """Judge instances of every statement in turn until time is up.

    Parameters
    ----------
    names : sequence of str
        Statements; ``["all"]`` takes every one that has a referee.
    seconds : float
        When to stop; the sequence itself depends on the seed alone.
    seed : int
    most : int, optional
        Instances of each statement at most.
    first : int
        Number of the first instance.

    Returns
    -------
    Report

    Examples
    --------
    >>> report = attack(["first-order-bias"], 60.0, most=5)
    >>> report.judged, len(report.failures)
    (5, 0)
    """
    chosen = claims_of(names)
    require(bool(np.isfinite(seconds) and seconds > 0), f"--seconds {seconds}: must be a finite number > 0")
    report, start = Report(seed), time.perf_counter()
    for name, number in _turns(chosen, first, most):
        if time.perf_counter() - start > seconds:
            break
        _strike(report, name, number)
    report.seconds = time.perf_counter() - start
    return report


def claims_of(names: Sequence[str]) -> list[str]:
    """Statements by name; each must have a referee."""
    known = referees.names()
    if list(names) == ["all"]:
        return known
    for name in names:
        require(name in claim_names(), f"claim {name!r}: unknown; choose one of {', '.join(claim_names())}, or all")
        require(name in known, f"claim {name!r}: no referee; add pfl_theory/adversary/referees/ for it")
    return list(names)


def _turns(names: list[str], first: int, most: int | None) -> Iterator[tuple[str, int]]:
    numbers = itertools.count(first) if most is None else range(first, first + most)
    return ((name, number) for number in numbers for name in names)


def _strike(report: Report, name: str, number: int) -> None:
    rng = generator(report.seed, "changes", name, number)
    try:
        at = instance(name, report.seed, number)
    except InputError as error:  # an instance that cannot exist: one line says why
        if "\n" in str(error):
            _fail(report, name, "", "", f"a refusal of more than one line: {error!r}", number)
        return
    for claim in forms(name):
        tally = report.tallies.setdefault((name, claim.version, claim.form), Tally())
        begin = time.perf_counter()
        verdict = judged(report, claim, at, number, tally)
        if verdict is not None and rng.random() < CHANGED:
            for change, what in invariances.broken(claim, at, verdict, rng):
                report.invariances[change] += 1
                if what:
                    _fail(report, name, claim.version, claim.form, f"after {change}: {what}", number)
                    tally.failures += 1
        tally.seconds += time.perf_counter() - begin


def judged(report: Report, claim: Any, at: Any, number: int, tally: Tally) -> Any:
    """The verdict, compared with the referee's ruling; None where there is none."""
    try:
        ruling: Ruling = referees.referee_of(claim.name)(claim.version, claim.form, at)
    except Exception as error:  # the attack goes on, and says so
        _fail(
            report, claim.name, claim.version, claim.form, f"the referee broke, {type(error).__name__}: {error}", number
        )
        tally.failures += 1
        return None
    try:
        verdict = claim.judge(at)
    except Exception as error:
        tally.outcomes["refused"] += 1
        # what lacks points or cannot be written out may be refused in one line; what can be judged may not
        if not (isinstance(error, InputError) and "\n" not in str(error) and ruling.applies is None):
            _fail(report, claim.name, claim.version, claim.form, f"{type(error).__name__}: {error}", number)
            tally.failures += 1
        return None
    tally.outcomes[verdict.outcome] += 1
    if ruling.pairs and verdict.lhs is not None:
        tally.compared += 1
        finite = [pair.ratio for pair in ruling.pairs if pair.ratio not in (float("inf"), float("-inf"))]
        tally.worst = max([tally.worst, *finite])
    for what in disagreements(verdict, ruling):
        _fail(report, claim.name, claim.version, claim.form, f"{what} on {at.name}", number)
        tally.failures += 1
    return verdict


def _fail(report: Report, claim: str, version: str, form: str, what: str, number: int) -> None:
    line = " ".join(str(what).split())
    report.failures.append(Failure(claim, version, form, line, report.seed, number))
