"""A statement as data, and how it is judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..rigour.interval import Interval
from .instance import Instance

OUTCOMES = ("HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE")
PAPER = "Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4"


def transcribed(place: str) -> str:
    """Source of a statement of the paper, as transcribed."""
    return f"{PAPER}, {place}, as transcribed"


@dataclass(frozen=True)
class Sides:
    """Both sides of the inequality lhs <= rhs, and for which w it was looked at."""

    lhs: Interval
    rhs: Interval
    scope: str  # "points" or "all w"
    level: float | None = None  # confidence level of sampled sides; None where nothing is sampled
    note: str = ""  # a sentence for the reason: where it was judged, or how many are judged together


@dataclass(frozen=True)
class Hypothesis:
    """A condition of the statement. `check` returns None where it holds, else which one fails and by how much."""

    text: str
    check: Callable[[Instance], str | None]


@dataclass(frozen=True)
class Verdict:
    """The judgement of a claim on an instance.

    Attributes
    ----------
    outcome : {"HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE"}
    lhs, rhs : Interval or None
        None where the statement does not apply.
    ratio : float
        lhs / rhs at the centres; NaN where there is none.
    attained : bool
        The sides agree up to their derived rounding allowances.
    scope : str
        ``points``: the instance's points; ``all w``: the left side's supremum is exact.
    reason : str
        One sentence.
    """

    claim: str
    version: str
    form: str
    instance: str
    outcome: str
    reason: str
    lhs: Interval | None = None
    rhs: Interval | None = None
    ratio: float = float("nan")
    attained: bool = False
    scope: str = ""
    level: float | None = None
    control: float = 1.0

    def __str__(self) -> str:
        form = f", {self.form}" if self.form else ""
        return f"{self.claim} ({self.version}{form}) on {self.instance}: {self.outcome}. {self.reason}"

    def row(self) -> dict[str, Any]:
        """Plain data for tables."""
        sides = {
            f"{s}_{e}": None if (i := getattr(self, s)) is None else getattr(i, e)
            for s in ("lhs", "rhs")
            for e in ("lower", "upper")
        }
        head = {
            "claim": self.claim,
            "version": self.version,
            "form": self.form,
            "instance": self.instance,
            "scope": self.scope,
            "control": self.control,
            "outcome": self.outcome,
        }
        return {
            **head,
            **sides,
            "ratio": None if math.isnan(self.ratio) else self.ratio,
            "level": self.level,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Case:
    """A named instance that stands in the table of verdicts, with the outcome that is expected of it."""

    name: str
    make: Callable[[], Instance]
    expected: str
    needs: str = "nothing"  # a data set, where one is used
    ratio: float | None = None  # what lhs / rhs is known to be here: the case then has a control row of its own


@dataclass(frozen=True, eq=False)
class Claim:
    """A statement lhs <= rhs with its hypotheses, its witness and how tight it is known to be.

    Attributes
    ----------
    name, version, form : str
        ``lemma-4.2``; ``paper`` (as transcribed), ``sharp`` or ``corrected``; a form's name or empty.
    title, statement, source : str
        For people: what it says and where it stands.
    known_ratio : float
        lhs / rhs that `witness` reaches: the control row multiplies the right side by 0.99 of it and must come out
        VIOLATED.
    tight : bool
        Whether no smaller right side of this form is valid.
    hypotheses : tuple of Hypothesis
    sides : callable Instance -> Sides
    witness : callable () -> Instance
    random_instance : callable numpy Generator -> Instance, or None
        A random instance, for tests and searches; None for a statement that its witness refutes.
    cases : tuple of Case
        Further named instances.
    expected : str
        Outcome on the witness: VIOLATED for a transcribed statement that it refutes.
    open_constant : str
        Name of a constant that the statement leaves open, ``O(1)``. It is judged as 1: where that is too small the
        outcome is VIOLATED, elsewhere INCONCLUSIVE, and the ratio is the smallest constant that covers the instance.
        Such a statement never HOLDS.
    short : str
        The right side, or what is wrong with it, in a few words, for the table of all statements; empty where another
        form's words cover it.
    """

    name: str
    version: str
    form: str
    title: str
    statement: str
    source: str
    tight: bool
    known_ratio: float
    hypotheses: tuple[Hypothesis, ...]
    sides: Callable[[Instance], Sides]
    witness: Callable[[], Instance]
    random_instance: Callable[[np.random.Generator], Instance] | None
    cases: tuple[Case, ...] = field(default=())
    expected: str = "HOLDS"
    open_constant: str = ""
    short: str = ""

    @property
    def control_factor(self) -> float:
        """What the right side is multiplied by in the control row."""
        return 0.99 * self.known_ratio

    def judge(self, instance: Instance | None = None, *, factor: float = 1.0) -> Verdict:
        """Judge the claim on `instance`, or on its witness.

        Parameters
        ----------
        instance : Instance, optional
        factor : float
            Multiplies the right side; 1 is the statement itself, `control_factor` its negative control.

        Raises
        ------
        InputError
            A side is NaN, or the instance is empty.
        """
        at = self.witness() if instance is None else instance
        where: Any = {
            "claim": self.name,
            "version": self.version,
            "form": self.form,
            "instance": at.name,
            "control": factor,
        }
        for hypothesis in self.hypotheses:
            failure = hypothesis.check(at)
            if failure is not None:
                return Verdict(**where, outcome="NOT_APPLICABLE", reason=failure)
        found = self.sides(at)
        lhs, rhs = found.lhs, found.rhs if factor == 1.0 else found.rhs.times(factor)
        outcome, reason, attained = compare(lhs, rhs)
        ratio = lhs.middle / rhs.middle if rhs.middle else float("nan")
        if self.open_constant and outcome == "HOLDS":
            outcome, reason = (
                "INCONCLUSIVE",
                f"{self.open_constant} = {max(ratio, 0.0):.6g} covers this instance; the statement names no constant.",
            )
        reason = f"{reason} {found.note}".rstrip()
        return Verdict(
            **where,
            outcome=outcome,
            reason=reason,
            lhs=lhs,
            rhs=rhs,
            ratio=ratio,
            attained=attained,
            scope=found.scope,
            level=found.level,
        )

    def control(self, case: Case | None = None) -> Verdict:
        """The witness (or a case whose ratio is known) against a right side that is too small: must come out
        VIOLATED.
        """
        if case is None or case.ratio is None:
            return self.judge(factor=self.control_factor)
        return self.judge(case.make(), factor=0.99 * case.ratio)

    def case(self, name: str) -> Case:
        """A named instance; ``witness`` is the witness."""
        if name == "witness":
            return Case("witness", self.witness, self.expected)
        for case in self.cases:
            if case.name == name:
                return case
        raise InputError(
            f"instance {name!r} of {self.name}: no such file, nor one of "
            f"{', '.join(repr(c) for c in ['witness', *(c.name for c in self.cases)])}"
        )


def compare(lhs: Interval, rhs: Interval) -> tuple[str, str, bool]:
    """Outcome, reason and whether the bound is attained, from two intervals."""
    if lhs.upper <= rhs.lower:
        return "HOLDS", f"left side at most {lhs.upper:.9g}, right side at least {rhs.lower:.9g}.", False
    if lhs.lower > rhs.upper:
        return "VIOLATED", f"left side at least {lhs.lower:.9g}, right side at most {rhs.upper:.9g}.", False
    if lhs.is_rounding and rhs.is_rounding:
        return "HOLDS", f"attained: both sides are {rhs.middle:.9g} up to rounding.", True
    return (
        "INCONCLUSIVE",
        f"the sides overlap: [{lhs.lower:.9g}, {lhs.upper:.9g}] and [{rhs.lower:.9g}, {rhs.upper:.9g}].",
        False,
    )
