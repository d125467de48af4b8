"""Compiled code that is kept: of the sources that stand, whole, of its own loss, or not used at all."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from package_copies import Copy, copied, edit

from pfl_theory.sweeps import bytecode

LOGISTIC = """
import pfl_theory as pfl
def gradient():
    problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[1.0]]], [[1]]))
    return problem.gradient([0.0])[0, 0]
"""
ASK = LOGISTIC + "print(gradient())"
BOTH = (  # two kernels
    LOGISTIC
    + "print(gradient()); "
    + "pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[1.0]]], [[1]])).value([0.0])"
)
RIGHT, OTHER = ["-0.5"], ["6.5"]
OLD, NEW = "return sigmoid(u) - y\n", "return sigmoid(u) + 6.0 * y\n"
SAME_SIZE = "return sigmoid(u) + y\n"  # gradient 1.5


@pytest.fixture
def copy(tmp_path) -> Copy:
    return copied(tmp_path)


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory) -> Copy:
    """A copy whose kernels have been compiled; its sources are left alone."""
    made = copied(tmp_path_factory.mktemp("compiled"))
    assert made.ask(BOTH) == RIGHT
    return made


@pytest.fixture
def warm(compiled_once, tmp_path) -> Copy:
    """The same sources, with compiled code of its own to damage."""
    shutil.copytree(compiled_once.cache, tmp_path / "cache")
    return Copy(compiled_once.package, tmp_path / "cache")


SLOW = pytest.mark.slow  # each compiles kernels of its own


def loss_file(copy: Copy) -> Path:
    return copy.package / "losses" / "logistic.py"


def kept(copy: Copy) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in copy.cache.rglob("*.nbc")}


def test_a_second_process_compiles_nothing(warm):
    copy, before = warm, kept(warm)
    assert before
    for seed in ("1", "2"):
        assert copy.ask(BOTH, PYTHONHASHSEED=seed) == RIGHT
    assert kept(copy) == before
    assert not list(copy.cache.rglob("*.part"))


@pytest.mark.parametrize("keep_time", [False, pytest.param(True, marks=SLOW)])
def test_an_edit_between_the_hash_and_the_import(copy, keep_time):
    """Kernels are imported, then the loss is edited, used, and put back: no other process may see the edited loss."""
    code = f"""
import os
from pathlib import Path
import pfl_theory.distances._kernels
path = Path({str(loss_file(copy))!r})
text, found = path.read_text(), os.stat(path)
path.write_text(text.replace({OLD!r}, {(SAME_SIZE if keep_time else NEW)!r}))
if {keep_time}:
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
{LOGISTIC}
print(gradient())
path.write_text(text)
os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
"""
    done = copy.done(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == (["1.5"] if keep_time else OTHER)
    assert "compiled for this process alone" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    shutil.rmtree(copy.package / "losses" / "__pycache__", ignore_errors=True)
    assert copy.ask(ASK) == RIGHT


@SLOW
def test_an_operation_of_a_script_stays_in_its_process(copy):
    code = """
from pfl_theory.losses.dispatch import implements
from pfl_theory.losses.logistic import LogisticParameters
implements(LogisticParameters, dphi=lambda loss, u, y: 42.0)
"""
    assert copy.ask(code + ASK) == ["42.0"]
    assert copy.ask(ASK) == RIGHT
    assert copy.ask(ASK + code + "print(gradient())") == [*RIGHT, "42.0"]  # nothing was compiled: code was kept
    late = copy.done(ASK + code, NUMBA_CACHE_DIR=str(copy.cache / "empty"))
    assert late.returncode == 1
    assert "dphi of LogisticParameters is compiled already" in late.stderr.splitlines()[-1]


@pytest.mark.parametrize("where", ["/a-file/x", pytest.param("file", marks=SLOW), pytest.param("home", marks=SLOW)])
def test_a_folder_that_cannot_be_made(copy, tmp_path, where):
    """Runs, edit, runs: new numbers each time, one line, and nothing kept elsewhere."""
    (tmp_path / "a-file").write_text("")
    place = {
        "/a-file/x": {"NUMBA_CACHE_DIR": str(tmp_path / "a-file" / "x")},
        "file": {"NUMBA_CACHE_DIR": str(tmp_path / "a-file")},
        "home": {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": str(tmp_path / "a-file")},
    }[where]
    for value in (RIGHT, OTHER):
        done = copy.done(ASK, **place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == value
        lines = done.stderr.splitlines()
        assert len(lines) == 1
        assert "kernels are compiled for this process alone" in lines[0]
        assert "set NUMBA_CACHE_DIR" in lines[0]
        if value == RIGHT:
            edit(loss_file(copy), OLD, NEW)
    assert not [p for p in copy.package.rglob("*.nb*")]


@SLOW
def test_a_full_disk(copy):
    code = f"""
