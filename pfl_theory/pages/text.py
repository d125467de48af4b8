"""Numbers and sentences as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Decimal

LONGEST = 160  # letters of a reason
SIDES = (
    (re.compile(r"left side at most (\S+), right side at least (\S+)\.(?= |$)"), "<="),
    (re.compile(r"left side at least (\S+), right side at most (\S+)\.(?= |$)"), ">"),
)


def escaped(text: str) -> str:
    r"""Text for Markdown, in a table or not: signs that would be markup are escaped, line ends become spaces.

    Examples
    --------
    >>> escaped("||G~||^2 <= X*")
    '\\|\\|G\\~\\|\\|^2 <= X\\*'
    """
    return re.sub(r"([\\|*~])", r"\\\1", " ".join(text.split()))


def number(value: float | str | None) -> str:
    """A number to six significant digits; one that is near 1 and not 1 says so, for 1 means attained.

    Examples
    --------
    >>> [number(value) for value in (0.123456789, 1.0, 1 - 1e-9, 1 + 1e-15, 1e36, "", None)]
    ['0.123457', '1', '1 - 1e-09', '1', '1e+36', '', '']
    """
    if value is None or value == "":
        return ""
    x = float(value)
    text = f"{x:.6g}"
    if text == "1" and abs(x - 1) > 1e-12:
        return f"1 {'-' if x < 1 else '+'} {abs(x - 1):.2g}"
    return text


def rounded_down(ratio: float) -> str:
    """Three digits, rounded down: what is said to be reached is reached, up to rounding in the tenth digit.

    Examples
    --------
    >>> rounded_down(0.99999), rounded_down(0.0)
    ('0.999', '0')
    """
    exact = Decimal(f"{ratio:.10g}")
    return f"{float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), rounding=ROUND_FLOOR)):.12g}"


def shortened(reason: str) -> str:
    """A reason for a table: an inequality for the sentence about both sides, six digits where they tell the sides
    apart, cut at a word.

    Examples
    --------
    >>> shortened("left side at most 0.123456789, right side at least 0.25. Sampled 100 times.")
    '0.123457 <= 0.25. Sampled 100 times.'
    """
    for pattern, sign in SIDES:
        reason = pattern.sub(lambda found, sign=sign: f"{' '.join(_apart(found[1], sign, found[2]))}.", reason)  # type: ignore[misc]
    return reason if len(reason) <= LONGEST else reason[:LONGEST].rsplit(" ", 1)[0] + " ..."


def _apart(left: str, sign: str, right: str) -> tuple[str, str, str]:
    a, b = f"{float(left):.6g}", f"{float(right):.6g}"
    return (left, sign, right) if a == b and left != right else (a, sign, b)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    r"""A Markdown table of cells that are Markdown already.

    Examples
    --------
    >>> table(("a", "b"), [("1", "2")])
    '| a | b |\n|---|---|\n| 1 | 2 |'
    """
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "|---" * len(head) + "|" if row == ["---"] * len(head) else f"| {' | '.join(row)} |" for row in rows
    )


def code(text: str) -> str:
    r"""A code span, also for a cell of a table.

    Examples
    --------
    >>> code("a | b")
    '`a \\| b`'
    """
    return "`" + text.replace("|", "\\|") + "`"
