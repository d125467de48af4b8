"""One place for how kernels are compiled and how they run over users; what is kept of them on disk: ``kept.py``."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba

from .kept import keep

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a driver that Python calls: cached on disk, without the GIL, strict IEEE arithmetic (no fastmath).

    Parallelism is over users, by :func:`over_users`: serial code compiles two to three times faster than parallel code
    and its results cannot depend on the number of threads. A driver from elsewhere is compiled in every process: the
    folder of compiled code is named by this package's sources alone.
    """
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    if of_package(function):
        keep(compiled)
    compiled.uncached = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled  # type: ignore[no-any-return]


def driver_for(driver: Any, parameters: object) -> Any:
    """The `driver` as kept on disk for a loss of this package, and freshly compiled in every process for a loss from
    elsewhere, or with operations from elsewhere.

    The folder of compiled code is named by the package's sources, so an edit of a loss in a researcher's own file would
    not be noticed.
    """
    return driver if type(parameters) not in FOREIGN and of_package(type(parameters)) else driver.uncached


FOREIGN: set[type] = set()  # types of parameters with an operation that this package does not define for them


def of_package(definition: Any) -> bool:
    """Whether a class or function is defined in this package."""
    return str(definition.__module__).partition(".")[0] == __package__.partition(".")[0]


def helper(function: F) -> F:
    """Compile a function that only kernels call; its code is kept with theirs."""
    return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def scalar(function: F) -> F:
    """Compile a function of a few numbers into its callers, always: a call left in a loop would keep the loop out of
    vector registers.
    """
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)  # type: ignore[no-any-return]


def n_threads() -> int:
    """Threads used over users: ``PFL_THEORY_THREADS``, else ``NUMBA_NUM_THREADS``, else the processors this process may
    use.
    """
    for name in ("PFL_THEORY_THREADS", "NUMBA_NUM_THREADS"):
        given = os.environ.get(name, "")
        if given.isdigit() and int(given) > 0:
            return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@functools.cache
def _pool(threads: int, pid: int) -> ThreadPoolExecutor:  # pid: a forked child must not inherit a pool without threads
    return ThreadPoolExecutor(threads, thread_name_prefix="pfl-theory")


@functools.cache
def _blas() -> Any:
    # Kernels call SciPy's BLAS, which Numba loads with the first product that it compiles; the controller knows only
    # what is loaded when it is made.
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> Any:
    """Context in which BLAS runs with one thread: more would change bits, and fight over processors with our own."""
    return _blas().limit(limits=1, user_api="blas")


def chunks(n: int, work: float) -> list[tuple[int, int]]:
    """Cut users 0..n-1 into runs of consecutive users. Depends on the problem only, never on the number of threads.

    Parameters
    ----------
    n : int
        Number of users.
    work : float
        Rough number of multiplications in all; small work stays in one piece (a kernel call costs 3 microseconds,
        handing it to a thread some tens).
    """
    pieces = max(1, min(n, 32, int(work // 200_000)))
    cuts = [n * k // pieces for k in range(pieces + 1)]
    return list(itertools.pairwise(cuts))


def over_users(call: Callable[[int, int, int], None], pieces: list[tuple[int, int]]) -> None:
    """Run ``call(piece, first, last)`` for every piece, on threads, with BLAS at one thread (more would change
    bits).
    """
    threads = min(n_threads(), len(pieces))
    with one_blas_thread():
        if threads <= 1:
            for k, (first, last) in enumerate(pieces):
                call(k, first, last)
            return
        for done in [
            _pool(threads, os.getpid()).submit(call, k, first, last) for k, (first, last) in enumerate(pieces)
        ]:
            done.result()
