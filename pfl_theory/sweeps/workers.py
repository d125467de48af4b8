"""Compute the cells that are not stored yet, in worker processes."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import shutil
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..discovery import noting
from ..errors import DataMissingError, InputError, OutputError, require
from .bytecode import remove_outdated
from .cells import Row, Task, plain_rows
from .scratch import scratch_of
from .sources import Sources, edited, files_seen, sources_of
from .store import Store, Stored

# One thread a worker: as many workers as processors then share the machine, and BLAS gives the same bits for any number
# of workers.
_LIBRARIES = ("PFL_THEORY", "NUMBA_NUM", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "BLIS_NUM")
ONE_THREAD = {f"{library}_THREADS": "1" for library in _LIBRARIES}
_POLL = 0.25  # seconds between looks at which cells have started, and at whether the parent still lives
_MOST_EDITS = 20  # of sources while a sweep runs, after each of which the running cells start again

Status = Literal["stored", "computed", "skipped", "failed"]


class Failure(NamedTuple):
    """Why a cell has no rows. `details` is the traceback; empty where the message says it all (bad input, absent
    data).
    """

    kind: str
    message: str
    details: str = ""


class Outcome(NamedTuple):
    """What became of a task: its rows in case of ``"stored"`` and ``"computed"``, the failure otherwise."""

    task: Task
    status: Status
    reason: str
    rows: list[Row] = []
    seconds: float = 0.0
    sources: Sources = Sources()
    failure: Failure | None = None


class Event(NamedTuple):
    """What :func:`run` tells while it runs.

    `kind` is ``"waiting"``, ``"started"`` (not told of cells too short to be seen), or the status of the outcome.
    """

    kind: str
    task: Task
    reason: str
    seconds: float = 0.0


def n_workers(workers: int | str) -> int:
    """Check the number of worker processes.

    Examples
    --------
    >>> n_workers("2")
    2
    >>> n_workers(0)
    Traceback (most recent call last):
    ...
    pfl_theory.errors.InputError: workers = 0: must be at least 1
    """
    text = str(workers)
    number = text.removeprefix("-").isdecimal() and not isinstance(workers, bool)
    require(number, f"unknown workers {workers!r}; give a number (1 to {os.cpu_count() or 1})")
    require(int(text) >= 1, f"workers = {text}: must be at least 1")
    return int(text)


def run(
    tasks: Sequence[Task],
    *,
    store: Store | str | os.PathLike[str],
    workers: int | str = 1,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> list[Outcome]:
    """Results of all tasks, in their order; those that the store holds are not computed again.

    Workers are separate processes even when there is one: what this process has loaded never decides which sources
    count. Each writes a result to the store the moment its cell ends, so that a kill loses the running cells only.
    Results depend neither on the number of workers nor on the order of tasks, and a stored result is the computed one
    bit for bit.

    Parameters
    ----------
    tasks : sequence of Task
        From :func:`~pfl_theory.sweeps.cells.make_task`. Equal cells are computed once.
    store : Store or path
        Where results are kept.
    workers : int
        Number of processes.
    force : bool
        Compute stored cells again.
    on_event : callable, optional
        Told of every change, see :class:`Event` and :class:`~pfl_theory.sweeps.progress.Progress`.

    Raises
    ------
    OutputError
        The store cannot be written. What goes wrong inside a cell is an outcome with status ``"failed"`` and stops no
        other cell.
    """
    number = n_workers(workers)
    store = store if isinstance(store, Store) else Store(Path(store))
    tell = on_event or (lambda _event: None)
    importlib.invalidate_caches()  # modules written a moment ago
    store.tidy()
    unique = {task.key: task for task in tasks}
    outcomes: dict[str, Outcome] = {}
    reasons: dict[str, str] = {}
    for key, task in unique.items():
        record, reason = store.lookup(task)
        if record is not None and not force:
            outcomes[key] = Outcome(task, "stored", reason, record.rows, record.seconds, record.sources)
            tell(Event("stored", task, reason, record.seconds))
        else:
            reasons[key] = "forced" if record is not None else reason
            tell(Event("waiting", task, reasons[key]))
    if reasons:
        with _marker_folder(store.folder) as markers:
            waiting = [unique[key] for key in reasons]
            answers = _compute_all(
                waiting, number, store.folder, markers, lambda task: tell(Event("started", task, reasons[task.key]))
            )
            with contextlib.closing(answers):  # whatever happens here, the processes end
                for answer in answers:
                    task, reason = unique[answer.key], reasons[answer.key]
                    outcomes[answer.key] = _outcome(store, task, reason, answer)
                    tell(Event(outcomes[answer.key].status, task, reason, answer.seconds))
    return [outcomes[task.key]._replace(task=task) for task in tasks]


class _Answer(NamedTuple):
    """What a worker sends back: everything but the rows, which are in the store."""

    key: str
    status: Literal["computed", "skipped", "failed", "unwritable", "edited"]
    seconds: float
    failure: Failure | None = None


def _outcome(store: Store, task: Task, reason: str, answer: _Answer) -> Outcome:
    if answer.status == "unwritable":
        raise OutputError(answer.failure.message if answer.failure else "the store cannot be written")
    if answer.status == "edited":
        failure = Failure("StoreError", "its sources were edited again and again while the sweep ran; run it again")
        return Outcome(task, "failed", reason, seconds=answer.seconds, failure=failure)
    if answer.status != "computed":
        return Outcome(task, answer.status, reason, seconds=answer.seconds, failure=answer.failure)
    record, problem = store.lookup(task)
    if record is None:  # an edit during the run: the numbers are neither the old code's nor surely the new one's
        return Outcome(
            task, "failed", reason, failure=Failure("StoreError", f"{problem} while the sweep ran; run it again")
        )
    return Outcome(task, "computed", reason, record.rows, record.seconds, record.sources)


def _compute_all(
    tasks: list[Task], workers: int, folder: Path, markers: Path, started: Callable[[Task], None]
) -> Generator[_Answer, None, None]:
    """Answers in order of completion. When a worker dies (killed, out of memory), its pool is replaced and the others
    go on.
    """
    left = {task.key: task for task in tasks}
    edits = 0
    while left:
        before, restart = len(left), False
        with contextlib.closing(_one_pool(list(left.values()), workers, folder, markers, started)) as answers:
            for answer in answers:
                if answer.status == "edited" and edits < _MOST_EDITS:
                    restart = True
                    continue
                del left[answer.key]
                yield answer
        if restart and left:  # with processes that import what stands now
            edits += 1
            time.sleep(_POLL)
            continue
        # Whatever is left was in a pool that broke. Those that had finished need no second run; those that had started
        # run again alone, so that the one at fault is known by name and takes no other along.
        suspects = [task for key, task in left.items() if (markers / f"{key}.started").exists()]
        if len(left) == before and not suspects:
            raise InputError(
                "worker processes die before they start a cell; free some memory, or look with pfl-theory doctor"
            )
        for task in suspects:
            del left[task.key]
            if (markers / f"{task.key}.ended").exists():
                yield _Answer(task.key, "computed", 0.0)
                continue
            again = list(_one_pool([task], 1, folder, markers, started))
            message = "the worker process was killed twice on this cell; out of memory?"
            yield from again or [_Answer(task.key, "failed", 0.0, Failure("WorkerError", message))]


def _one_pool(
    tasks: list[Task], workers: int, folder: Path, markers: Path, started: Callable[[Task], None]
) -> Generator[_Answer, None, None]:
    """Answers of one pool of processes, until all are in, a process dies, or sources are edited: then what has not
    started is left to another pool.
    """
    from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor  # type: ignore[import-untyped]

    before = files_seen({task.reference for task in tasks})
    remove_outdated(map(Path, before))
    executor = ProcessPoolExecutor(
        min(workers, len(tasks)), env=ONE_THREAD, initializer=_start_worker, initargs=(os.getpid(),)
    )
    finished: queue.SimpleQueue[Future[_Answer]] = queue.SimpleQueue()
    unseen = {task.key: task for task in tasks}
    whole = False
    try:
        futures = [executor.submit(_compute, task, str(folder), str(markers), before) for task in tasks]
        for future in futures:
            future.add_done_callback(finished.put)
        for _ in tasks:
            done = None
            while done is None:
                with contextlib.suppress(queue.Empty):
                    done = finished.get(timeout=_POLL)
                for key in _started(markers) & unseen.keys():
                    started(unseen.pop(key))
            try:
                answer = done.result()
            except CancelledError:
                continue
            except BrokenProcessPool:
                return
            if answer.status == "edited":
                for waiting in futures:
                    waiting.cancel()
            for end in ("started", "ended"):
                (markers / f"{answer.key}.{end}").unlink(missing_ok=True)
            unseen.pop(answer.key, None)
            yield answer
        whole = True
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # loky's note that it cannot look for grandchildren; cells have none
            executor.shutdown(wait=True, kill_workers=not whole)


def _start_worker(parent: int) -> None:
    """Leave interrupts to the parent, and end when it is gone, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, daemon=True, name="pfl-theory-parent-watch").start()


