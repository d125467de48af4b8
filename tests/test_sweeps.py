"""Sweeps resume after a kill, know why a cell runs, trust nothing damaged, and give the same bits however they are
run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from pfl_theory.errors import InputError, OutputError
from pfl_theory.sweeps import Progress, Store, Stored, Task, make_task, n_workers, run
from pfl_theory.sweeps.files import canonical_json
from pfl_theory.sweeps.sources import GONE, sources_of

ROOT = Path(__file__).resolve().parents[1]

CELLS = """
import os, signal, time
from pathlib import Path
from ._helper import FACTOR
from pfl_theory.errors import DataMissingError, InputError

TITLE = "before"
SHIFT = 0.5

def log(name):
    with open(Path(__file__).with_name("log"), "a") as stream:  # short appends are atomic
        stream.write(f"{name}\\n")

def cell(*, seed, k, wait=0.0):
    \"\"\"A cell.\"\"\"
    log(k)
    time.sleep(wait)
    row = {"k2": FACTOR * k * k + SHIFT, "seed": seed, "third": k / 3}
    return [row, {"k2": float("nan"), "name": "x", "ok": True, "none": None}]

def threads(*, seed):
    import numpy, threadpoolctl
    blas = max(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
    return [{"blas": blas, "numba": os.environ["NUMBA_NUM_THREADS"]}]

def bad(*, seed, how, k=0):
    log(how)
    if how == "fine":
        return [{"x": 1}]
    if how == "input":
        raise InputError("alpha = -1: must be >= 0")
    if how == "data":
        raise DataMissingError("needs mnist, put it there")
    if how == "bug":
        return [{"x": 1 / 0}]
    if how == "array":
        return [{"x": [1.0]}]
    os.kill(os.getpid(), signal.SIGKILL)

def plot(table):
    return TITLE
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of cells under a name of its own: workers import it from a folder on the path."""
    folder = tmp_path / f"cells_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_helper.py").write_text("FACTOR = 2\n")
    (folder / "demo.py").write_text(CELLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def tasks_of(package: Path, count: int = 4, wait: float = 0.0) -> list[Task]:
    return [make_task("demo", f"{package.name}.demo:cell", {"k": k, "wait": wait}) for k in range(count)]


def runs(package: Path) -> list[str]:
    """Cells computed since the last look."""
    path = package / "log"
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(lines)


def test_rows_survive_the_store_bit_for_bit(tmp_path: Path) -> None:
    store, task = Store(tmp_path), make_task("demo", "m:cell", {"k": 1})
    values = [0.1, -0.0, 5e-324, 1 / 3, 1e308, math.inf, -math.inf, math.nan, 2.0, 1e22]
    store.write(
        task,
        Stored(
            [{f"c{k}": value for k, value in enumerate(values)}, {"t": True, "n": None, "s": "nan", "i": 2**70}], 1.0
        ),
    )
    record, reason = store.lookup(task)
    assert record is not None
    assert reason == "stored"
    assert [struct.pack("d", value) for value in record.rows[0].values()] == [
        struct.pack("d", value) for value in values
    ]
    assert record.rows[1] == {"t": True, "n": None, "s": "nan", "i": 2**70}
    assert [type(value) for value in record.rows[1].values()] == [bool, type(None), str, int]
    json.loads(store.path(task).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"rows": 1}', "digit"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: bytes | str) -> None:
    store, task = Store(tmp_path), make_task("demo", "m:cell", {"k": 1})
    store.write(task, Stored([{"x": 0.125}], 1.0))
    path = store.path(task)
    path.write_bytes(path.read_bytes().replace(b"0.125", b"0.126") if isinstance(damage, str) else damage)
    assert store.lookup(task) == (None, "stored file unreadable")


def test_any_order_and_any_number_of_workers_give_the_same(package: Path, tmp_path: Path) -> None:
    tasks = tasks_of(package)
    shuffled = random.Random(1).sample(tasks, len(tasks))
    one = {outcome.task.key: outcome.rows for outcome in run(tasks, store=tmp_path / "one", workers=1)}
    two = {outcome.task.key: outcome.rows for outcome in run(shuffled, store=tmp_path / "two", workers=2)}
    assert runs(package) == sorted("00112233")
    again = run([*tasks, tasks[0]], store=tmp_path / "two", workers=2)
    assert runs(package) == []
    assert [outcome.status for outcome in again] == ["stored"] * 5
    for outcome in again:
        assert repr(outcome.rows) == repr(one[outcome.task.key]) == repr(two[outcome.task.key])


def test_workers_use_one_thread(package: Path, tmp_path: Path) -> None:
    (outcome,) = run([make_task("threads", f"{package.name}.demo:threads", {})], store=tmp_path / "s")
    assert outcome.rows == [{"blas": 1, "numba": "1"}]


def test_reasons_and_edits(package: Path, tmp_path: Path) -> None:
    tasks, store, reasons = tasks_of(package, 1), Store(tmp_path / "store"), []

    def once(force: bool = False) -> str:
        reasons.clear()
        (outcome,) = run(
            tasks, store=store, force=force, on_event=lambda event: reasons.append((event.kind, event.reason))
        )
        assert reasons[0] == ("stored" if outcome.status == "stored" else "waiting", outcome.reason)
        assert runs(package) == ([] if outcome.status == "stored" else ["0"])
        return outcome.reason

    def edit(file: str, old: str, new: str) -> None:
        path = package / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    assert once() == "new"
    assert once() == "stored"
    assert once(force=True) == "forced"
    edit("demo.py", "return TITLE", "return TITLE + '!'")
    edit("demo.py", '"before"', '"after"')
    edit("demo.py", "A cell.", "A cell, said better.")
    edit("demo.py", "def plot", "# a comment\nimport math as unused\n\ndef plot")
    assert once() == "stored"
    edit("demo.py", "SHIFT = 0.5", "SHIFT = 0.25")
    assert once() == f"source changed: {package.name}.demo:cell"
    edit("_helper.py", "2", "3")
    assert once() == f"source changed: {package.name}._helper"
    store.path(tasks[0]).write_text("{")
    assert once() == "stored file unreadable"
    assert once() == "stored"


def test_an_edited_library_module_is_noticed(package: Path, tmp_path: Path) -> None:
    """In a copy of the library, whose modules the cell loads behind the analysis' back."""
    library = tmp_path / "lib"
    shutil.copytree(ROOT / "pfl_theory", library / "pfl_theory", ignore=shutil.ignore_patterns("__pycache__"))
    (library / "pfl_theory" / "zz_probe.py").write_text("VALUE = 1\n")
    (package / "demo.py").write_text(
        "def cell(*, seed):\n    from importlib import import_module\n    return [{'x': "
        "import_module('pfl_theory.zz_probe').VALUE}]\n"
    )
    script = f"""
        from pfl_theory.sweeps import make_task, run
        (outcome,) = run([make_task("demo", "{package.name}.demo:cell", {{}})], store="{tmp_path / "store"}")
        print(outcome.reason, outcome.rows)
    """

    def once() -> str:
        answer = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONPATH": f"{library}{os.pathsep}{package.parent}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout.strip()

    assert once() == "new [{'x': 1}]"
    (library / "pfl_theory" / "plotting.py").write_text("# presents only\n")
    assert once() == "stored [{'x': 1}]"
    (library / "pfl_theory" / "zz_probe.py").write_text(
        "VALUE = 2  # of another length: Python trusts compiled code by time, to the second, and size\n"
    )
    assert once() == "source changed: pfl_theory.zz_probe [{'x': 2}]"


def test_failing_cells_stop_no_other_cell(package: Path, tmp_path: Path) -> None:
    kinds = ["bug", "fine", "input", "data", "array", "kill"]
    tasks = [make_task("bad", f"{package.name}.demo:bad", {"how": how}) for how in kinds]
    outcomes = dict(zip(kinds, run(tasks, store=tmp_path / "s", workers=2), strict=True))
    assert {how: outcome.status for how, outcome in outcomes.items()} == {
        "bug": "failed",
        "fine": "computed",
        "input": "failed",
        "data": "skipped",
        "array": "failed",
        "kill": "failed",
    }
    failures = {how: outcome.failure for how, outcome in outcomes.items() if outcome.failure is not None}
    assert failures["bug"][:2] == ("ZeroDivisionError", "division by zero")
    assert "1 / 0" in failures["bug"].details
    assert failures["input"] == ("InputError", "alpha = -1: must be >= 0", "")
    assert failures["data"].message == "needs mnist, put it there"
    assert "column 'x'" in failures["array"].message
    assert "killed" in failures["kill"].message
    assert sorted(path.name for path in (tmp_path / "s" / "bad").iterdir()) == [f"{tasks[1].key}.json"]
    assert runs(package).count("fine") == 1
    assert not list((tmp_path / "s").glob(".running*"))


def children(pid: int) -> list[int]:
    """Worker processes of `pid` (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_sweep_repeats_only_what_ran(package: Path, tmp_path: Path, how: signal.Signals) -> None:
    script = f"""
        from pfl_theory.sweeps import make_task, run
        cells = [{{"k": k, "wait": 0.25}} for k in range(20)]
        tasks = [make_task("demo", "{package.name}.demo:cell", cell) for cell in cells]
        run(tasks, store="{tmp_path / "s"}", workers=2)
    """
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{package.parent}"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=env,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job inherits Ctrl-C ignored
    )
    store = tmp_path / "s" / "demo"
    deadline = time.monotonic() + 20
    while not (store.exists() and len(list(store.glob("*.json"))) >= 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children(process.pid)
    os.kill(process.pid, how)
    process.wait(10)
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()], "workers outlive the sweep"
    stored = {path.stem for path in store.glob("*.json")}
    assert 3 <= len(stored) < 20
    before = runs(package)
    assert len(before) <= len(stored) + 2, "more than the running cells is lost"
    outcomes = run(tasks_of(package, 20, 0.25), store=tmp_path / "s", workers=2)
    assert {outcome.task.key for outcome in outcomes if outcome.status == "stored"} == stored
    assert len(runs(package)) == 20 - len(stored)
    assert [outcome.rows[0]["k2"] for outcome in outcomes] == [2 * k * k + 0.5 for k in range(20)]


def test_a_killed_worker_costs_its_cell_only(package: Path, tmp_path: Path) -> None:
    """One kill from outside: the cell runs again, all others once."""
    (package / "demo.py").write_text(
        CELLS.replace(
            "    time.sleep(wait)",
            "    once = Path(__file__).with_name('killed')\n    if k == 1 and not once.exists():\n        "
            "once.touch(); os.kill(os.getpid(), 9)",
        )
    )
    outcomes = run(tasks_of(package), store=tmp_path / "s", workers=1)
    assert [outcome.status for outcome in outcomes] == ["computed"] * 4
    assert runs(package) == ["0", "1", "1", "2", "3"]


def test_bad_cells_and_workers(tmp_path: Path) -> None:
    for parameters in ({"x": {}}, {"x": float("nan")}, {"seed": 1}, {"x": object()}, {"x": [[1]]}):
        with pytest.raises(InputError, match="demo"):
            make_task("demo", "m:cell", parameters)
    for seed in (-1, 0.5, True):
        with pytest.raises(InputError, match="seed"):
            make_task("demo", "m:cell", {}, seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="import"):
        make_task("demo", lambda: None, {})
    with pytest.raises(InputError, match="folder"):
        make_task("../demo", "m:cell", {})
    for workers in (0, -1, "0", "two", 1.5, "dask://host:8786", True, ""):
        with pytest.raises(InputError, match="workers"):
            n_workers(workers)  # type: ignore[arg-type]


def test_equal_content_is_one_key_and_anything_else_another() -> None:
    key = make_task("demo", "m:cell", {"a": 1, "b": (1, 2)}).key
    assert make_task("demo", "m:cell", {"b": [1, 2], "a": 1}).key == key
    others = [
        make_task("demo", "m:cell", {"a": 1, "b": [1, 2]}, 1),
        make_task("other", "m:cell", {"a": 1, "b": [1, 2]}),
        make_task("demo", "m:cell", {"a": 2}),
    ]
    assert len({key, *(task.key for task in others)}) == 4


def test_an_unwritable_store_is_one_error(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run(tasks_of(package, 1), store=tmp_path / "file" / "store")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "demo").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        run(tasks_of(package, 2), store=tmp_path / "store")


def test_progress_without_a_terminal_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    from pfl_theory.sweeps import Event

    with Progress() as progress:
        tasks = [make_task("demo", "m:cell", {"k": k}) for k in range(50)]
        for kind in ("waiting", "started", "computed"):
            for task in tasks:
                progress(Event(kind, task, "new", 0.1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[-1].startswith("50/50 done, 0 running, 0 left")


def test_a_hash_needs_no_import() -> None:
    code = """if True:
        import sys
        from pfl_theory.sweeps.sources import sources_of
        print(len(sources_of(["analysis.convergence:cell"]).modules) > 20, "numpy" in sys.modules)
    """
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]
    assert sources_of(["no_such_package.module:cell"]).modules == {"no_such_package.module:cell": GONE}


def test_what_earlier_versions_stored_is_computed_again(package: Path, tmp_path: Path) -> None:
    (task,) = tasks_of(package, 1)
    store = Store(tmp_path)
    run([task], store=store)
    data = json.loads(store.path(task).read_text())
    data.pop("sha256")
    for sources in ({"pfl_theory.errors": "0123"}, {}, None, [], {"roots": [1], "modules": {}}):
        text = canonical_json({**data, "sources": sources})
        written = {**data, "sources": sources, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        store.path(task).write_text(json.dumps(written))
        assert store.lookup(task) == (None, "source changed: (recorded in a way that is no longer read)")


LOADING = """
from pfl_theory import discovery

def cell(*, seed, name):
    return [{"x": discovery.load(f"{__package__}.{name}").VALUE}]
"""


def test_what_a_cell_loads_by_name_is_its_own(package: Path, tmp_path: Path) -> None:
    """Whatever the worker computed before, in whichever order."""
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(f"VALUE = {len(name)}\n")
    (package / "demo.py").write_text(LOADING)
    tasks = [make_task("demo", f"{package.name}.demo:cell", {"name": name}) for name in ("one", "two")]
    for order in (tasks, tasks[::-1]):
        outcomes = {
            outcome.task.parameters["name"]: outcome
            for outcome in run(order, store=tmp_path / "s", workers=1, force=True)
        }
        for name, other in (("one", "two"), ("two", "one")):
            assert outcomes[name].sources.roots == (f"{package.name}.demo:cell", f"{package.name}.{name}")
            assert f"{package.name}.{name}" in outcomes[name].sources.modules
            assert f"{package.name}.{other}" not in outcomes[name].sources.modules
    # of another size: Python itself takes an edit of the same size within the same second for no edit
    (package / "one.py").write_text("VALUE = 2 + 2\n")
    one, two = run(tasks, store=tmp_path / "s")
    assert one.reason == f"source changed: {package.name}.one"
    assert one.rows == [{"x": 4}]
    assert two.status == "stored"


def test_an_edit_while_the_sweep_runs_spoils_its_cell(package: Path, tmp_path: Path) -> None:
    """The module was imported before or after the edit: nobody knows."""
    (package / "demo.py").write_text(
        CELLS.replace("    time.sleep(wait)", "    Path(__file__).with_name('_helper.py').write_text('FACTOR = 9')")
    )
    (outcome,) = run(tasks_of(package, 1), store=tmp_path / "s")
    assert outcome.status == "failed"
    assert outcome.failure is not None
    assert "edited again and again while the sweep ran; run it again" in outcome.failure.message
