"""Pages made from results: one Markdown page a statement, the front table of the README, and one HTML page of figures,
tables and verdicts. What they look like stands in ``templates``.
"""

from __future__ import annotations

from .front import (
    END,
    START,
    all_pages,
    best,
    every_statement,
    front_table,
    how_tight,
    index_page,
    ordered,
    transcribed,
    with_front_table,
    write_pages,
)
from .rows import largest_ratio, on_witness, read_rows, rows_of
from .statement import described_by, heading, linked, numbers_of, page, section, tightness, verdicts, witness_text
from .templates import MARK
from .text import code, escaped, number, shortened, table
from .wrap import wrapped

__all__ = [
    "END",
    "MARK",
    "START",
    "all_pages",
    "best",
    "code",
    "described_by",
    "escaped",
    "every_statement",
    "front_table",
    "heading",
    "how_tight",
    "index_page",
    "largest_ratio",
    "linked",
    "number",
    "numbers_of",
    "on_witness",
    "ordered",
    "page",
    "read_rows",
    "rows_of",
    "section",
    "shortened",
    "table",
    "tightness",
    "transcribed",
    "verdicts",
    "with_front_table",
    "witness_text",
    "wrapped",
    "write_pages",
]
