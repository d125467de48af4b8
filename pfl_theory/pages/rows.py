"""Rows of the table of verdicts, and what they say of a claim."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, require
from .text import number, rounded_down

if TYPE_CHECKING:
    from ..judging.claim import Claim

Row = Mapping[str, str]

NUMBERS = ("control", "lhs_lower", "rhs_lower", "rhs_upper", "ratio", "level")
NEEDED = (
    "claim",
    "version",
    "form",
    "instance",
    "scope",
    "scale",
    "expected",
    "outcome",
    *NUMBERS,
    "reason",
    "command",
)


def command(claim: Claim, case: str) -> str:
    """The command that judges a case of a claim."""
    from ..judging import table  # NumPy and Numba come with it

    return table.command(claim, case)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of the table of verdicts.

    Raises
    ------
    InputError
        The table is absent, cannot be read, or is another table.
    """
    source = Path(path)
    require(
        source.is_file(),
        f"{source}: no such table of verdicts; make it with: make full (a while); or take the quick one, "
        "figures/quick/verdicts.csv, which make figures makes",
    )
    try:
        reader = csv.DictReader(io.StringIO(source.read_text(encoding="utf-8")))
        missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
        rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read ({error}); make it again with: make figures") from error
    require(
        not missing, f"{source}: not a table of verdicts, for it lacks {', '.join(missing)}; make it with: make figures"
    )
    for k, row in enumerate(rows, start=2):
        require(
            None not in row and None not in row.values(),
            f"{source}, line {k}: not as many fields as the first line; make the table again",
        )
        for name in NUMBERS:
            require(
                _is_number(row[name]),
                f"{source}, line {k}: {name} = {row[name]!r} is not a number; make the table again with: make figures",
            )
    return rows


def _is_number(text: str | None) -> bool:
    try:
        return text == "" or math.isfinite(float(text or "nan"))
    except ValueError:
        return False


def rows_of(claim: Claim, rows: Iterable[Row]) -> list[Row]:
    """The rows of one form of a statement: those of full scale, or the quick ones where there is no other."""
    mine = [
        row for row in rows if (row["claim"], row["version"], row["form"]) == (claim.name, claim.version, claim.form)
    ]
    return [row for row in mine if row["scale"] == "full"] or mine


def on_witness(claim: Claim, rows: Iterable[Row]) -> tuple[str, float]:
    """Outcome and ratio on the witness: from its row, or what the claim states where it has none."""
    typed = command(claim, "witness")
    for row in rows_of(claim, rows):
        if row["command"] == typed and row["ratio"]:
            return row["outcome"], float(row["ratio"])
    return claim.expected, claim.known_ratio


def ratio_text(row: Row) -> str:
    """Left side over right side for people: of sampled sides what the ends of both prove.

    Examples
    --------
    >>> exact = {"ratio": "0.75", "level": "", "lhs_lower": "0.75", "rhs_upper": "1.0"}
    >>> ratio_text(exact), ratio_text(exact | {"level": "0.99", "lhs_lower": "0.12987"})
    ('0.75', 'at least 0.129')
    """
    if not row["level"] or not row["ratio"]:
        return number(row["ratio"])
    lower = float(row["lhs_lower"])
    return f"at least {rounded_down(lower / float(row['rhs_upper' if lower >= 0 else 'rhs_lower']))}"


def largest_ratio(claim: Claim, rows: Iterable[Row]) -> float:
    """The largest ratio that some instance of the table certifies: lower end of the left side over upper end of the
    right; controls left out.
    """
    ends = [(row["lhs_lower"], row["rhs_upper"]) for row in rows_of(claim, rows) if float(row["control"]) == 1.0]
    found = [float(lower) / float(upper) for lower, upper in ends if lower and upper and float(upper) > 0]
    return max(found, default=on_witness(claim, rows)[1])