import tempfile
def full(*_, **__): raise OSError(28, "No space left on device")
tempfile.mkstemp = full
{ASK}
"""
    done = copy.done(code)
    assert (done.returncode, done.stdout.split()) == (0, RIGHT)
    assert done.stderr.count("No space left on device") == 1
    assert not kept(copy)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(bytes(data))


def of_another(path: Path) -> None:
    others = sorted(p for p in path.parent.iterdir() if p != path and p.suffix == ".nbc")
    shutil.copy(others[0], path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [flipped, of_another, *(pytest.param(d, marks=SLOW) for d in (emptied, truncated, garbage, a_folder))]
)
def test_damaged_files_are_compiled_anew(warm, damage):
    files = list(kept(warm))
    assert len(files) > 1
    for path in files:
        damage(Path(path))
    done = warm.done(BOTH)
    assert (done.returncode, done.stdout.split()) == (0, RIGHT), done.stderr


@SLOW
def test_two_losses_at_once(copy):
    """Cosine and LogCosh have parameters of the same fields: compiled by two processes at once, each stays its own."""
    code = """
import sys, numpy as np, pfl_theory as pfl
loss = getattr(pfl.losses, sys.argv[1])()
print(pfl.Problem(loss, pfl.Federation.from_arrays([[[0.0]]])).gradient([1.0])[0, 0])
"""
    expected = {"Cosine": "0.8414709848", "LogCosh": "0.7615941559"}
    environment = {**os.environ, "PYTHONPATH": str(copy.package.parent), "NUMBA_CACHE_DIR": str(copy.cache)}
    for _ in range(2):
        shutil.rmtree(copy.cache, ignore_errors=True)
        for again in (False, True):
            started = {
                name: subprocess.Popen([sys.executable, "-c", code, name], env=environment, stdout=-1, text=True)
                for name in expected
            }
            for name, process in started.items():
                assert process.communicate()[0].startswith(expected[name]), (name, again)
    assert not list(copy.cache.rglob("*.part"))


@SLOW
def test_an_edit_that_keeps_size_and_time(copy):
    """Python itself would run the compiled form of the old source: it is gone before the loss is imported."""
    writing = {"PYTHONDONTWRITEBYTECODE": ""}
    assert copy.ask(ASK, **writing) == RIGHT
    path = loss_file(copy)
    found = os.stat(path)
    edit(path, OLD, SAME_SIZE)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    done = copy.done(ASK, **writing)
    assert (done.stdout.split(), done.stderr) == (["1.5"], "")
    assert bytecode.remove_outdated([path]) == []


def test_bytecode_of_the_same_text_is_left_alone(tmp_path):
    source = tmp_path / "module.py"
    source.write_text("X = 1\n")
    compiled = cache_from_source(str(source))
    py_compile.compile(str(source), compiled, doraise=True)
    found = os.stat(source)
    os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))  # touched, not edited
    assert bytecode.outdated(source) is None
    assert bytecode.outdated(tmp_path / "absent.py") is None
    source.write_text("X = 2\n")
    os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert bytecode.outdated(source) == Path(compiled)
