"""One place for how kernels are compiled and where their compiled code is kept.

Numba notices an edit in the file of a cached function but not in a function of another file that it calls: it would go
on answering with the old formula. So our compiled code lives in a folder named by a hash of the syntax of all kernel
sources: an edit starts a new folder, a comment or a docstring does not.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba

from ..sweeps.syntax import whole_digest

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent.parent
_KERNEL_ROOMS = ("kernels", "losses", "problems", "algorithms", "expectations", "distances")  # what a kernel may call
_KEPT = 4  # folders of other sources, beside ours
_DAY = 86_400.0  # seconds
_FORGOTTEN = 30 * _DAY


@functools.cache
def cache_folder() -> str:
    """Folder of the compiled code: the user's cache, keyed by the kernels' syntax and the compiler's version. Folders
    of sources that are long gone are removed.
    """
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pfl-theory", "kernels"
    )
    folder = os.path.join(base, kernel_digest(_PACKAGE))
    with contextlib.suppress(OSError):
        os.utime(folder)  # when it was last used
    remove_old(Path(base), Path(folder), time.time())
    return folder


def kernel_digest(package: Path) -> str:
    """Hash of all that a kernel may call, without comments and docstrings, as 16 hex digits."""
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for room in _KERNEL_ROOMS:
        for source in sorted((package / room).rglob("*.py")):
            digest.update(f"{source.relative_to(package).as_posix()} {whole_digest(source.read_bytes())}\n".encode())
    return digest.hexdigest()[:16]


def remove_old(base: Path, ours: Path, now: float) -> list[str]:
    """Remove folders of compiled code that no process uses: unused for 30 days, or for a day and not among the last
    four. Returns their names.

    A process that still runs on such a folder compiles again and goes on: Numba makes what is missing.
    """
    found = []
    with contextlib.suppress(OSError):
        for folder in base.iterdir():
            if folder != ours and _is_ours(folder):
                found.append((now - folder.stat().st_mtime, folder))
    found.sort()
    gone = []
    for rank, (unused, folder) in enumerate(found):
        if unused > _FORGOTTEN or (rank >= _KEPT and unused > _DAY):
            shutil.rmtree(folder, ignore_errors=True)  # two processes may do so at once
            gone.append(folder.name)
    return gone


def _is_ours(folder: Path) -> bool:
    """Whether a folder is named as ours are and holds nothing else than what Numba keeps for our rooms."""
    if not re.fullmatch(r"[0-9a-f]{16}", folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    inner = list(folder.iterdir())
    numbas = all(item.is_dir() and re.fullmatch(r"\w+_[0-9a-f]{40}", item.name) for item in inner)
    return numbas and any(item.name.startswith(tuple(f"{room}_" for room in _KERNEL_ROOMS)) for item in inner)


@contextlib.contextmanager
def _our_cache() -> Iterator[None]:
    """Numba's cache folder, set for one decoration and put back: other libraries keep theirs."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache_folder()
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def kernel(function: F) -> F:
    """Compile a driver that Python calls: cached on disk, without the GIL, strict IEEE arithmetic (no fastmath).

    Parallelism is over users, by :func:`over_users`: serial code compiles two to three times faster than parallel code
    and its results cannot depend on the number of threads.
    """
    with _our_cache():
        compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    compiled.uncached = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled  # type: ignore[no-any-return]


def driver_for(driver: Any, parameters: object) -> Any:
    """The `driver` as kept on disk for a loss of this package, and freshly compiled in every process for a loss from
    elsewhere.

    The folder of compiled code is named by the package's sources, so an edit of a loss in a researcher's own file would
    not be noticed.
    """
    return driver if type(parameters).__module__.partition(".")[0] == __package__.partition(".")[0] else driver.uncached


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
