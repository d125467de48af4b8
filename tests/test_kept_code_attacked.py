"""Compiled code that is kept, against a hostile reader: files that change places, sources half written, full disks."""

from __future__ import annotations

import errno
import os
import random
import time
from pathlib import Path

import numba
import pytest
from package_copies import Copy, copied, edit

from pfl_theory.kernels import kept
from pfl_theory.sweeps import files, sources

RIGHT = -0.23840584404423515  # 2 (sigma(2) - 1), the gradient of `PROBLEM` at 1
PROBLEM = """
import pfl_theory as pfl
problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[2.0]]], [[1]]))
"""
GRADIENT = f"{PROBLEM}\nprint(problem.gradient([1.0])[0, 0])"


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-14)


def told(text: str) -> list[str]:
    """Lines of ours on stderr."""
    lines = text.splitlines()
    assert all(line.startswith("pfl-theory: kernels are compiled for this process alone: ") for line in lines), text
    return lines


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return copied(tmp_path)


def compiled(copy: Copy) -> dict[str, int]:
    return {str(path.relative_to(copy.cache)): path.stat().st_mtime_ns for path in copy.cache.rglob("*.nbc")}


USERS = "from pfl_theory.kernels.philox import choose_users; print(*choose_users(9, 3, 0, 0))"
CONSTANT = "M0, M1 = np.uint64(0xD2511F5{})"


def test_an_old_compiled_form_is_said_and_gone(copy: Copy) -> None:
    """Loaded before it is noticed: its number, a line, nothing kept. The next process has the new number."""
    writing = {"PYTHONDONTWRITEBYTECODE": ""}
    old = copy.ask(USERS, **writing)
    before = compiled(copy)
    path = copy.package / "kernels" / "philox.py"
    found = path.stat()
    edit(path, CONSTANT.format(3), CONSTANT.format(5))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    done = copy.done(USERS, **writing)
    assert (done.stdout.split(), len(told(done.stderr))) == (old, 1)
    assert compiled(copy) == before
    done = copy.done(USERS, **writing)
    assert told(done.stderr) == []
    assert done.stdout.split() != old
    assert copy.ask(USERS, NUMBA_CACHE_DIR=str(copy.package.parent / "apart")) == done.stdout.split()


