"""Every statement as a hostile referee would try it: instances that know nothing of the statements' own draws, judged
again by plain formulas in 50 digits.

A new statement brings a referee of its own: one file in `referees/`, found by its name.
"""

from __future__ import annotations

from .loop import attack, claims_of, instance
from .report import COLUMNS, Failure, Report

__all__ = ["COLUMNS", "Failure", "Report", "attack", "claims_of", "instance"]
