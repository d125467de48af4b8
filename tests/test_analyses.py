"""One command: cells, table, figure, notes and index; redraw without computing; bad input in one line."""

from __future__ import annotations

import html.parser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path

import pytest

from pfl_theory import analyses
from pfl_theory.errors import InputError
from pfl_theory.pages.index import build_index
from pfl_theory.provenance import provenance

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[1]

DEMO = '''
"""A demo."""
from pathlib import Path
from pfl_theory import plotting

TITLE = "Squares <& more>"
DATA = ()
CHOICES = {"k": "from 1"}

def grid(scale):
    return [{"k": k, "name": name} for k in (3, 1, 2) for name in ("a", "b")]

def cell(*, seed, k, name):
    import numpy as np
    with open(Path(__file__).with_name("log"), "a") as stream:
        stream.write(f"{k}{name}\\n")
    noise = np.random.default_rng([seed, k]).normal()
    odd = float("inf") if k == 3 else float("nan")
    return [{"x": x, "y": noise * k**x, "odd": odd, "even": None if x else True} for x in range(4)]

def plot(table):
    from matplotlib.figure import Figure
    assert list(table.columns) == ["k", "name", "x", "y", "odd", "even"]
    assert table["k"].dtype.kind == "i"
    figure, ax = plotting.figure()
    for k, part in table.groupby("k"):
        ax.plot(part["x"], part["y"], label=f"k = {k}", **plotting.series_style(int(k)))
    ax.legend()
    return {"": figure, "again": Figure((1, 1))}

def tables(table):
    return {"sums": table.groupby("k", as_index=False)["y"].sum()}

def verdicts(table):
    return [{"claim": "y < 9", "outcome": "HOLDS"}]
'''

GAPS = """
from pfl_theory.errors import DataMissingError
TITLE, DATA, CHOICES = "Gaps", ("mnist",), "none"
def grid(scale):
    return [{"data": data, "n": 3} for data in ("synthetic", "mnist")]
def cell(*, seed, data, n):
    if data == "mnist":
        raise DataMissingError("needs mnist, put it into the folder PFL_THEORY_DATA")
    return [{"y": 1}]
def plot(table):
    from pfl_theory import plotting
    assert list(table["data"]) == ["synthetic"] and table["y"].dtype.kind == "i" and "status" not in table
    return plotting.figure()[0]
"""

NOTHING = GAPS.replace('("synthetic", "mnist")', '("mnist",)')

BROKEN = """
from pfl_theory.errors import InputError
TITLE, DATA, CHOICES = "Broken", (), ""
def grid(scale):
    return [{"how": how} for how in ("fine", "input", "bug")]
def cell(*, seed, how):
    if how == "input":
        raise InputError("alpha = -1: must be >= 0; use 0 for FedAvg")
    return [{"y": 1 / (how != "bug")}]
def plot(table):
    raise AssertionError("not with failed cells")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a package of one analysis, whose name is the only folder's."""
    folder = tmp_path / f"demo_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "squares.py").write_text(DEMO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def computed(place: Path) -> list[str]:
    log = place / "log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(lines)


def go(place: Path, *names: str, **options: object) -> tuple[int, list[str], list[str]]:
    said: list[str] = []
    errors: list[str] = []
    code = analyses.run_analyses(
        names or ["all"], package=place.name, say=said.append, complain=errors.append, **options
    )  # type: ignore[arg-type]
    return code, said, errors


