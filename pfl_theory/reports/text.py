"""A report for a terminal: lines of at most 100 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .recommend import Recommendation
from .report import Report
from .tables import Row, Section, choice_rows, heading, number, sections

WIDTH = 100


def report_text(report: Report) -> str:
    """All sections."""
    lines = [*_filled(f"What the theory says for {report.name}")]
    for sentence in heading(report):
        lines += _filled(sentence)
    for section in sections(report):
        lines += ["", *section_lines(section)]
    return "\n".join(lines)


def recommendation_text(advice: Recommendation) -> str:
    """What reaches epsilon, or why nothing does."""
    title = f"To prove an average squared gradient of F of at most epsilon = {advice.epsilon:g}"
    return "\n".join(section_lines(Section(title, (), tuple(choice_rows(advice)), (f"{advice.reason.rstrip('.')}.",))))


def section_lines(section: Section) -> list[str]:
    """Title, sentences, rows, sentences."""
    lines = [*_filled(section.title), "-" * min(len(section.title), WIDTH)]
    for sentence in section.before:
        lines += _filled(sentence)
    lines += row_lines(section.rows)
    for sentence in section.after:
        lines += _filled(sentence)
    return lines


def row_lines(rows: Sequence[Row]) -> list[str]:
    """Columns as wide as their longest cell; words wrap in theirs."""
    if not rows:
        return []
    cells = [(row.quantity, number(row.value, row.known), row.known, row.words) for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(3)]
    start = "  ".join(" " * width for width in widths)
    lines = []
    for quantity, value, known, words in cells:
        head = f"{quantity:<{widths[0]}}  {value:>{widths[1]}}  {known:<{widths[2]}}"
        wrapped = textwrap.wrap(words, max(WIDTH - len(head) - 4, 30)) or [""]
        lines.append(f"  {head}  {wrapped[0]}".rstrip())
        lines += [f"  {start}  {more}".rstrip() for more in wrapped[1:]]
    return lines


def _filled(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, break_long_words=True)
