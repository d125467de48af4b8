"""What every analysis shares.

An analysis is a module with ``grid(scale) -> cells``, ``cell(*, seed, **parameters) -> rows`` and ``plot(table) ->
Figure``; everything else (workers, store, tables, provenance, index, command line) is here.

Beside the three functions a module has

- ``TITLE``: str; ``DATA``: names of the data sets it uses; ``CHOICES``: what the source leaves open and what was taken
  (dict or str);
- optional ``tables(table) -> dict of frames`` (more CSV files) and ``verdicts(table) -> list of dicts`` (rows for the
  index).

Rows get their cell's parameters as first columns. ``plot`` may return a dict of figures. Cells that lack their data
become rows with ``status = "skipped: needs ..."``, which ``plot``, ``tables`` and ``verdicts`` do not see.
"""

from __future__ import annotations

from .command import main, prepare, run_analyses
from .committed import SCALES, Made
from .confirm import confirm_analyses
from .module import Analysis, get, names
from .tables import csv_text, read_table, text_of
from .write import Report

__all__ = [
    "SCALES",
    "Analysis",
    "Made",
    "Report",
    "confirm_analyses",
    "csv_text",
    "get",
    "main",
    "names",
    "prepare",
    "read_table",
    "run_analyses",
    "text_of",
]
