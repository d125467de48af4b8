"""Cells of a sweep: what is computed, under which parameters, and the rows that come back."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, require
from .files import canonical_json

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One cell and the function that computes it. Made by :func:`make_task`; small, so that it travels to any worker.

    Attributes
    ----------
    analysis : str
        Name of the sweep; the store keeps one folder for each.
    reference : str
        ``"package.module:function"``; workers import it and call it as ``function(seed=seed, **parameters)``.
    parameters : dict
        Flat, plain JSON data.
    seed : int
        Root seed. Streams are keyed by content, so equal seeds in different cells mean common random numbers.
    key : str
        sha256 of analysis, parameters and seed: the name of the cell in the store.
    """

    analysis: str
    reference: str
    parameters: dict[str, Any] = field(hash=False)
    seed: int
    key: str

    def describe(self) -> str:
        """The cell in a few words, for progress and errors."""
        return " ".join([self.analysis, *(f"{name}={value}" for name, value in self.parameters.items())])


def make_task(analysis: str, function: str | Callable[..., Any], parameters: Mapping[str, Any], seed: int = 0) -> Task:
    """Check one cell and name it by its content.

    Parameters
    ----------
    analysis : str
        Name of the sweep.
    function : str or callable
        ``"package.module:function"``, or a function that stands at the top of a module.
    parameters : mapping
        Names to numbers, strings, booleans, None, or lists of these. No NaN: a parameter is part of a name.
    seed : int
        Root seed, >= 0.

    Examples
    --------
    >>> task = make_task("demo", "analysis.demo:cell", {"tau": 4})
    >>> task.describe(), task.key[:8]
    ('demo tau=4', '36bd0cf1')
    """
    reference = function if isinstance(function, str) else _reference_of(function)
    require(reference.count(":") == 1, f"cell function {reference!r}: must read 'package.module:function'")
    require(
        re.fullmatch(r"\w[\w.-]*", analysis) is not None,
        f"analysis {analysis!r}: use letters, digits, '-' and '_': it names a folder",
    )
    require(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0, f"seed = {seed!r}: must be an integer >= 0"
    )
    require(
        "seed" not in parameters,
        f"{analysis}: a cell parameter is named 'seed', which is the root seed's name; call it 'repeat'",
    )
    for name, value in parameters.items():
        scalars = value if isinstance(value, (list, tuple)) else [value]
        plain = all(
            item is None or isinstance(item, (bool, int, float, str)) or hasattr(item, "item") for item in scalars
        )
        allowed = "must be a number, string, boolean, None or a list of these"
        require(isinstance(name, str) and plain, f"{analysis}: parameter {name!r} = {value!r}: {allowed}")
    try:
        text = canonical_json({"analysis": analysis, "cell": dict(parameters), "seed": seed})
    except (TypeError, ValueError) as error:
        raise InputError(f"{analysis}: cell {dict(parameters)!r}: {error}") from error
    # What the cell receives is what the store says: lists for tuples, plain numbers for NumPy's. The order of names is
    # the grid's.
    stored = json.loads(text)["cell"]
    return Task(
        analysis,
        reference,
        {name: stored[name] for name in parameters},
        seed,
        hashlib.sha256(text.encode()).hexdigest(),
    )


def _reference_of(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or not name.isidentifier():
        raise InputError(
            f"cell function {function!r}: workers cannot import it; put it at the top of a module and give "
            "'module:function'"
        )
    return f"{module}:{name}"


def plain_rows(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows as plain Python values; NumPy scalars are turned into what they hold.

    Examples
    --------
    >>> plain_rows([{"x": 1, "name": "a"}])
    [{'x': 1, 'name': 'a'}]
    """
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise InputError(f"a cell returned {type(rows).__name__}; it must return a list of flat dicts")
    return [{_name(name): _plain(name, value) for name, value in row.items()} for row in rows]


def _name(name: object) -> str:
    require(isinstance(name, str), f"a row has the column {name!r}; names of columns must be strings")
    return str(name)


def _plain(name: str, value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(
        f"column {name!r} holds {type(value).__name__}; rows hold numbers, strings, booleans and None: make one row "
        "of each entry"
    )


def encode_rows(rows: list[Row]) -> list[Row]:
    """Rows as strict JSON: the three floats that JSON lacks become ``{"__float__": "nan"}``, ``"inf"`` or ``"-inf"``.

    All other floats are written by ``repr`` and so come back bit for bit (a NaN's payload is not kept).

    Examples
    --------
    >>> encode_rows([{"x": float("inf"), "y": 0.1}])
    [{'x': {'__float__': 'inf'}, 'y': 0.1}]
    """

    def encode(value: Any) -> Any:
        return {"__float__": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value

    return [{name: encode(value) for name, value in row.items()} for row in rows]


def decode_rows(rows: list[Row]) -> list[Row]:
    """Undo :func:`encode_rows`."""
    return [
        {name: float(value["__float__"]) if isinstance(value, dict) else value for name, value in row.items()}
        for row in rows
    ]
