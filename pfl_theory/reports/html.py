"""A report in a notebook: plain HTML tables, without scripts or styles of one's own."""

from __future__ import annotations

from html import escape

from .recommend import Recommendation
from .report import Report
from .tables import Section, choice_rows, heading, number, sections


def report_html(report: Report) -> str:
    """All sections."""
    head = f"<h3>What the theory says for {escape(report.name)}</h3>"
    setting = "".join(_paragraph(sentence) for sentence in heading(report))
    return head + setting + "".join(section_html(section) for section in sections(report))


def recommendation_html(advice: Recommendation) -> str:
    """What reaches epsilon, or why nothing does."""
    title = f"To prove an average squared gradient of F of at most epsilon = {advice.epsilon:g}"
    return section_html(Section(title, (), tuple(choice_rows(advice)), (f"{advice.reason.rstrip('.')}.",)))


def section_html(section: Section) -> str:
    """Title, sentences, a table, sentences."""
    parts = [f"<h4>{escape(section.title)}</h4>", *(_paragraph(text) for text in section.before)]
    if section.rows:
        head = "".join(f"<th>{name}</th>" for name in ("", "value", "known", "in words"))
        body = "".join(
            f"<tr><td>{escape(row.quantity)}</td><td>{escape(number(row.value, row.known))}</td>"
            f"<td>{escape(row.known)}</td><td>{escape(row.words)}</td></tr>"
            for row in section.rows
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return "".join([*parts, *(_paragraph(text) for text in section.after)])


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
