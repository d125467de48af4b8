"""Compiled code: never of an older formula, never in other libraries' folders."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from package_copies import copied, edit

from pfl_theory.kernels import jit, kept

EVALUATE = """
import numpy as np, pfl_theory as pfl
problem = pfl.Problem(pfl.losses.LeastSquares(), pfl.Federation.from_arrays([[[2.0]]], [[1.0]]))
print(pfl.__file__, problem.value([1.0])[0])
"""


@pytest.fixture
def copy(tmp_path):
    """The package's sources in a folder of their own, how to ask that copy, and where it keeps compiled code."""
    made = copied(tmp_path)
    return made.package, lambda code=EVALUATE: made.ask(code), made.cache


def test_an_edited_loss_is_compiled_again(copy):
    """The driver is cached in the file of rows.py and calls phi in another file: numba alone would answer with the old
    phi.
    """
    package, ask, cache = copy
    origin, value = ask()
    assert Path(origin).parent == package
    assert float(value) == 0.5
    kept = {p for p in cache.rglob("*.nbc")}
    assert kept, "nothing was kept between processes"
    assert ask()[1] == "0.5"
    assert {p for p in cache.rglob("*.nbc")} == kept, "the second process compiled again"

    edit(package / "losses" / "least_squares.py", "return 0.5 * (u - y) * (u - y)", "return 7.0 * (u - y) * (u - y)")
    assert float(ask()[1]) == 7.0
    edit(
        package / "losses" / "margin.py",
        "total += coef[k] * phi(loss, scale * dot(x, rows[k], w), y[rows[k]])",
        "total += 3.0 * coef[k] * phi(loss, scale * dot(x, rows[k], w), y[rows[k]])",
    )
    assert float(ask()[1]) == 21.0


def test_an_edited_operation_of_no_loss_is_compiled_again_too(copy):
    package, ask, _ = copy
    code = "import numpy as np; from pfl_theory.kernels.philox import choose_users; print(*choose_users(9, 3, 0, 0))"
    before = ask(code)
    edit(package / "kernels" / "philox.py", "M0, M1 = np.uint64(0xD2511F53)", "M0, M1 = np.uint64(0xD2511F55)")
    assert ask(code) != before


def test_a_comment_or_a_docstring_compiles_nothing_again(copy):
    package, ask, _ = copy
    code = "from pfl_theory.kernels import kept; print(kept.cache_folder())"
    before = ask(code)
    path = package / "losses" / "least_squares.py"
    path.write_text(
        "# a comment\n" + path.read_text().replace("def phi(loss, u, y):", "def phi(loss, u, y):\n    'A.'\n")
    )
    assert ask(code) == before
    path.write_text(path.read_text().replace("0.5 * (u - y)", "0.25 * (u - y)"))
    assert ask(code) != before
    after = ask(code)
    (package / "algorithms" / "deeper").mkdir()
    (package / "algorithms" / "deeper" / "route.py").write_text("X = 1\n")
    assert ask(code) != after, "a room has rooms of its own"


def folders_of(base: Path, ages: dict[str, float], now: float) -> None:
    """Folders of compiled code, unused for so many days."""
    for name, days in ages.items():
        inner = base / name / f"problems_{'0' * 40}"
        inner.mkdir(parents=True)
        (inner / "rows.nbi").write_text("compiled")
        os.utime(base / name, (now - 86_400 * days,) * 2)


def test_folders_of_old_sources_are_removed(tmp_path):
    now = time.time()
    ages = {f"{k:016x}": age for k, age in enumerate([0.1, 0.2, 0.3, 0.4, 0.5, 2, 29, 31, 400])}
    ours = tmp_path / f"{8:016x}"
    folders_of(tmp_path, {**ages, "0" * 15: 400, "g" * 16: 400}, now)
    (tmp_path / f"{11:016x}" / "someone_elses").mkdir(parents=True)
    os.utime(tmp_path / f"{11:016x}", (0, 0))
    assert kept.remove_old(tmp_path, ours, now) == [f"{k:016x}" for k in (5, 6, 7)]
    left = {path.name for path in tmp_path.iterdir()}
    # those of the last day stay, for a process may run on them; and whatever is not ours
    assert left == {f"{k:016x}" for k in (0, 1, 2, 3, 4, 8, 11)} | {"0" * 15, "g" * 16}
    assert kept.remove_old(tmp_path / "nowhere", ours, now) == []


def test_a_process_whose_folder_is_removed_goes_on(copy):
    _, ask, _ = copy
    code = (
        EVALUATE
        + """
import os, shutil
from pfl_theory.kernels import kept
shutil.rmtree(kept.cache_folder())
print(problem.gradient([1.0])[0, 0], len(os.listdir(kept.cache_folder())) > 0)
"""
    )
    assert ask(code)[1:] == ["0.5", "2.0", "True"]


