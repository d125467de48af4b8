"""What does it say for my users: a report on one's own problem, and steps that reach an accuracy.

What is computed stands in plain records (`report.py`, `bound.py`, `users.py`, `along.py`, `recommend.py`); `tables.py`,
`text.py`, `html.py`, `latex.py` and `picture.py` show them and compute nothing.
"""

from __future__ import annotations

from .along import visited
from .bound import Bound, Road, Term
from .recommend import Choice, Recommendation, recommend
from .report import Report, report
from .tables import as_data
from .usual import usual_algorithm

__all__ = [
    "Bound",
    "Choice",
    "Recommendation",
    "Report",
    "Road",
    "Term",
    "as_data",
    "recommend",
    "report",
    "usual_algorithm",
    "visited",
]
