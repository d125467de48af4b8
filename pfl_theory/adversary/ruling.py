"""What a referee says of a statement on an instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .real import TIE, Real


@dataclass(frozen=True)
class Pair:
    """Both sides at a user or point, known up to their ends (equal ends: to 50 digits).

    Where `loose` is positive, the right side is the best that the statement allows, and the package may use a larger
    one, by this share of it at most: a searched centre, say. `unsure` is how far the left side may be off where it is
    stated with an error.
    """

    lhs: Real
    rhs: Real
    loose: float = 0.0
    unsure: Real = 0

    @property
    def holds(self) -> bool:
        """Whether lhs <= rhs, equal sides included."""
        return bool(self.lhs - self.unsure <= self.rhs + TIE * max(abs(self.lhs), abs(self.rhs)))

    @property
    def ratio(self) -> float:
        """lhs / rhs, for the worst of several pairs."""
        return float(self.lhs / self.rhs) if self.rhs > 0 else (float("inf") if self.lhs > 0 else float("-inf"))


@dataclass(frozen=True)
class Ruling:
    """The referee's judgement.

    Attributes
    ----------
    applies : bool or None
        Whether every hypothesis holds; None where one holds or fails within rounding, or where this referee does not
        know.
    why : str
        Which hypothesis fails, or what is not known.
    pairs : sequence of Pair
        Both sides at every user or point; empty where they are not known to this referee.
    open_constant : bool
        The statement names no constant: it never holds, and 1 is too small where lhs > rhs.
    """

    applies: bool | None
    why: str = ""
    pairs: Sequence[Pair] = ()
    open_constant: bool = False

    @property
    def holds(self) -> bool:
        """Whether the inequality holds at every pair."""
        return all(pair.holds for pair in self.pairs)


def refused(why: str) -> Ruling:
    """A hypothesis fails."""
    return Ruling(False, why)


def unsettled(why: str) -> Ruling:
    """This referee does not know."""
    return Ruling(None, why)