OWN_LOSS = """
from dataclasses import dataclass
from typing import NamedTuple
import pfl_theory as pfl
from pfl_theory.losses.loss import Loss, real_targets
from pfl_theory.losses.margin import implements_margin
class Record(NamedTuple):
    unused: float
implements_margin(
    Record,
    phi=lambda loss, u, y: 1.0 * (u - y),
    dphi=lambda loss, u, y: 1.0,
    d2phi=lambda loss, u, y: 0.0,
)
@dataclass(frozen=True)
class Own(Loss):
    def dim(self, fed): return fed.n_features
    def parameters(self, fed, dtype): return Record(dtype.type(0))
    def targets(self, fed, dtype): return real_targets(self, fed, dtype)
    def constants(self, fed, **keywords): return {}
def at_one(): return pfl.Problem(Own(), pfl.Federation.from_arrays([[[2.0]]], [[1.0]])).value([1.0])[0]
"""


def test_an_edited_loss_outside_the_package_is_compiled_again(copy):
    package, ask, _ = copy
    (package.parent / "own.py").write_text(OWN_LOSS)
    assert ask("import own; print(own.at_one())") == ["1.0"]
    edit(package.parent / "own.py", "1.0 * (u - y)", "7.25 * (u - y)")
    assert ask("import own; print(own.at_one())") == ["7.25"]


def test_numba_keeps_its_own_cache_folder(copy):
    _, ask, _ = copy
    code = (
        "import numba; before = numba.config.CACHE_DIR; "
        "import pfl_theory as pfl; pfl.losses; pfl.PerFedAvg; print(before == numba.config.CACHE_DIR)"
    )
    assert ask(code) == ["True"]


def test_kernels_are_strict():
    from pfl_theory.algorithms.local_steps.gram import gram_steps
    from pfl_theory.algorithms.local_steps.rows import row_steps
    from pfl_theory.problems.rows import gradient_users

    for driver in (gradient_users, row_steps, gram_steps):
        assert not driver.targetoptions.get("fastmath")
        assert not driver.targetoptions.get("parallel")
        assert driver.targetoptions["nogil"]


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({"PFL_THEORY_THREADS": "3", "NUMBA_NUM_THREADS": "5"}, 3),
        ({"NUMBA_NUM_THREADS": "5"}, 5),
        ({"PFL_THEORY_THREADS": "0", "NUMBA_NUM_THREADS": "2"}, 2),
    ],
)
def test_number_of_threads(given, threads, monkeypatch):
    for name in ("PFL_THEORY_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert jit.n_threads() >= 1
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert jit.n_threads() == threads


@pytest.mark.parametrize("n", [1, 2, 31, 1000])
@pytest.mark.parametrize("work", [0, 1e5, 1e6, 1e12])
def test_chunks_cover_the_users_once(n, work, monkeypatch):
    cut = jit.chunks(n, work)
    assert [i for first, last in cut for i in range(first, last)] == list(range(n))
    assert all(last > first for first, last in cut)
    assert len(cut) <= min(n, 32)
    assert (len(cut) > 1) == (n > 1 and work > 4e5)
    monkeypatch.setenv("PFL_THEORY_THREADS", "7")
    assert jit.chunks(n, work) == cut


POOLS = """
import threadpoolctl
from pfl_theory.kernels.jit import one_blas_thread

def blas():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

with one_blas_thread():  # before any kernel: whatever loads a BLAS later must not escape it
    pass
import pfl_theory as pfl
users = pfl.Federation.from_arrays([[[0.0, 1.0], [1.0, 0.0]]], [[0, 1]])
pfl.Problem(pfl.losses.Softmax(2), users).gradient([0.0] * 4)  # its kernel takes matrix products
before = blas()
with one_blas_thread():
    inside = blas()
print(*before, "|", *inside, "|", *blas())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors: with one, BLAS never has two threads")
def test_every_blas_has_one_thread():
    """Numba takes products from SciPy's BLAS, NumPy has another: one thread in both, afterwards as before."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith(("_NUM_THREADS", "_THEORY_THREADS"))}
    done = subprocess.run([sys.executable, "-c", POOLS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, inside, after = (part.split() for part in done.stdout.split("|"))
    assert max(map(int, before)) > 1
    assert set(inside) == {"1"}
    assert len(inside) == len(before)
    assert after == before


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_error_in_a_piece_is_raised(threads, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_THREADS", threads)

    def call(piece, first, last):
        if piece == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jit.over_users(call, [(0, 1), (1, 2), (2, 3)])