@pytest.mark.parametrize("text", ["def broken(:\n", "X = '\0'\n", "X = '\udcff'\n"])
def test_a_source_that_is_half_written_stops_no_kernel(copy: Copy, text: str) -> None:
    """One that this process does not run: an editor saves it at this moment."""
    (copy.package / "algorithms" / "zz_half.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = copy.done(GRADIENT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == near(RIGHT)
    (line,) = told(done.stderr)
    assert "zz_half.py" in line
    assert not compiled(copy)


def test_a_file_that_appears_while_a_process_runs(copy: Copy) -> None:
    """It is no part of the name of the folder: what is compiled from it is not kept there."""
    new = copy.package / "losses" / "zz_new.py"
    code = f"""{PROBLEM}
problem.gradient([1.0])
from pathlib import Path
Path({str(new)!r}).write_text({OWN!r})
from pfl_theory.losses import zz_new
print(pfl.Problem(zz_new.Own(), pfl.Federation.from_arrays([[[2.0]]], [[1.0]])).gradient([1.0])[0, 0])
"""
    done = copy.done(code)
    assert float(done.stdout) == 2.0, done.stderr
    assert len(told(done.stderr)) == 1
    assert all(Path(name).name.startswith("gradient_users-") for name in compiled(copy))
    assert len(compiled(copy)) == 1
    new.unlink()
    done = copy.done(code.replace("dphi=lambda loss, u, y: 1.0", "dphi=lambda loss, u, y: 3.0"))
    assert float(done.stdout) == 6.0


OWN = """
from dataclasses import dataclass
from typing import NamedTuple
from .loss import Loss, real_targets
from .margin import implements_margin
class Record(NamedTuple):
    unused: float
implements_margin(
    Record, phi=lambda loss, u, y: u, dphi=lambda loss, u, y: 1.0, d2phi=lambda loss, u, y: 0.0
)
@dataclass(frozen=True)
class Own(Loss):
    def dim(self, fed): return fed.n_features
    def parameters(self, fed, dtype): return Record(dtype.type(0))
    def targets(self, fed, dtype): return real_targets(self, fed, dtype)
    def constants(self, fed, **keywords): return {}
"""

# --- operations from elsewhere ---


def test_an_operation_whose_default_is_compiled_already(copy: Copy) -> None:
    """Least squares has no penalty: kernels took the default in, and would go on with it."""
    code = """
import pfl_theory as pfl
from pfl_theory.errors import InputError
from pfl_theory.losses.dispatch import implements
from pfl_theory.losses.least_squares import LeastSquares
problem = pfl.Problem(LeastSquares(), pfl.Federation.from_arrays([[[2.0]]], [[1.0]]))
def mine(loss, w, out): out[0] += 40.0
from pfl_theory.losses import least_squares
parameters = [value for name, value in vars(least_squares).items() if name.endswith("Parameters")][0]
{before}
try:
    implements(parameters, add_penalty_gradient=mine)
    print("taken")
except InputError:
    print("refused")
print(problem.gradient([1.0])[0, 0])
"""
    assert copy.ask(code.format(before="")) == ["taken", "42.0"]
    assert copy.ask(code.format(before="problem.gradient([1.0])")) == ["refused", "2.0"]


# --- one small kernel in this process ---


def twice(x):  # type: ignore[no-untyped-def]
    return 2.0 * x


def thrice(x):  # type: ignore[no-untyped-def]
    return 3.0 * x


def add(x):  # type: ignore[no-untyped-def]
    return int(x)


def same(x):  # type: ignore[no-untyped-def]
    return abs(x)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of compiled code, as if this process had just started."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(kept, "_State", type("_State", (kept._State,), {"digest": None, "told": False, "unusable": ""}))
    monkeypatch.setattr(kept._State, "first", kept.look())
    return tmp_path / "kept"


def call(function, value=1.5):  # type: ignore[no-untyped-def]
    """In a new dispatcher, as a new process has it: the answer, and whether it was loaded."""
    dispatcher = kept.keep(numba.njit(function))
    return dispatcher(value), sum(dispatcher.stats.cache_hits.values()) > 0


def test_kept_and_found_again(folder: Path) -> None:
    assert call(twice) == (3.0, False)
    assert call(twice) == (3.0, True)
    assert call(twice, 2) == (4.0, False)
    assert len(list(folder.rglob("*.nbc"))) == 2


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE = {
    "emptied": lambda data: b"",
    "a byte": lambda data: data[:1],
    "no code": lambda data: data[:32],
    "cut in half": lambda data: data[: len(data) // 2],
    "a byte short": lambda data: data[:-1],
    "a byte long": lambda data: data + b"\0",
    "garbage": lambda data: random.Random(0).randbytes(len(data)),
    "zeros": lambda data: bytes(len(data)),
    "hash flipped": lambda data: flipped(data, 3),
    **{
        f"bit at {share:.1f}": lambda data, share=share: flipped(data, int(share * len(data)) - 1) for share in (0.2, 1)
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_compiled_anew(folder: Path, capfd: pytest.CaptureFixture[str], damage: str) -> None:
    call(twice)
    (path,) = folder.rglob("*.nbc")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert call(twice) == (3.0, False)
    assert call(twice) == (3.0, True), "it is not mended"
    assert capfd.readouterr().err == ""


def test_a_folder_in_place_of_a_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call(twice)
    (path,) = folder.rglob("*.nbc")
    path.unlink()
    path.mkdir()
    for _ in range(2):
        assert call(twice) == (3.0, False)
    assert len(told(capfd.readouterr().err)) == 1
    assert not list(folder.rglob("*.part"))


def test_a_whole_file_of_another_kernel(folder: Path) -> None:
    """`int(x)` and `abs(x)` have one bytecode and one signature: names are no part of it."""
    assert add.__code__.co_code == same.__code__.co_code
    for function, other, answer in ((twice, thrice, 3.0), (add, same, 1), (same, add, 1.5)):
        for old in folder.rglob("*.nbc"):
            old.unlink()
        call(function)
        (mine,) = folder.rglob("*.nbc")
        call(other)
        (others,) = set(folder.rglob("*.nbc")) - {mine}
        mine.write_bytes(others.read_bytes())
        assert call(function) == (answer, False)


def test_a_whole_file_of_other_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that were merged: a file holds for the sources that it was compiled from."""
    call(twice)
    (old,) = folder.rglob("*.nbc")
    monkeypatch.setattr(kept._State, "digest", "0" * 16)
    call(twice)
    (new,) = set(folder.rglob("*.nbc")) - {old}
    new.write_bytes(old.read_bytes())
    assert call(twice) == (3.0, False)


@pytest.mark.parametrize("broken", ["mkstemp", "replace", "fdopen", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_or_read_only_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], broken: str, number: int
) -> None:
    def fails(*_args: object, **_keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    owner = {"mkstemp": files.tempfile, "mkdir": Path}.get(broken, os)
    with monkeypatch.context() as patch:
        patch.setattr(owner, broken, fails)
        assert call(twice) == (3.0, False)
        assert call(thrice) == (4.5, False)
    (line,) = told(capfd.readouterr().err)
    assert os.strerror(number) in line
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert call(twice) == (3.0, False)
    assert call(twice) == (3.0, True)


def test_a_disk_that_is_full_while_it_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = os.fdopen

    def full(handle, mode, **keywords):  # type: ignore[no-untyped-def]
        stream = real(handle, mode, **keywords)

        class Full:
            def __enter__(self):  # type: ignore[no-untyped-def]
                return self

            def __exit__(self, *_args):  # type: ignore[no-untyped-def]
                stream.close()

            def write(self, data: bytes) -> None:
                stream.write(data[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    monkeypatch.setattr(os, "fdopen", full)
    assert call(twice) == (3.0, False)
    assert len(told(capfd.readouterr().err)) == 1
    assert not [path for path in folder.rglob("*") if path.is_file()]


# --- several processes ---

BOTH = """
import pfl_theory as pfl
cosine = pfl.Problem(pfl.losses.Cosine(), pfl.Federation.from_arrays([[[0.5], [2.0]]]))
cosh = pfl.Problem(pfl.losses.LogCosh(), pfl.Federation.from_arrays([[[0.5], [2.0]]]))
print(*[float(p.gradient([0.25])[0, 0]).hex() for p in ({order})])
"""


def test_a_second_process_compiles_nothing(copy: Copy) -> None:
    """Whatever it does first, and whatever the seed of its hashes."""
    first = copy.ask(BOTH.format(order="cosine, cosh"), PYTHONHASHSEED="0")
    before = compiled(copy)
    assert len(before) == 2
    for seed, order in (("1", "cosine, cosh"), ("2", "cosh, cosine")):
        again = copy.ask(BOTH.format(order=order), PYTHONHASHSEED=seed)
        assert again == (first if order == "cosine, cosh" else first[::-1])
        assert compiled(copy) == before
    other = "import numba; numba.njit(lambda x, y: x + y)(1j, 2.0)\nimport pandas\n"  # types that are made before ours
    assert copy.ask(other + BOTH.format(order="cosine, cosh"), PYTHONHASHSEED="3") == first
    assert compiled(copy) == before


def test_whole_files_of_real_kernels_that_change_places(copy: Copy) -> None:
    """The values and the shares predicted right: one bytecode, one signature."""
    code = f"{PROBLEM}\nprint(problem.value([1.0])[0], problem.accuracy([1.0])[0])"
    right = copy.ask(code)
    assert right[1] == "1.0"
    value, correct = (next(copy.cache.rglob(f"{name}_users-*.nbc")) for name in ("value", "correct"))
    texts = value.read_bytes(), correct.read_bytes()
    value.write_bytes(texts[1])
    correct.write_bytes(texts[0])
    assert copy.ask(code) == right
    value.write_bytes(b"")
    correct.write_bytes(texts[1][:-9])
    assert copy.ask(code) == right


# --- sweeps ---


def test_a_file_that_appears_while_a_sweep_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was seen of it before: younger than the process, it is not surely the text that was imported."""
    folder = tmp_path / "zz_cells"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "demo.py").write_text("def cell(*, seed):\n    from . import late\n    return [{'x': late.VALUE}]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = sources.files_seen({"zz_cells.demo:cell"})
    (folder / "late.py").write_text("VALUE = 1\n")
    reached = sources.sources_of({"zz_cells.demo:cell"})
    assert sources.edited(before, reached) == str(folder / "late.py")
    monkeypatch.setattr(files, "STARTED", time.time_ns() + 10**9)  # a process that starts later
    assert sources.edited(before, reached) is None


@pytest.mark.skipif(files.fcntl is None, reason="locks of POSIX")
@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK])
def test_a_file_system_without_locks_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """NFS locks only what is open for writing, which a folder cannot be: EBADF."""

    def refused(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", refused)
    with files.locked([tmp_path / "a"]):
        assert (tmp_path / "a").is_dir()
