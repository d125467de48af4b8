"""What an attack found: judgements and outcomes of every statement, the worst margin, and every failure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

COLUMNS = (
    "claim",
    "version",
    "form",
    "judged",
    "compared",
    "holds",
    "viol.",
    "open",
    "n/a",
    "refused",
    "worst",
    "fail",
    "s",
)


@dataclass(frozen=True)
class Failure:
    """A disagreement between the package and the referee, or an exception.

    Attributes
    ----------
    claim, version, form : str
        The statement.
    what : str
        One line.
    seed, number : int
        `instance(claim, seed, number)` draws the instance again.
    """

    claim: str
    version: str
    form: str
    what: str
    seed: int
    number: int

    def __str__(self) -> str:
        form = f", {self.form}" if self.form else ""
        again = f"--seed {self.seed} --number {self.number}"
        return f"{self.claim} ({self.version}{form}): {self.what} [pfl-theory attack {self.claim} {again}]"


@dataclass
class Tally:
    """Counts of one form of a statement."""

    outcomes: Counter[str] = field(default_factory=Counter)
    worst: float = float("-inf")
    failures: int = 0
    seconds: float = 0.0
    compared: int = 0  # judged with both sides in 50 digits


@dataclass
class Report:
    """Tallies by (name, version, form), and all failures."""

    seed: int
    tallies: dict[tuple[str, str, str], Tally] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    invariances: Counter[str] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        """Judgements in all."""
        return sum(sum(tally.outcomes.values()) for tally in self.tallies.values())

    def rows(self) -> list[dict[str, Any]]:
        """One row a form of a statement."""
        return [
            {
                "claim": key[0],
                "version": key[1],
                "form": key[2],
                "judged": sum(t.outcomes.values()),
                "compared": t.compared,
                "holds": t.outcomes["HOLDS"],
                "viol.": t.outcomes["VIOLATED"],
                "open": t.outcomes["INCONCLUSIVE"],
                "n/a": t.outcomes["NOT_APPLICABLE"],
                "refused": t.outcomes["refused"],
                "worst": None if t.worst == float("-inf") else f"{t.worst:.4g}",
                "fail": t.failures,
                "s": round(t.seconds, 1),
            }
            for key, t in self.tallies.items()
        ]

    def distinct(self) -> dict[tuple[str, str], list[Failure]]:
        """Failures by statement and kind: numbers in a line do not make another kind."""
        found: dict[tuple[str, str], list[Failure]] = {}
        for failure in self.failures:
            kind = "".join(c for c in failure.what.split(":")[0] if not c.isdigit())[:60]
            found.setdefault((failure.claim, kind), []).append(failure)
        return found
