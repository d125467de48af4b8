"""Templates: files of fragments, each begun by a line ``<!-- fragment NAME -->``, filled by ``string.Template``."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from string import Template

MARK = "<!-- Written by `pfl-theory pages` from the claims and figures/verdicts.csv: edits are lost. -->"


def filled(file: str, fragment: str, **fields: object) -> str:
    """A fragment with its fields filled in; `$` before a name marks a field, `$$` is a dollar.

    Examples
    --------
    >>> filled("statement.md", "not judged")
    'It is not in the table of verdicts yet.'
    """
    return _fragments(file)[fragment].substitute(fields, mark=MARK)


@functools.cache
def _fragments(file: str) -> dict[str, Template]:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    parts = re.split(r"^<!-- fragment (.+) -->\n", text, flags=re.MULTILINE)
    return {name: Template(body.rstrip("\n")) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