def command(place: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as ``python -m analysis`` runs it."""
    code = f"{textwrap.dedent(before)}\nfrom pfl_theory.analyses import main; main(package={place.name!r})"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(place.parent)}
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, cwd=place.parent, env=env, capture_output=True, text=True, timeout=100, check=False)


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    (line,) = (line for line in answer.stderr.splitlines() if "done, " not in line)
    assert line.startswith("error: ")
    return line


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_first_run_then_redraw(place: Path) -> None:
    code, said, errors = go(place, workers=2, explain=True)
    assert (code, errors) == (0, [])
    assert sum(line.endswith(": new") for line in said) == 6
    assert len(computed(place)) == 6
    out = Path("figures/quick/squares")
    first = contents(out)
    assert set(first) == {
        f"squares{end}" for end in (".csv", ".json", ".pdf", ".png", "-again.pdf", "-again.png", "-sums.csv")
    } | {"judged.csv"}
    lines = first["squares.csv"].decode().splitlines()
    assert lines[0] == "k,name,x,y,odd,even"
    assert [line[:3] for line in lines[1::4]] == ["3,a", "3,b", "1,a", "1,b", "2,a", "2,b"]
    assert lines[1].endswith(",inf,True")
    assert lines[-1].endswith(",nan,")
    notes = json.loads(first["squares.json"])
    assert notes["provenance"]["scale"] == "quick"
    assert [cell["rows"] for cell in notes["cells"]] == [4] * 6
    assert str(place.parent) not in json.dumps(notes)

    code, said, _ = go(place, workers=1, explain=True)
    assert (code, computed(place)) == (0, [])
    assert sum(line.endswith(": stored") for line in said) == 6
    assert contents(out) == first, "a redraw changes nothing, not even the date"

    text = (place / "squares.py").read_text()
    (place / "squares.py").write_text(
        text.replace('"again": Figure', '"other": Figure').replace("Squares", "More squares")
    )
    sys.modules.pop(f"{place.name}.squares")
    assert go(place)[0] == 0
    assert computed(place) == []
    assert "squares-again.pdf" not in contents(out)
    assert "squares-other.pdf" in contents(out)
    assert "More squares &lt;&amp; more&gt;" in Path("figures/quick/index.html").read_text()


def test_order_and_workers_do_not_matter(place: Path) -> None:
    go(place, workers=1, out="one")
    go(place, workers=2, out="two")
    one, two = contents(Path("one/squares")), contents(Path("two/squares"))
    for name in set(one) - {"squares.json"}:
        assert one[name] == two[name], name
    for path in Path("two/.store/squares").glob("*.json"):
        if path.stem < "8":
            path.unlink()
    go(place, workers=2, out="two")
    assert contents(Path("two/squares"))["squares.csv"] == one["squares.csv"]
    assert Path("one/index.html").exists()
    assert not Path("figures").exists()


def test_a_committed_table_is_a_store(place: Path) -> None:
    assert go(place, scale="full")[0] == 0
    assert len(computed(place)) == 6
    out = Path("figures/squares")
    first = contents(out)
    shutil.rmtree("figures/.store")  # a fresh clone
    _, said, _ = go(place, scale="full", explain=True)
    assert computed(place) == []
    assert sum(line.endswith(": committed") for line in said) == 6
    assert contents(out) == first

    text = (place / "squares.py").read_text()
    (place / "squares.py").write_text(text.replace("noise * k**x", "noise + k**x"))
    _, said, _ = go(place, scale="full")
    assert computed(place) == []
    assert any("made by older sources: 6 of 6" in line for line in said)
    assert "Made by older sources" in Path("figures/index.html").read_text()
    assert contents(out) == first

    (place / "squares.py").write_text((place / "squares.py").read_text().replace("(3, 1, 2)", "(3, 1, 2, 4)"))
    sys.modules.pop(f"{place.name}.squares")
    go(place, scale="full")
    assert computed(place) == ["4a", "4b"]
    assert contents(out)["squares.csv"].startswith(first["squares.csv"])

    shutil.rmtree("figures/.store")
    table = out / "squares.csv"
    table.write_text(table.read_text().replace("inf", "0.0"))
    go(place, scale="full")
    assert len(computed(place)) == 8, "a table that its notes do not describe is no store"
    go(place, scale="full", force=True)
    assert len(computed(place)) == 8


def test_seeds_differ(place: Path) -> None:
    go(place, out="zero")
    go(place, out="one", seed=1)
    assert Path("zero/squares/squares.csv").read_bytes() != Path("one/squares/squares.csv").read_bytes()


def test_absent_data_are_rows(place: Path) -> None:
    (place / "gaps.py").write_text(GAPS)
    (place / "nothing.py").write_text(NOTHING)
    code, said, errors = go(place, "gaps", "nothing")
    assert (code, errors) == (0, [])
    assert any("skipped: needs mnist" in line for line in said)
    assert (
        Path("figures/quick/gaps/gaps.csv").read_text().splitlines()[-1]
        == 'mnist,3,,"skipped: needs mnist, put it into the folder PFL_THEORY_DATA"'
    )
    assert Path("figures/quick/gaps/gaps.png").exists()
    assert set(contents(Path("figures/quick/nothing"))) == {"nothing.csv", "nothing.json"}
    page = Path("figures/quick/index.html").read_text()
    assert "No figure: all cells were skipped" in page
    assert "skipped: needs mnist" in page
    (place / "gaps.py").write_text(
        GAPS.replace('data == "mnist"', "False").replace('["synthetic"]', '["synthetic", "mnist"]')
    )
    sys.modules.pop(f"{place.name}.gaps")
    assert go(place, "gaps")[0] == 0, "data that have come are used"


def test_failed_cells_exit_with_one_and_others_go_on(place: Path) -> None:
    (place / "broken.py").write_text(BROKEN)
    answer = command(place, "all", "--out", "out")
    assert answer.returncode == 1
    assert "error: broken: 2 of 3 cells failed" in answer.stderr
    assert "error: broken how=input: alpha = -1: must be >= 0; use 0 for FedAvg\n" in answer.stderr
    assert "broken how=bug: ZeroDivisionError: division by zero\nTraceback" in answer.stderr
    assert answer.stderr.count("Traceback") == 1
    assert (place.parent / "out/squares/squares.pdf").exists()
    assert not (place.parent / "out/broken").exists()


def test_bad_input_is_one_line(place: Path) -> None:
    assert refused(command(place, "nope")) == "error: unknown analysis 'nope'; there are: squares, or all"
    assert "missing" in refused(command(place)).lower()
    with pytest.raises(InputError, match="at least 1"):
        go(place, workers=0)
    with pytest.raises(InputError, match="unknown workers"):
        go(place, workers="dask://host:8786")
    with pytest.raises(InputError, match="'quick', 'full'"):
        go(place, scale="huge")
    with pytest.raises(InputError, match="no package"):
        analyses.names("no_such_package")
    (place / "half.py").write_text("TITLE = ''\n")
    with pytest.raises(InputError, match="lacks DATA, CHOICES, grid, cell, plot"):
        go(place, "half")
    assert not Path("figures/quick/index.html").exists()


def test_unwritable_folder(place: Path) -> None:
    """As an unprivileged user: root ignores permissions."""
    closed = place.parent / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    arguments = ["squares", "--out", str(closed / "out")]
    if os.geteuid() == 0:
        for folder in (place, *place.parents):  # pytest's folders are their owner's only
            if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to(tempfile.gettempdir()):
                folder.chmod(0o755)
        # The interpreter itself may lie where others cannot read: let a first, refused call load what is needed, then
        # drop the rights.
        before = f"""if True:
            import contextlib, io, os
            from pfl_theory.analyses import main
            with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                main(["squares", "--scale", "huge"], package={place.name!r})
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        """
        answer = command(place, *arguments, before=before)
    else:
        answer = command(place, *arguments)
    assert "cannot be written (Permission denied)" in refused(answer)
    assert list(closed.iterdir()) == []
    assert computed(place) == [], "nothing is computed before the folder is known to be writable"


@pytest.mark.parametrize("size", ["16k", "64k"])
def test_full_disk(place: Path, size: str) -> None:
    disk = place.parent / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        line = refused(command(place, "squares", "--out", str(disk / "out")))
        assert "cannot be written (No space left on device)" in line
        left = [path for path in disk.rglob("*") if path.is_file()]
        assert not [path for path in left if path.suffix == ".part"]
        for path in left:  # whatever stands there is whole
            data = path.read_bytes()
            assert data.endswith((b"\n", b"%%EOF\n", b"IEND\xaeB`\x82")), path
    finally:
        subprocess.run(["umount", str(disk)], check=True)


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and notes images, links and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("scale", "folder"), [("full", "figures"), ("quick", "figures/quick")])
def test_index_is_whole(place: Path, scale: str, folder: str) -> None:
    go(place, scale="full")
    go(place)
    assert Path(f"{folder}/verdicts.csv").read_text() == f"claim,outcome,scale\ny < 9,HOLDS,{scale}\n"
    Path(f"{folder}/verdicts.csv").write_text(
        f"claim,scale,outcome,lhs_lower\nlemma-4.2 <b>,{scale},VIOLATED,0.12345678901234567\n"
    )
    Path(f"{folder}/junk").mkdir()
    Path(f"{folder}/junk/junk.json").write_text("{")
    text = build_index(folder, scale).read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert "✗ VIOLATED" in text
    assert "lemma-4.2 &lt;b&gt;" in text
    assert "<script" not in text
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {f"{scale}-squares", scale, "verdicts"} == set(ids)
    images = [attributes for tag, attributes in page.seen if tag == "img"]
    assert len(images) == 2
    assert all(image["alt"] for image in images)
    assert len({image["alt"] for image in images}) == 2
    for target in [image["src"] for image in images] + [
        attributes["href"] for tag, attributes in page.seen if tag == "a"
    ]:
        assert target is not None
        assert (target[1:] in ids) if target.startswith("#") else (Path(folder) / target).is_file()


def git(*arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_quick_run_leaves_a_clone_as_it_was(place: Path) -> None:
    shutil.copy(ROOT / ".gitignore", place.parent)
    go(place, scale="full")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "full-scale results")
    assert {"figures/index.html", "figures/verdicts.csv"} <= set(git("ls-files").split())
    assert "figures/.store" not in git("ls-files")
    go(place)
    (place / "log").unlink()
    git("checkout", "-q", str(place / "log"))
    assert git("status", "--porcelain") == ""
    assert Path("figures/quick/index.html").exists()
    assert Path("figures/quick/verdicts.csv").read_text().splitlines()[1:] == ["y < 9,HOLDS,quick"]
    go(place, scale="full")
    assert git("status", "--porcelain") == "", "what is committed is shown as it is"


# --- confirming ---


def confirm(place: Path, *names: str, **options: object) -> tuple[int, list[str], list[str]]:
    said: list[str] = []
    errors: list[str] = []
    code = analyses.confirm_analyses(
        names or ["all"], package=place.name, say=said.append, complain=errors.append, **options
    )  # type: ignore[arg-type]
    return code, said, errors


def edit(place: Path, old: str, new: str) -> None:
    path = place / "squares.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    sys.modules.pop(f"{place.name}.squares", None)


def shown(place: Path) -> str:
    """The state of the committed result: in what the command says, and on the page."""
    _, said, _ = go(place, scale="full")
    (line,) = (line for line in said if line.startswith("squares: "))
    found = line.split("; ", 1)[1]
    page = Path("figures/index.html").read_text()
    assert computed(place) == []
    if found.startswith("made by older sources"):
        assert f"Made by older sources: <code>{place.name}.squares:cell</code>" in page
    else:
        assert found[1:] in page
    return found


def notes_of(name: str) -> dict[str, object]:
    return json.loads(Path(f"figures/{name}/{name}.json").read_text())


def test_three_states(place: Path) -> None:
    go(place, scale="full")
    computed(place)
    before = contents(Path("figures/squares"))
    assert shown(place) == "made by these sources"
    edit(place, "noise * k**x", "k**x * noise")  # other sources, the same bits
    assert shown(place).startswith("made by older sources: 6 of 6 cells")
    shutil.rmtree("figures/.store")  # a fresh clone
    assert shown(place).startswith("made by older sources: 6 of 6 cells")

    code, said, errors = confirm(place, "squares", workers=2)
    assert (code, errors) == (0, [])
    assert len(computed(place)) == 6
    confirmed = notes_of("squares")["confirmed"]
    assert isinstance(confirmed, dict)
    packages = provenance()["packages"]
    versions = ", ".join(f"{name} {packages[name.lower()]}" for name in ("numpy", "scipy", "numba", "POT"))
    assert said == [f"squares: confirmed, 6 of 6 cells, {confirmed['date']}, with {versions}"]
    assert shown(place) == said[0].removeprefix("squares: ")
    after = contents(Path("figures/squares"))
    assert {name for name in after if after[name] != before[name]} == {"squares.json"}
    assert not Path("figures/.store").exists() or not list(Path("figures/.store").glob("*/*.json"))

    edit(place, "k**x * noise", "k**x * noise * 1")
    assert shown(place).startswith("made by older sources"), "a confirmation counts for the sources it was made with"
    edit(place, "k**x * noise * 1", "k**x * noise")
    assert shown(place).startswith("confirmed, 6 of 6")
    go(place, scale="full", force=True)
    computed(place)
    assert shown(place) == "made by these sources"
    assert "confirmed" not in notes_of("squares"), "what was confirmed has been computed again"


def test_a_difference_is_told_and_nothing_noted(place: Path) -> None:
    go(place, scale="full")
    edit(place, "noise * k**x", "noise * k**x * (1 + 2.0**-30 * (k == 2))")
    before = contents(Path("figures/squares"))
    answer = command(place, "confirm", "squares", "--workers", "1")
    assert answer.returncode == 1
    assert answer.stdout == ""
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 8
    row = Path("figures/squares/squares.csv").read_text().splitlines()[18]  # k = 2, name = a, the second row
    old = row.split(",")[3]
    new = repr(float(old) * (1 + 2.0**-30))
    assert (
        f"error: squares k=2 name=a: column 'y', row 1: committed {old}, computed {new}; they differ by "
        f"{abs(float(old) - float(new)):.3g}, relative 9.31e-10"
    ) in lines
    assert contents(Path("figures/squares")) == before
    computed(place)
    assert shown(place).startswith("made by older sources")


def test_other_columns_and_rows_are_differences(place: Path) -> None:
    go(place, scale="full")
    edit(place, "for x in range(4)", "for x in range(3)")
    code, _, errors = confirm(place, "squares")
    assert code == 1
    assert "column '(number of rows)', row 0: committed 4, computed 3" in errors[0]
    assert errors[-1].startswith("error: squares: and ") is (len(errors) > 10)
    edit(place, "for x in range(3)", "for x in range(4)")
    edit(place, '"odd": odd', '"odd": odd, "new": "z"')
    assert "column 'new', row 0: committed nothing, computed z" in confirm(place, "squares")[2][0]


def test_columns_of_seconds_are_left_out_where_the_analysis_says_so(place: Path) -> None:
    text = (place / "squares.py").read_text().replace('"odd": odd', '"odd": odd, "took": time.perf_counter()')
    text = text.replace("import numpy as np", "import time\n    import numpy as np", 1)
    text = text.replace('"even"]', '"took", "even"]')
    (place / "squares.py").write_text(text)
    assert go(place, scale="full")[0] == 0
    assert "column 'took'" in confirm(place, "squares")[2][0]
    edit(place, "DATA = ()", 'DATA, CLOCKS = (), ("took",)')
    assert confirm(place, "squares")[0] == 0


def test_a_sample_fits_the_seconds(place: Path) -> None:
    go(place, scale="full")
    computed(place)
    path = Path("figures/squares/squares.json")
    notes = json.loads(path.read_text())

    def took(*seconds: float) -> None:
        for cell, value in zip(notes["cells"], seconds, strict=True):
            cell["seconds"] = value
        path.write_text(json.dumps(notes))

    took(50, 50, 50, 50, 50, 50)
    assert "confirmed, 2 of 6 cells" in confirm(place, "squares", seconds=110.0)[1][0]
    first = computed(place)
    confirm(place, "squares", seconds=110.0)
    assert computed(place) == first, "the sample is seeded"
    assert any(
        confirm(place, "squares", seconds=110.0, seed=k)[0] == 0 and computed(place) != first for k in range(1, 6)
    )
    took(500, 400, 600, 700, 800, 900)
    assert "confirmed, 1 of 6 cells" in confirm(place, "squares")[1][0]
    assert computed(place) == ["3b"], "the cheapest, where none fits"
    took(5000, 4000, 6000, 7000, 8000, 9000)
    code, said, _ = confirm(place, "squares")
    assert (code, computed(place)) == (0, [])
    assert said == ["squares: not confirmed: its cheapest cell took 67 minutes; give --seconds 4001"]
    assert "confirmed, 1 of 6 cells" in confirm(place, "squares", seconds=4001)[1][0]


def test_what_cannot_be_confirmed_is_named(place: Path) -> None:
    (place / "gaps.py").write_text(
        GAPS.replace('data == "mnist"', "False").replace('["synthetic"]', '["synthetic", "mnist"]')
    )
    (place / "broken.py").write_text(BROKEN)
    assert confirm(place) == (
        0,
        [f"{n}: skipped: nothing is committed in figures/{n}" for n in ("broken", "gaps", "squares")],
        [],
    )
    go(place, "gaps", "squares", scale="full")
    (place / "gaps.py").write_text(GAPS)
    sys.modules.pop(f"{place.name}.gaps")
    code, said, _ = confirm(place, "gaps", "squares")
    assert code == 0
    assert said[0] == "gaps: skipped: needs mnist, put it into the folder PFL_THEORY_DATA"
    assert said[1].startswith("squares: confirmed, 6 of 6")
    assert "confirmed" not in notes_of("gaps")
    (place / "gaps.py").write_text(GAPS.replace('("synthetic", "mnist")', '("synthetic",)'))
    sys.modules.pop(f"{place.name}.gaps")
    assert confirm(place, "gaps")[1][0].startswith("gaps: skipped: 1 of its 2 committed cells are not in its grid here")
    table = Path("figures/squares/squares.csv")
    table.write_text(table.read_text().replace("inf", "0.0"))
    assert "its table is not the one that its notes describe" in confirm(place, "squares")[1][0]
    assert "seconds -1" in refused(command(place, "confirm", "squares", "--seconds", "-1"))
    assert "unknown analysis 'nope'" in refused(command(place, "confirm", "nope"))


def test_a_cell_that_fails_is_not_confirmed(place: Path) -> None:
    go(place, scale="full")
    edit(place, "noise * k**x", "noise / (k - k)")
    code, said, errors = confirm(place, "squares")
    assert (code, said) == (1, [])
    assert "ZeroDivisionError: " in errors[0]


def test_what_earlier_versions_wrote_reads_as_older(place: Path) -> None:
    go(place, scale="full")
    computed(place)
    shutil.rmtree("figures/.store")
    path = Path("figures/squares/squares.json")
    notes = json.loads(path.read_text())
    for sources in ([{"pfl_theory.errors": "0123", f"{place.name}.squares:cell": "4567"}], [None], ["x"]):
        path.write_text(json.dumps({**notes, "sources": sources}))
        _, said, _ = go(place, scale="full")
        assert any("made by older sources: 6 of 6" in line for line in said)
        assert json.loads(path.read_text())["sources"] == sources
        assert "Made by older sources" in Path("figures/index.html").read_text()
        assert computed(place) == []
    assert confirm(place, "squares")[0] == 0
    computed(place)
    assert shown(place).startswith("confirmed, 6 of 6")


def test_provenance_has_no_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.chdir(tmp_path)
    made = provenance(
        command=["/usr/x/analysis/__main__.py", "all", "--out", "/home/somebody/place", f"--out={tmp_path}/here"],
        seed=3,
        scale="quick",
    )
    assert made["command"] == "python -m analysis all --out place --out=here"
    assert made["date"] == "1970-01-01T00:00:00Z"
    assert made["seed"] == 3
    assert made["packages"]["numpy"]
    json.dumps(made, allow_nan=False)


def test_importing_is_light() -> None:
    heavy = ("numpy", "pandas", "matplotlib", "joblib", "rich", "typer", "numba")
    names = ("analyses", "pages.index", "plotting", "provenance", "sweeps")
    modules = ", ".join(f"pfl_theory.{name}" for name in names)
    code = f"import sys; import {modules}; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_repository_has_a_command() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "analysis", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--explain" in answer.stdout
