"""What the notes of a result say of the sources that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .sources import Sources, differs

MADE, OLDER = "made by these sources", "made by older sources"
LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "numba": "numba", "pot": "POT"}  # named in a confirmation


class State(NamedTuple):
    """`kind` is ``"made"``, ``"confirmed"`` or ``"older"``; `text` says it; `changed` is a module that has changed
    since, ``""`` where none has.
    """

    kind: str
    text: str
    changed: str = ""


def state(notes: Mapping[str, Any]) -> State:
    """The state of a result, from its notes and the sources as they stand.

    A confirmation counts while the table is the one that was confirmed and the sources are those it was made with.

    Examples
    --------
    >>> made = Sources().as_data()
    >>> state({"sources": [made]}).text, state({"sources": [{"pfl_theory.errors": "0123"}]}).text
    ('made by these sources', 'made by older sources')
    """
    recorded = notes.get("sources")
    changed = first_change(recorded if isinstance(recorded, list) else [None])
    if not changed:
        return State("made", MADE)
    confirmed = notes.get("confirmed")
    if not isinstance(confirmed, dict) or confirmed.get("csv_sha256") != notes.get("csv_sha256"):
        return State("older", OLDER, changed)
    sources = confirmed.get("sources")
    if not isinstance(sources, list) or not sources or first_change(sources):
        return State("older", OLDER, changed)
    return State("confirmed", confirmation_text(confirmed), changed)


def confirmation_text(confirmed: Mapping[str, Any]) -> str:
    """A confirmation in words.

    Examples
    --------
    >>> versions = {"numpy": "2.0", "scipy": "1.14", "numba": "0.61", "pot": "0.9.7"}
    >>> confirmation_text({"cells": 3, "of": 18, "date": "2026-11-28", "packages": versions})
    'confirmed, 3 of 18 cells, 2026-11-28, with numpy 2.0, scipy 1.14, numba 0.61, POT 0.9.7'
    """
    packages = confirmed.get("packages") or {}
    versions = ", ".join(f"{shown} {packages.get(name)}" for name, shown in LIBRARIES.items())
    return (
        f"confirmed, {confirmed.get('cells')} of {confirmed.get('of')} cells, {confirmed.get('date')}, with {versions}"
    )


def first_change(recorded: list[Any]) -> str:
    """First module that has changed since `recorded`, a list of sources as data; ``""`` if none has."""
    return next((name for name in (differs(Sources.from_data(item)) for item in recorded) if name), "")
