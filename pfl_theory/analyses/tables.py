"""Tables: text first, so that a stored, a computed and a committed cell give the same bytes."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..sweeps import Row
from ..sweeps.files import canonical_json

if TYPE_CHECKING:
    from pandas import DataFrame


def text_of(value: Any) -> str:
    """A value as it stands in a CSV; floats by `repr`, which reads back bit for bit.

    Examples
    --------
    >>> [text_of(value) for value in (0.1, 1.0, 3, True, None, float("nan"), "a", [1, 2])]
    ['0.1', '1.0', '3', 'True', '', 'nan', 'a', '[1,2]']
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return canonical_json(value)
    return repr(float(value)) if isinstance(value, float) else str(value)  # a NumPy float shows its type otherwise


def csv_text(rows: Sequence[Row]) -> str:
    r"""Rows as CSV; columns in order of first appearance.

    Examples
    --------
    >>> csv_text([{"a": 1}, {"a": 2, "b": 0.5}])
    'a,b\n1,\n2,0.5\n'
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text_of(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()


def read_table(text: str) -> DataFrame:
    """Read the table behind a CSV. What `plot` sees always comes from here, so that a redraw from the file draws the
    same.

    Columns become booleans, integers, floats or strings, whichever fits all their fields; an empty field is NaN or
    None. (pandas' own reader rounds floats in some versions.)

    Examples
    --------
    >>> read_table(csv_text([{"k": 1, "x": 0.1, "name": "a"}, {"k": 2, "x": None, "name": "b"}])).to_dict("list")
    {'k': [1, 2], 'x': [0.1, nan], 'name': ['a', 'b']}
    """
    import pandas as pd

    names, *lines = csv.reader(io.StringIO(text))
    return pd.DataFrame({name: _column([line[k] for line in lines]) for k, name in enumerate(names)})


def _column(fields: list[str]) -> list[Any]:
    given = [item for item in fields if item != ""]
    if given and set(given) <= {"True", "False"}:
        return [{"True": True, "False": False}.get(item) for item in fields]
    if not any("_" in item for item in given):  # Python reads 1_0 as ten
        with contextlib.suppress(ValueError):
            return [int(item) for item in fields]
        with contextlib.suppress(ValueError):
            return [float(item or "nan") for item in fields]
    return [item or None for item in fields]
