"""Several statements judged on one instance: one table."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..errors import InputError
from .claim import OUTCOMES, Claim, Verdict
from .instance import Instance

WIDTH = 100  # of a line in a terminal


@dataclass(frozen=True)
class Verdicts(Sequence[Verdict]):
    """Verdicts of several statements, in the order of the statements.

    Attributes
    ----------
    verdicts : tuple of Verdict
    """

    verdicts: tuple[Verdict, ...]

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, k: Any) -> Any:
        return self.verdicts[k]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    @property
    def applying(self) -> Verdicts:
        """Only the statements whose hypotheses hold here."""
        return Verdicts(tuple(v for v in self.verdicts if v.outcome != "NOT_APPLICABLE"))

    def frame(self) -> Any:
        """One row a statement.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        return pd.DataFrame([verdict.row() for verdict in self.verdicts])

    def __str__(self) -> str:
        """A statement a line with its reason below, then how many there are of each outcome."""
        width = max((len(_name(v)) for v in self.verdicts), default=0)
        lines = []
        for verdict in self.verdicts:
            ratio = f", ratio {_ratio(verdict)}" if _ratio(verdict) else ""
            lines.append(f"{_name(verdict):<{width}}  {_outcome(verdict)}{ratio}")
            lines += [f"    {part}" for part in textwrap.wrap(verdict.reason, WIDTH - 4)]
        count = {outcome: sum(v.outcome == outcome for v in self.verdicts) for outcome in OUTCOMES}
        told = ", ".join(f"{number} {outcome}" for outcome, number in count.items() if number)
        lines.append(f"{len(self.verdicts)} statements: {told}" if told else "no statements")
        levels = [v.level for v in self.verdicts if v.level is not None]
        if levels:
            sure = 1 - sum(1 - level for level in levels)
            lines.append(f"{len(levels)} of them sampled: all right at once with probability at least {sure:.5g}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("statement", "outcome", "ratio", "reason"))
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in (_name(v), _outcome(v), _ratio(v), v.reason))}</tr>"
            for v in self.verdicts
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _name(verdict: Verdict) -> str:
    return ", ".join(part for part in (verdict.claim, verdict.version, verdict.form) if part)


def _outcome(verdict: Verdict) -> str:
    return f"{verdict.outcome}, vacuous" if verdict.vacuous else verdict.outcome


def _ratio(verdict: Verdict) -> str:
    return "" if math.isnan(verdict.ratio) else f"{verdict.ratio:.4g}"


def judged_on(claims: Sequence[Claim], instance: Instance) -> Verdicts:
    """Every claim on the instance. What the instance lacks for a statement is said, and does not stop the others."""
    return Verdicts(tuple(_judged(claim, instance) for claim in claims))


def _judged(claim: Claim, instance: Instance) -> Verdict:
    try:
        return claim.judge(instance)
    except InputError as error:  # no points, no algorithm: the statement is about something that is not given
        reason = f"{str(error).removeprefix(f'instance {instance.name!r}: ')}."
        return Verdict(claim.name, claim.version, claim.form, instance.name, "NOT_APPLICABLE", reason)
