"""Tell what runs, what is done, what is left and how long still: a bar on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any

from .workers import Event

_FINAL = ("computed", "skipped", "failed")
_SHOWN = 3  # running cells named at once
_SPACING = 20  # lines are at least this part of the time gone apart: a sweep of hours says tens of lines, not hundreds


class Progress:
    """Hand an instance to :func:`~pfl_theory.sweeps.workers.run` as `on_event`.

    Parameters
    ----------
    stream : text stream, optional
        Standard error unless given; standard output stays free for results.
    every : float
        Seconds between two lines where the stream is no terminal, at least; the last line is said at once.
    clock : callable
        Seconds, from any start.

    Examples
    --------
    Off a terminal, six cells of 120 s each, one after the other, a line every four minutes:

    >>> import itertools, sys
    >>> from pfl_theory.sweeps.cells import make_task
    >>> tasks = [make_task("demo", "analysis.demo:cell", {"tau": tau}) for tau in range(6)]
    >>> minutes = itertools.count(0, 60)  # one at each look at the clock
    >>> with Progress(sys.stdout, every=240, clock=lambda: next(minutes)) as progress:
    ...     for task in tasks:
    ...         progress(Event("waiting", task, "new"))
    ...     for task in tasks:
    ...         progress(Event("started", task, "new"))
    ...         progress(Event("computed", task, "new", 120.0))
    0/6 done, 1 running, 5 left: demo tau=0
    2/6 done, 1 running, 3 left, about 8 min to go: demo tau=2
    4/6 done, 1 running, 1 left, about 4 min to go: demo tau=4
    6/6 done, 0 running, 0 left: all in 11 min
    """

    def __init__(
        self, stream: IO[str] | None = None, every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._every, self._clock = every, clock
        self._began: float | None = None
        self._last = float("-inf")
        self._unsaid: str | None = None
        self._running: dict[str, str] = {}
        self._total = self._done = 0
        self._waiting: Counter[str] = Counter()  # cells not done, by analysis
        self._ended: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}  # of the cells that ended, by analysis
        self._bar: Any = None
        self._row: Any = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
            )
            self._bar = Bars(*columns, console=Console(file=self._stream), transient=True)
            self._bar.start()
            self._row = self._bar.add_task("starting workers", total=0, visible=False)
        return self

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind == "waiting":
            self._total += 1
            self._waiting[event.task.analysis] += 1
        elif event.kind == "started":
            self._running[event.task.key] = event.task.describe()
        elif event.kind in _FINAL:
            self._running.pop(event.task.key, None)
            self._done += 1
            self._waiting[event.task.analysis] -= 1
            self._ended[event.task.analysis] += 1
            self._seconds[event.task.analysis] = self._seconds.get(event.task.analysis, 0.0) + event.seconds
        if event.kind == "started" or event.kind in _FINAL:
            self._tell()
        elif self._bar is not None and self._total:
            self._bar.update(self._row, total=self._total, visible=True, description=self._names())

    def _tell(self) -> None:
        now = self._clock()
        if self._began is None:
            self._began = now
        gone = now - self._began
        seconds = seconds_left(self._waiting, self._ended, self._seconds, gone)
        to_go = f"about {span(seconds)} to go" if seconds else ""
        left = self._total - self._done - len(self._running)
        if self._bar is not None:
            description = f"{to_go}{'; ' * bool(to_go)}{self._names()} ({left} left)"
            self._bar.update(self._row, total=self._total, completed=self._done, visible=True, description=description)
            return
        counts = f"{self._done}/{self._total} done, {len(self._running)} running, {left} left"
        over = self._done == self._total
        what = f"all in {span(gone)}" if over else self._names()
        self._unsaid = f"{counts}{', ' * bool(to_go)}{to_go}: {what}"
        if over or now - self._last >= max(self._every, gone / _SPACING):
            self._say(now)

    def _names(self) -> str:
        names = list(self._running.values())
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return "; ".join(names[:_SHOWN]) + more if names else "waiting" if self._done else "starting workers"

    def _say(self, now: float) -> None:
        if self._unsaid is not None:
            self._stream.write(self._unsaid + "\n")
            self._stream.flush()
            self._last, self._unsaid = now, None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._say(self._last)


def seconds_left(
    waiting: Mapping[str, int], ended: Mapping[str, int], seconds: Mapping[str, float], gone: float
) -> float | None:
    """Estimate the seconds until all cells are done; None as long as there is nothing to go by.

    A cell that is not done is taken to need what those of its analysis needed on average, or those of all analyses
    where none of its own has ended; the work of all of them is taken to go on as fast as it went until now.

    Parameters
    ----------
    waiting, ended : mappings
        Cells not done and done, by analysis.
    seconds : mapping
        Seconds that the cells done took together, by analysis.
    gone : float
        Seconds since the first one started.

    Examples
    --------
    Two workers: in 10 s, 20 cells of 1 s; left are two of these and one of an analysis not yet seen.

    >>> seconds_left({"a": 2, "b": 1}, {"a": 20}, {"a": 20.0}, 10.0)
    1.5
    """
    work = sum(seconds.values())
    if not (work > 0 and gone > 0):
        return None
    usual = work / sum(ended.values())
    means = {name: seconds[name] / ended[name] if ended.get(name) else usual for name in waiting}
    return sum(n * means[name] for name, n in waiting.items()) * gone / work


def span(seconds: float) -> str:
    """Say a time in one unit, for people.

    Examples
    --------
    >>> [span(s) for s in (0.2, 12.3, 100, 3000, 9000)]
    ['1 s', '12 s', '2 min', '50 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
