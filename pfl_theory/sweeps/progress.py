"""Tell what runs, what is done and what is left: bars on a terminal, at most a line a second elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import IO, Any

from .workers import Event

_FINAL = ("computed", "skipped", "failed")
_SHOWN = 3  # running cells named at once


class Progress:
    """Hand an instance to :func:`~pfl_theory.sweeps.workers.run` as `on_event`.

    Parameters
    ----------
    stream : text stream, optional
        Standard error unless given; standard output stays free for results.
    every : float
        Seconds between two lines where the stream is no terminal.

    Examples
    --------
    >>> import sys
    >>> from pfl_theory.sweeps.cells import make_task
    >>> task = make_task("demo", "analysis.demo:cell", {"tau": 4})
    >>> with Progress(sys.stdout) as progress:
    ...     for kind in ("waiting", "started", "computed"):
    ...         progress(Event(kind, task, "new", 1.25))
    1/1 done, 0 running, 0 left: demo tau=4: computed in 1.2 s
    """

    def __init__(self, stream: IO[str] | None = None, every: float = 1.0) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._every = every
        self._last = float("-inf")
        self._unsaid: str | None = None
        self._running: dict[str, str] = {}
        self._total = self._done = 0
        self._bar: Any = None
        self._row: Any = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
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
        elif event.kind == "started":
            self._running[event.task.key] = event.task.describe()
        elif event.kind in _FINAL:
            self._running.pop(event.task.key, None)
            self._done += 1
            self._line(f"{event.task.describe()}: {event.kind} in {event.seconds:.1f} s")
        if self._bar is not None and self._total:
            self._bar.update(
                self._row, total=self._total, completed=self._done, visible=True, description=self._describe()
            )

    def _describe(self) -> str:
        names = list(self._running.values())
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        left = self._total - self._done - len(names)
        return (
            f"running {'; '.join(names[:_SHOWN])}{more}" if names else "waiting" if self._done else "starting workers"
        ) + f" ({left} left)"

    def _line(self, what: str) -> None:
        left = self._total - self._done - len(self._running)
        self._unsaid = f"{self._done}/{self._total} done, {len(self._running)} running, {left} left: {what}"
        if self._bar is None and (time.monotonic() - self._last >= self._every or self._done == self._total):
            self._say()

    def _say(self) -> None:
        if self._unsaid is not None:
            self._stream.write(self._unsaid + "\n")
            self._stream.flush()
            self._last, self._unsaid = time.monotonic(), None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._say()
