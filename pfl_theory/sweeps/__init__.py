"""Sweeps: cells, a content-keyed store, local workers. A leaf that knows no mathematics."""

from .cells import Row, Task, make_task
from .progress import Progress
from .scratch import scratch
from .sources import Sources
from .store import Store, Stored
from .workers import Event, Failure, Outcome, n_workers, run

__all__ = [
    "Event",
    "Failure",
    "Outcome",
    "Progress",
    "Row",
    "Sources",
    "Store",
    "Stored",
    "Task",
    "make_task",
    "n_workers",
    "run",
    "scratch",
]
