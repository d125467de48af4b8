"""A cell that trains keeps checkpoints outside its key: killed and started again it goes on, with the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from pfl_theory.sweeps import make_task, run, scratch
from pfl_theory.sweeps.scratch import scratch_of
from pfl_theory.sweeps.sources import files_seen

ROOT = Path(__file__).resolve().parents[1]

CELL = """
import os
from pathlib import Path

SLOW = 0

def cell(*, seed, rounds):
    import numpy as np
    import pfl_theory as pfl
    from pfl_theory import sweeps
    from pfl_theory.algorithms import checkpoints

    rng = np.random.default_rng(0)
    fed = pfl.Federation.from_arrays(rng.normal(size=(3, 6, 2)), rng.integers(0, 2, (3, 6)))
    problem = pfl.Problem(pfl.losses.Logistic(), fed)
    log = Path(__file__).with_name("log")
    die_at = [int(k) for k in os.environ.get("DIE_AT", "").split(",") if k]

    def noted(at):
        with open(log, "a") as stream:
            stream.write(".")
        if log.stat().st_size in die_at:
            os.kill(os.getpid(), 9)
        return float(np.abs(at.w).max())

    checkpoints.SECONDS = 0.0  # after every round
    found = pfl.run(
        pfl.FedAvg(beta=0.1, batch=2), problem, rounds=rounds, seed=seed, record=noted,
        checkpoint=sweeps.scratch("run.npz"),
    )
    return [{"w": found.w.tobytes().hex(), "largest": float(v)} for v in found.records["noted"]]
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / f"cells_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "demo.py").write_text(CELL)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def sweep(package: Path, store: str, **environment: str) -> None:
    """A sweep of one cell in a process that dies with its worker, as under SIGKILL of everything."""
    script = f"""
        from pfl_theory.sweeps import make_task, run
        run([make_task("demo", "{package.name}.demo:cell", {{"rounds": 12}})], store={store!r}, workers=1)
    """
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{package.parent}", **environment}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, check=False)


def looks(package: Path) -> int:
    log = package / "log"
    count = log.stat().st_size if log.exists() else 0
    log.unlink(missing_ok=True)
    return count


def rows_of(package: Path, store: str) -> list:
    (outcome,) = run([make_task("demo", f"{package.name}.demo:cell", {"rounds": 12})], store=store, workers=1)
    return outcome.rows


@pytest.mark.slow
def test_a_killed_cell_goes_on_with_the_same_bits(package, tmp_path):
    whole = rows_of(package, str(tmp_path / "whole"))
    assert looks(package) == 13
    store = str(tmp_path / "killed")
    sweep(package, store, DIE_AT="7,9")  # the worker dies, and once more when its cell is tried again alone
    assert list(Path(store, ".scratch").glob("*/run.npz"))
    before = looks(package)
    assert rows_of(package, store) == whole
    assert before + looks(package) <= 13 + 2  # each kill repeats one round at most
    assert not list(Path(store, ".scratch").glob("*/run.npz"))


@pytest.mark.slow
def test_an_edit_starts_anew(package, tmp_path):
    store = str(tmp_path / "killed")
    sweep(package, store, DIE_AT="7,9")
    looks(package)
    time.sleep(0.01)
    (package / "demo.py").write_text(CELL.replace("beta=0.1", "beta=0.2"))
    rows = rows_of(package, store)
    assert looks(package) == 13
    assert rows == rows_of(package, str(tmp_path / "whole"))


def test_the_place_changes_with_an_edit_that_is_put_back(package, tmp_path):
    task = make_task("demo", f"{package.name}.demo:cell", {"rounds": 12})

    def place() -> Path:
        with scratch_of(task, tmp_path, files_seen({task.reference})) as found:
            return found

    first = place()
    assert place() == first
    for text in (CELL + "\n", CELL):
        (package / "demo.py").write_text(text)
    assert place() != first


def test_outside_a_sweep_there_is_no_place():
    assert scratch("run.npz") is None
