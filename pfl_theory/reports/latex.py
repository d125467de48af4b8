"""A report as LaTeX: one table of the constants, one of the terms of the bound (package booktabs)."""

from __future__ import annotations

import re

from .report import Report
from .tables import Row, Section, heading, number, sections

WORDS = re.compile(r"Phi|tau|alpha|beta|rho|(gamma|sigma)_[FGH]|L_F|sqrt [MP]")
PLAIN = re.compile(r"[0-9.\s()^/+-]|[LBKDxvbmp](?![a-z])")
SIGNS = (
    ("\\", r"\textbackslash{}"), ("{", r"\{"), ("}", r"\}"), ("&", r"\&"), ("%", r"\%"), ("$", r"\$"), ("#", r"\#"),
    ("_", r"\_"), ("~", r"\textasciitilde{}"), ("^", r"\textasciicircum{}"), ("<", r"\textless{}"),
    (">", r"\textgreater{}"), ("|", r"\textbar{}"),
)  # fmt: skip


def escaped(text: str) -> str:
    r"""Text in which no sign is markup.

    Examples
    --------
    >>> escaped("4.87 b^2, 50 %")
    '4.87 b\\textasciicircum{}2, 50 \\%'
    """
    signs = dict(SIGNS)
    return "".join(signs.get(letter, letter) for letter in text)


def maths(text: str) -> str | None:
    r"""A symbol or a term as a formula; None where the text is prose.

    Examples
    --------
    >>> maths("4.20 x^2 (tau-1) v^2"), maths("gamma_F, known")
    ('$4.20\\, x^2 (\\tau-1) v^2$', None)
    """
    if PLAIN.sub("", WORDS.sub("", text)):
        return None
    made = WORDS.sub(lambda found: "\\" + re.sub(r"sqrt (.)", r"sqrt{\1}", found[0]) + " ", text)
    made = made.replace(r"\L_F ", "L_F ")
    made = re.sub(r"^([0-9.]+) ", r"\1\\, ", re.sub(r" +(?=[)^_-]|$)", "", made))
    return f"${re.sub(' +', ' ', made)}$"


def latex(report: Report) -> str:
    """Every section that has rows, a table each; sentences become notes under it."""
    caption = escaped(" ".join(heading(report)))
    tables = [_table(section) for section in sections(report) if section.rows]
    return "\n\n".join([f"% {report.name}\n% {caption}", *tables]) + "\n"


def _table(section: Section) -> str:
    lines = [
        r"\begin{table}",
        rf"\caption{{{escaped(section.title)}}}",
        r"\begin{tabular}{lrlp{0.55\linewidth}}",
        r"\toprule",
        r" & value & known & in words \\",
        r"\midrule",
        *(_line(row) for row in section.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    notes = " ".join((*section.before, *section.after))
    return "\n".join([*lines, *([rf"\par\small {escaped(notes)}"] if notes else []), r"\end{table}"])


def _line(row: Row) -> str:
    quantity = maths(row.quantity) or escaped(row.quantity)
    cells = (quantity, escaped(number(row.value, row.known)), escaped(row.known), escaped(row.words))
    return " & ".join(cells) + r" \\"