def _compute(task: Task, folder: str, markers: str, before: dict[str, tuple[int, ...]]) -> _Answer:
    """Run one cell in a worker and store its rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    _mark(markers, f"{task.key}.started")
    begin = time.perf_counter()
    try:
        with threadpool_limits(1), noting() as noted, scratch_of(task, Path(folder), before) as scratch:
            rows = plain_rows(load(task.reference)(seed=task.seed, **task.parameters))
    except DataMissingError as error:
        return _Answer(
            task.key, "skipped", time.perf_counter() - begin, Failure(type(error).__name__, _one_line(error))
        )
    except (Exception, SystemExit) as error:  # whatever a cell does, the other cells go on
        if edited(before) is not None:
            return _Answer(task.key, "edited", time.perf_counter() - begin)
        details = "" if isinstance(error, InputError) else traceback.format_exc()
        return _Answer(
            task.key, "failed", time.perf_counter() - begin, Failure(type(error).__name__, _one_line(error), details)
        )
    seconds = time.perf_counter() - begin
    # What a worker has imported for other cells does not count: what this cell can reach, and what it loaded by name.
    sources = sources_of({task.reference, *noted})
    if edited(before, sources) is not None:  # this process may have imported what is no more
        return _Answer(task.key, "edited", seconds)
    try:
        Store(Path(folder)).write(task, Stored(rows, seconds, sources))
    except OutputError as error:
        return _Answer(task.key, "unwritable", seconds, Failure("OutputError", _one_line(error)))
    shutil.rmtree(scratch, ignore_errors=True)
    _mark(markers, f"{task.key}.ended")
    return _Answer(task.key, "computed", seconds)


def load(reference: str) -> Callable[..., Any]:
    """Import ``"package.module:function"``."""
    module, _, name = reference.partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise InputError(f"{module} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _started(markers: Path) -> set[str]:
    with contextlib.suppress(OSError):
        return {name.removesuffix(".started") for name in os.listdir(markers) if name.endswith(".started")}
    return set()


def _mark(markers: str, name: str) -> None:
    with contextlib.suppress(OSError):  # only progress and the search for a deadly cell read these
        Path(markers, name).touch()


@contextlib.contextmanager
def _marker_folder(store: Path) -> Iterator[Path]:
    """A folder in which workers say which cells they have started and ended. Those of killed sweeps are removed."""
    for old in store.glob(".running-*"):
        if not _alive(old.name.rpartition("-")[2]):
            shutil.rmtree(old, ignore_errors=True)
    folder = store / f".running-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{store}: cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    if not pid.isdecimal() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
