"""A statement as data, and how it is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from ..rigour.interval import Interval
from .instance import Instance

SEVERITY = ("HOLDS", "INCONCLUSIVE", "VIOLATED")
SMALL = 1e-6  # of the right side: how wide sides may be that are called equal
TINY = 1e-9  # of the numbers behind it: what a left side may be that is called 0
NOTHING = 2.0**-160  # of them: a right side that is 0 but for the digits in which weights of floats are known, squared
LEAST, MOST = 2.0**-140, 2.0**140  # sizes of steps, points and constants that are judged
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
    more: tuple[tuple[Interval, Interval], ...] = ()  # both sides at further users or points: the worst decides
    size: float = 0.0  # of the numbers that a left side is made of which vanishes where the right side is exactly 0
    trivial: float = math.inf  # what bounds the left side before any theorem: a right side above it says nothing

    @classmethod
    def over(cls, pairs: Sequence[tuple[Interval, Interval]], scope: str, *, size: float = 0.0) -> Sides:
        """Both sides at several users or points."""
        require(len(pairs) > 0, "a claim has no user or point to be judged at")
        (lhs, rhs), *rest = pairs
        return cls(lhs, rhs, scope, more=tuple(rest), size=size)

    def worst(self, factor: float = 1.0) -> Judged:
        """The pair that decides, right sides times `factor`: one that violates the statement comes before one that
        settles nothing, and that before one that holds; among equals the largest ratio of middles.
        """
        pairs = [(lhs, rhs if factor == 1.0 else rhs.times(factor)) for lhs, rhs in ((self.lhs, self.rhs), *self.more)]
        judged = [Judged(lhs, rhs, *compare(lhs, rhs, self.size)) for lhs, rhs in pairs]

        def badness(found: Judged) -> tuple[int, bool, float]:
            middle = found.rhs.middle
            ratio = found.lhs.middle / middle if middle > 0 else float(found.lhs.middle > 0)
            return SEVERITY.index(found.outcome), found.attained, ratio

        return max(judged, key=badness)


class Judged(NamedTuple):
    """A pair of sides and what came out."""

    lhs: Interval
    rhs: Interval
    outcome: str
    reason: str
    attained: bool


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
        lhs / rhs: at the centres where rounding alone lies between the ends; of sampled sides (`level`) what it is at
        least, for the centre of their interval says nothing. NaN where there is none.
    attained : bool
        The sides agree up to their derived rounding allowances.
    scope : str
        ``points``: the instance's points; ``all w``: the left side's supremum is exact.
    reason : str
        One sentence.
    vacuous : bool
        It HOLDS and says nothing: the right side is above what bounds the left side before any theorem.
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
    vacuous: bool = False

    def __str__(self) -> str:
        form = f", {self.form}" if self.form else ""
        outcome = f"{self.outcome}, vacuous" if self.vacuous else self.outcome
        return f"{self.claim} ({self.version}{form}) on {self.instance}: {outcome}. {self.reason}"

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
            "vacuous": self.vacuous,
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Claim:
    """A statement lhs <= rhs with its hypotheses, its witness and how tight it is known to be. A claim of one's own
    needs a name, the statement, both sides and a witness.

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
    sizes : callable Instance -> mapping of arrays, or None
        Further numbers by name, of which the sides are products: floats must be able to judge them (`beyond_floats`).
    short : str
        The right side, or what is wrong with it, in a few words, for the table of all statements; empty where another
        form's words cover it.
    """

    name: str
    version: str = "mine"
    form: str = ""
    title: str = ""
    statement: str
    source: str = ""
    tight: bool = False
    known_ratio: float = 1.0
    hypotheses: tuple[Hypothesis, ...] = ()
    sides: Callable[[Instance], Sides]
    witness: Callable[[], Instance]
    random_instance: Callable[[np.random.Generator], Instance] | None = None
    cases: tuple[Case, ...] = field(default=())
    expected: str = "HOLDS"
    open_constant: str = ""
    short: str = ""
    sizes: Callable[[Instance], Mapping[str, NDArray]] | None = None

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
        with np.errstate(
            all="ignore"
        ):  # a NaN is refused, an infinite end settles nothing: whatever the caller has set
            return self._judged(self.witness() if instance is None else instance, factor)

    def _judged(self, at: Instance, factor: float) -> Verdict:
        where: Any = {
            "claim": self.name,
            "version": self.version,
            "form": self.form,
            "instance": at.name,
            "control": factor,
        }
        for hypothesis in self.hypotheses:
            try:
                failure = hypothesis.check(at)
            except ArithmeticError:  # Python's floats raise where NumPy's overflow
                unfit = beyond_floats(at)
                if unfit is None:
                    raise
                return Verdict(**where, outcome="INCONCLUSIVE", reason=unfit)
            if failure is not None:
                return Verdict(**where, outcome="NOT_APPLICABLE", reason=failure)
        unfit = beyond_floats(at, {} if self.sizes is None else self.sizes(at))
        if unfit is not None:
            return Verdict(**where, outcome="INCONCLUSIVE", reason=unfit)
        found = self.sides(at)
        lhs, rhs, outcome, reason, attained = found.worst(factor)
        nothing = rhs.middle == 0 or (attained and rhs.lower == 0)  # 0, or 0 but for the digits of the weights
        sampled = found.level is not None
        ratio = float("nan") if nothing else least_ratio(lhs, rhs) if sampled else lhs.middle / rhs.middle
        if self.open_constant and outcome == "HOLDS":
            enough = lhs.upper / rhs.lower if sampled and rhs.lower > 0 else ratio
            outcome, reason = (
                "INCONCLUSIVE",
                f"{self.open_constant} = {max(enough, 0.0):.6g} covers this instance; the statement names no constant.",
            )
        vacuous = outcome == "HOLDS" and rhs.lower > found.trivial
        if vacuous:
            reason = f"{reason} Vacuous: without any theorem the left side is at most {found.trivial:.9g}."
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
            vacuous=vacuous,
        )

    def control(self, case: Case | None = None) -> Verdict:
        """The witness (or a case whose ratio is known) against a right side that is too small: must come out
        VIOLATED.
        """
        if case is None or case.name == "witness":
            return self.judge(factor=self.control_factor)
        if case.ratio is None:
            known = ["witness", *(c.name for c in self.cases if c.ratio is not None)]
            raise InputError(
                f"control of {self.name} on {case.name!r}: no ratio is known there; choose one of {', '.join(known)}"
            )
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


def beyond_floats(instance: Instance, more: Mapping[str, NDArray] | None = None) -> str | None:
    """Why floats cannot judge an instance, or None: its step, points or constants (or `more` numbers, by name) are so
    small or large that products of a few of them underflow or overflow, where no bound of relative rounding holds.

    Right sides are products of at most seven of these numbers: between `LEAST` and `MOST` they stay normal.
    """
    sizes = {"alpha": np.array([instance.alpha])}
    if instance.points is not None:
        sizes["a point's norm"] = np.linalg.norm(instance.points, axis=1)
    for name, constant in instance.constants.items():
        if constant.usable:
            sizes[name] = np.abs(constant.values)
    sizes.update(more or {})
    for name, values in sizes.items():
        there = values[values > 0]
        for value in (there.min(initial=MOST), there.max(initial=LEAST)):
            if not LEAST <= value <= MOST:
                unit = "measure data and points in another unit"
                return f"{name} = {value:.3g} is beyond what floats can judge ({LEAST:.2g} to {MOST:.2g}): {unit}."
    return None


def least_ratio(lhs: Interval, rhs: Interval) -> float:
    """What lhs / rhs is at least, rounded down; NaN where the right side may be 0 or less and that decides.

    Examples
    --------
    >>> least_ratio(Interval(0.5, 2.0), Interval(1.0, 4.0))
    0.12499999999999999
    """
    by = rhs.upper if lhs.lower >= 0 else rhs.lower
    if not by > 0:
        return float("nan")
    return 0.0 if lhs.lower == 0 else math.nextafter(lhs.lower / by, -math.inf)


def compare(lhs: Interval, rhs: Interval, size: float = 0.0) -> tuple[str, str, bool]:
    """Outcome, reason and whether the bound is attained, from two intervals.

    Sides that overlap are equal up to rounding only where both are narrow: at most `SMALL` of the right side. Where the
    right side is 0 (or at most `NOTHING` of the `size` of the numbers that it is made of), the left side must be 0 up
    to `TINY` of them.

    Examples
    --------
    >>> compare(Interval.with_error(1.0, 1e-12), Interval.with_error(1.0, 1e-12))[0]
    'HOLDS'
    >>> compare(Interval.with_error(1.0, 0.1), Interval.with_error(1.0, 0.1))[0]
    'INCONCLUSIVE'
    """
    if lhs.upper <= rhs.lower:
        return "HOLDS", f"left side at most {lhs.upper:.9g}, right side at least {rhs.lower:.9g}.", False
    if lhs.lower > rhs.upper:
        return "VIOLATED", f"left side at least {lhs.lower:.9g}, right side at most {rhs.upper:.9g}.", False
    if not (lhs.is_rounding and rhs.is_rounding):
        ends = f"[{lhs.lower:.9g}, {lhs.upper:.9g}] and [{rhs.lower:.9g}, {rhs.upper:.9g}]"
        return "INCONCLUSIVE", f"the sides overlap: {ends}.", False
    if rhs.lower == 0.0 and rhs.upper <= NOTHING * size and max(lhs.upper, -lhs.lower) <= TINY * size:
        nothing = "0" if rhs.upper == 0 else f"at most {rhs.upper:.3g}"
        left = f"the left side at most {lhs.upper:.3g}, which rounding of numbers of size {size:.3g} explains"
        return "HOLDS", f"attained: the right side is {nothing}, {left}.", True
    widest = max(lhs.width, rhs.width)
    if widest <= SMALL * abs(rhs.middle):
        return "HOLDS", f"attained: both sides are {rhs.middle:.9g} up to rounding.", True
    known = f"to {widest:.3g} only, against a right side of {rhs.middle:.3g}"
    settle = "points further apart, or data and points of a size closer to 1, would settle it"
    return "INCONCLUSIVE", f"rounding leaves the sides known {known}: {settle}.", False
