"""Sources that are edited while a sweep runs: whatever is kept is what the sources at its end give."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest

from pfl_theory.errors import OutputError
from pfl_theory.sweeps import make_task, run
from pfl_theory.sweeps.files import locked

CELL = """
import time
def cell(*, seed, k, wait=0.0):
    time.sleep(wait)
    from .formula import value
    return [{"x": value(k)}]
"""


def formula(factor: int) -> str:
    return f"def value(k):\n    return {factor} * k\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"edited_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "demo.py").write_text(CELL)
    (folder / "formula.py").write_text(formula(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return folder


def tasks_of(package: Path, number: int, wait: float):
    return [make_task("demo", f"{package.name}.demo:cell", {"k": k, "wait": wait}) for k in range(1, number + 1)]


def numbers(outcomes) -> list[float]:
    return [outcome.rows[0]["x"] for outcome in outcomes if outcome.rows]


def while_it_runs(change) -> threading.Thread:
    thread = threading.Thread(target=change)
    thread.start()
    return thread


def test_edited_and_put_back(package, tmp_path):
    """A, B, A: cells that imported B are computed again; nothing is stored under A's name but A's numbers."""

    def change() -> None:
        for k in range(4):
            time.sleep(0.3)
            (package / "formula.py").write_text(formula(2 - k % 2))
        (package / "formula.py").write_text(formula(1))

    thread = while_it_runs(change)
    outcomes = run(tasks_of(package, 8, 0.15), store=tmp_path / "s", workers=2)
    thread.join()
    outcomes = [o for o in outcomes if o.status != "failed"]
    assert numbers(outcomes) == [o.task.parameters["k"] for o in outcomes]
    again = run(tasks_of(package, 8, 0.15), store=tmp_path / "s", workers=2)
    assert numbers(again) == list(range(1, 9))


def test_an_edit_of_the_same_size_and_time_is_noticed(package, tmp_path):
    """Python takes the compiled form of the old text for the new one: it is removed before the cells start."""
    tasks = tasks_of(package, 2, 0.0)
    assert numbers(run(tasks, store=tmp_path / "s")) == [1, 2]
    source = package / "formula.py"
    subprocess.run(
        [sys.executable, "-c", f"import py_compile; py_compile.compile({str(source)!r}, doraise=True)"], check=True
    )
    found = os.stat(source)
    source.write_text(formula(7))
    os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert numbers(run(tasks, store=tmp_path / "s")) == [7, 14]


def test_a_cell_that_meets_half_an_edit_runs_again(package, tmp_path):
    (package / "formula.py").write_text("def value(k:\n")

    def change() -> None:
        time.sleep(0.8)
        (package / "formula.py").write_text(formula(3))

    thread = while_it_runs(change)
    outcomes = run(tasks_of(package, 2, 1.5), store=tmp_path / "s", workers=2)
    thread.join()
    assert numbers(outcomes) == [3, 6]


def hostile(package: Path, tmp_path: Path, seed: int) -> None:
    """Edits at random moments, some that keep size and time; afterwards every number is that of the sources."""
    rng, store = random.Random(seed), tmp_path / f"s{seed}"
    source, stop = package / "formula.py", threading.Event()

    def change() -> None:
        while not stop.wait(rng.uniform(0.01, 0.5)):
            found = os.stat(source)
            source.write_text(formula(rng.randint(1, 9)))
            if rng.random() < 0.5:
                os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
            if rng.random() < 0.3:
                stop.set()

    thread = while_it_runs(change)
    run(tasks_of(package, 4, 0.05), store=store, workers=2)
    stop.set()
    thread.join()
    namespace: dict = {}
    exec(source.read_text(), namespace)
    found = run(tasks_of(package, 4, 0.05), store=store, workers=2)
    assert numbers(found) == [namespace["value"](k) for k in range(1, 5)], f"seed {seed}"


def test_runs_with_edits_at_random_moments(package, tmp_path):
    for seed in range(4):
        hostile(package, tmp_path, seed)


@pytest.mark.slow
def test_a_hundred_runs_with_edits_at_random_moments(package, tmp_path):
    for seed in range(100):
        hostile(package, tmp_path, 1000 + seed)


def test_endless_edits_end_in_a_line(package, tmp_path, monkeypatch):
    monkeypatch.setattr("pfl_theory.sweeps.workers._MOST_EDITS", 2)
    (package / "demo.py").write_text(
        CELL.replace(
            "    time.sleep(wait)\n",
            "    from pathlib import Path\n    Path(__file__).with_name('formula.py').touch()\n",
        )
    )
    (outcome,) = run(tasks_of(package, 1, 0.0), store=tmp_path / "s")
    assert outcome.status == "failed"
    assert "edited again and again" in outcome.failure.message


# --- one writer a folder ---


def test_a_folder_has_one_writer(tmp_path):
    code = textwrap.dedent(
        """
        import sys, time
        from pfl_theory.sweeps.files import locked
        with locked([sys.argv[1]]):
            print("held", flush=True)
            time.sleep(60)
        """
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match=r"another run writes there; wait until"), locked([tmp_path / "x"]):
        pass
    with locked([tmp_path / "y"]):
        pass
    holder.kill()
    holder.communicate()
    with locked([tmp_path / "x"]):  # the lock ends with its process
        pass
    assert list((tmp_path / "x").iterdir()) == []


def test_two_seeds_into_one_folder(tmp_path):
    """The second is refused in a line, or comes after the first: table and notes belong together."""
    import hashlib
    import json

    command = [sys.executable, "-m", "analysis", "smoothness", "--out", str(tmp_path), "--workers", "1", "--seed"]
    root = Path(__file__).resolve().parents[1]
    started = [
        subprocess.Popen([*command, seed], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in ("1", "2")
    ]
    ends = [(process.communicate()[1], process.returncode) for process in started]
    for error, code in ends:
        assert code in (0, 2), error
        if code == 2:
            assert "another run writes there" in error
            assert len(error.strip().splitlines()) == 1
    assert sum(code == 0 for _, code in ends) >= 1
    notes = json.loads((tmp_path / "smoothness" / "smoothness.json").read_text())
    table = (tmp_path / "smoothness" / "smoothness.csv").read_bytes()
    assert notes["csv_sha256"] == hashlib.sha256(table).hexdigest()
