"""A result depends on what its cell can reach: edits of that are noticed, edits of anything else are not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from pfl_theory import analyses, claims, discovery, losses
from pfl_theory.sweeps import make_task, run, sources
from pfl_theory.sweeps.sources import GONE, Sources, differs, sources_of
from pfl_theory.sweeps.syntax import Module, text_of

ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "__init__.py": "",
    "demo.py": '''
"""A demo."""
from __future__ import annotations
from . import tools, unused_module
from .tools import first as renamed
from .shop import thing
import math

SIZE = 3

def cell(*, seed):
    """A cell."""
    from .late import lately
    import math
    chosen = [value for value in range(SIZE)]
    return [{"x": renamed(chosen) + tools.second(1) + lately() + thing() + math.pi}]

def plot(table):
    return tools.drawn(table)
''',
    "tools.py": '''
from .deep import Base, wrapped
from . import registry

def first(x: Looks):
    return Middle().total(x)

def second(x, factor=2 ** 3):
    return x * factor

def drawn(table):
    return unreached(table)

def unreached(table):
    return 1

class Middle(Base):
    """A class counts whole."""
    weight = 1
    def total(self, x):
        return self.weight * sum(x) + self.other()
    def never_asked(self):
        return helper()

class Looks:
    pass

@wrapped
def helper():
    return registry.call("a")

first_of_all = first
''',
    "deep.py": """
def wrapped(f):
    def inner():
        return f()
    return inner

class Base:
    def other(self):
        return constant() + VALUE

def constant():
    return 4

def nobody_asks():
    return 5

VALUE = 6
""",
    "registry.py": """
TABLE = {}

def register(name, function):
    TABLE[name] = function

def call(name):
    return TABLE[name]()

def kernel():
    return 7

def ghost():
    return 8

register("a", kernel)
""",
    "late.py": "def lately():\n    return 9\n\ndef never():\n    return 10\n",
    "shop/__init__.py": "from .shelf import thing as thing\nfrom .shelf import dust\n",
    "shop/shelf.py": "def thing():\n    return 11\n\ndef dust():\n    return 12\n",
    "unused_module.py": "print_nothing = 13\nNOISE = print_nothing + 1\n",
}


FIRST = "def first(x: Looks):\n    return Middle().total(x)\n\n"
SECOND = "def second(x, factor=2 ** 3):\n    return x * factor\n\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of an analysis and what it uses, on the path."""
    folder = tmp_path / f"reach_{uuid.uuid4().hex[:8]}"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def edited(package: Path, file: str, old: str, new: str) -> str | None:
    """What has changed for the cell after an edit, by its name in the package; the edit is undone."""
    path, before = package / file, sources_of([f"{package.name}.demo:cell"])
    text = path.read_text()
    assert text.count(old) == 1, f"{file}: {old!r}"
    assert differs(before) is None
    path.write_text(text.replace(old, new))
    try:
        changed = differs(before)
    finally:
        path.write_text(text)
    assert differs(before) is None
    return None if changed is None else changed.removeprefix(f"{package.name}.")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("demo.py", "SIZE = 3", "SIZE = 4"),
        ("demo.py", "first as renamed", "second as renamed"),
        ("demo.py", "tools.second(1)", "tools.second(2)"),
        ("tools.py", "Middle().total", "-Middle().total"),
        ("tools.py", "2 ** 3", "2 ** 4"),  # a default
        ("tools.py", "weight = 1", "weight = 2"),
        ("tools.py", "helper()\n\nclass", "-helper()\n\nclass"),  # a method that syntax cannot know to be unused
        ("tools.py", "class Middle(Base)", "class Middle(Base, object)"),
        ("tools.py", '"a"', '"b"'),  # behind a decorator, through a module
        ("tools.py", "@wrapped", "@wrapped\n@wrapped"),
        ("deep.py", "return f()", "return -f()"),  # the decorator itself
        ("deep.py", "return constant()", "return -constant()"),  # a base class, three modules away
        ("deep.py", "return 4", "return -4"),
        ("deep.py", "VALUE = 6", "VALUE = -6"),
        ("registry.py", "return 7", "return -7"),  # registered by a statement that binds nothing
        ("registry.py", 'register("a", kernel)', 'register("a", ghost)'),
        ("registry.py", "TABLE[name]()", "-TABLE[name]()"),
        ("registry.py", "TABLE = {}", "TABLE = {1: 1}"),
        ("late.py", "return 9", "return -9"),  # a local import
        ("shop/__init__.py", "thing as thing", "dust as thing"),  # a re-export
        ("shop/shelf.py", "return 11", "return -11"),  # and what stands behind it
    ],
)
def test_what_a_cell_reaches_is_noticed(package: Path, file: str, old: str, new: str) -> None:
    module = file.removesuffix(".py").replace("/__init__", "").replace("/", ".")
    assert edited(package, file, old, new) == (f"{module}:cell" if module == "demo" else module)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("demo.py", '"A demo."', '"Another."'),
        ("demo.py", '"A cell."', '"Another."'),
        ("demo.py", "SIZE = 3", "SIZE = (3)  # a comment"),
        ("demo.py", "tools.drawn(table)", "None"),
        ("demo.py", "import math\n\nSIZE", "import os as math\n\nSIZE"),  # the cell has an import of its own
        ("tools.py", "A class counts whole.", "It does."),
        ("tools.py", "return 1\n\nclass", "return 2\n\nclass"),
        ("tools.py", "first(x: Looks)", "first(x: Base | None)"),
        ("tools.py", "class Looks:", "class Looks(Base):"),
        ("tools.py", "first_of_all = first", "first_of_all = second"),
        ("deep.py", "return 5", "return -5"),
        ("deep.py", "def constant():\n    return 4\n", "def more():\n    return 0\n\ndef constant():\n    return 4\n"),
        ("tools.py", FIRST + SECOND, SECOND + FIRST),
        ("registry.py", "return 8", "return -8"),
        ("late.py", "return 10", "return -10"),
        ("shop/__init__.py", "import dust", "import dust as moved"),
        ("shop/shelf.py", "return 12", "return -12"),
        ("unused_module.py", "13", "14"),
    ],
)  # fmt: skip
def test_what_a_cell_cannot_reach_is_not(package: Path, file: str, old: str, new: str) -> None:
    if "Looks" in old:  # annotations are never evaluated there
        (package / file).write_text("from __future__ import annotations\n" + (package / file).read_text())
    assert edited(package, file, old, new) is None


@pytest.mark.parametrize(
    "use",
    [
        "getattr(unused_module, 'NO' + 'ISE')",
        "str(unused_module)",
        "unused_module.anything_else",
        "__import__('importlib').import_module(f'{__package__}.unused_module')",
        "__import__(__package__ + '.unused_module')",
    ],
)
def test_a_module_used_in_any_other_way_counts_whole(package: Path, use: str) -> None:
    text = (package / "demo.py").read_text()
    (package / "demo.py").write_text(text.replace("math.pi", f"len(str({use}))"))
    assert edited(package, "unused_module.py", "13", "14") == "unused_module"


@pytest.mark.parametrize("use", ["globals()['dr' + 'awn']", "eval('drawn')", "vars()"])
def test_asking_for_any_name_of_a_module_reaches_all_of_it(package: Path, use: str) -> None:
    text = (package / "tools.py").read_text()
    (package / "tools.py").write_text(text.replace("return x * factor", f"return {use}"))
    assert edited(package, "tools.py", "return 1\n\nclass", "return 2\n\nclass") == "tools"


def test_new_and_lost_files(package: Path) -> None:
    before = sources_of([f"{package.name}.demo:cell"])
    (package / "late.py").rename(package / "later.py")
    assert differs(before) == f"{package.name}.late"
    (package / "later.py").rename(package / "late.py")
    assert differs(before) is None
    (package / "late").mkdir()  # a package of that name: the file still comes first here, as in an import
    assert differs(before) is None
    (package / "demo.py").write_text("def cell(\n")
    assert differs(before) == f"{package.name}.demo:cell", "a file that cannot be read reaches nothing"
    assert sources_of([f"{package.name}.demo:cell"]).modules == {f"{package.name}.demo:cell": GONE}


def test_data_of_sources() -> None:
    made = Sources(("a.b:cell",), {"a.b:cell": "0123"})
    assert Sources.from_data(json.loads(json.dumps(made.as_data()))) == made
    assert differs(None) is not None
    assert differs(Sources()) is None


def test_names_are_looked_up_where_python_would() -> None:
    text = (
        "import m\na = b = c = d = e = f = g = 1\n"
        "def cell(a, *, k=b):\n"
        "    c = a + k\n"
        "    def inner(x, d=d):\n"
        "        return c + d + x + m.sub.e\n"
        "    return inner(1), [f for f in g]\n"
    )
    (cell,) = Module("p", text.encode()).bindings["cell"]
    assert {(mention.root, mention.attributes) for mention in cell.mentions.names} == {
        ("b", ()), ("d", ()), ("m", ("sub", "e")), ("g", ()),
    }  # fmt: skip


def test_text_is_that_of_syntax() -> None:
    same = ["f(1,\n  2)  # why", "f(1, 2)"]
    assert len({text_of(Module("m", text.encode()).statements[0].node) for text in same}) == 1
    other = ["f(1, 2)", "f(2, 1)", "f(1, x=2)", "f(1, '2')", "f(1, -2)", "f(1.0, 2)", "f(True, 2)", "f(1, 2j)", "g()"]
    assert len({text_of(Module("m", text.encode()).statements[0].node) for text in other}) == len(other)


# --- the library itself ---


def reaching(*roots: str) -> set[str]:
    return {name.removeprefix("pfl_theory.") for name in sources_of(roots).modules}


def test_a_cell_depends_on_its_own_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"own_{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text(
        "import pfl_theory as pfl\nfrom pfl_theory import plotting\n"
        "def cell(*, seed):\n    plotting.figure()\n"
        "    return pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[1.0]], [1]))\n"
        "def plot(table):\n    return pfl.losses.Softmax(3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = reaching(f"{folder.name}.one:cell")
    assert {"losses.logistic", "losses.dispatch", "losses.margin", "problems.rows", "kernels.jit"} <= found
    assert not found & {"losses.softmax", "losses.log_cosh", "losses.least_squares", "plotting", "claims", "errors"}
    assert "pfl_theory" in found  # where Problem is looked up


def test_presentation_is_left_out() -> None:
    for name in analyses.names():
        found = reaching(f"analysis.{name}:cell")
        assert not {m.split(".")[0] for m in found} & {"plotting", "provenance", "cli", "sweeps", "analyses", "pages"}
    assert "pfl_theory.report" not in sources.PRESENTATION, "it holds mathematics"


EDITS = """
import json, sys
from pathlib import Path
from pfl_theory.sweeps.sources import differs, sources_of
package = Path(sys.argv[1])
before = {name: sources_of([reference, *more]) for name, (reference, *more) in json.loads(sys.argv[2]).items()}
answers = []
for file, old, new in json.loads(sys.argv[3]):
    path = package / file
    text = path.read_text()
    assert text.count(old) == 1, (file, old, text.count(old))
    path.write_text(text.replace(old, new))
    answers.append({name: differs(recorded) for name, recorded in before.items()})
    path.write_text(text)
print(json.dumps(answers))
"""


def test_edits_of_the_library(tmp_path: Path) -> None:
    """In a copy of it: which of three results each edit makes older."""
    shutil.copytree(ROOT / "pfl_theory", tmp_path / "pfl_theory", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    cells = {
        "convergence": ["analysis.convergence:cell", "pfl_theory.datasets.mnist"],  # a data set is loaded by name
        "distances": ["analysis.user_distances:cell", "pfl_theory.datasets.digits"],
        "statement": ["analysis.verdicts:cell", "pfl_theory.claims.lemma_4_4"],
    }
    edits = [
        ("losses/logistic.py", "return max(u, 0.0)", "return 2 * max(u, 0.0)", "convergence"),
        ("losses/softmax.py", '"""What the kernels see', '"""What kernels see', ""),
        ("distances/wasserstein.py", "import numpy as np", "import numpy as np  # a comment", ""),
        ("distances/support.py", "import numpy as np", "import scipy as np", "distances"),
        ("claims/lemma_4_2.py", "import numpy as np", "import scipy as np", ""),
        ("federations/dirichlet.py", "import numpy as np", "import scipy as np", "distances"),
        ("federations/location.py", "import numpy as np", "import scipy as np", "convergence"),
        ("datasets/mnist.py", "import gzip", "import bz2 as gzip", "convergence"),
        ("datasets/digits.py", "import hashlib", "import zlib as hashlib", "distances"),
        ("discovery.py", "def noting", "def noted", ""),
        ("plotting.py", "from __future__ import annotations", "from __future__ import annotations\nX = 1", ""),
        ("__init__.py", '"run": "algorithms"', '"run": "algorithms.runner"', "convergence distances"),
        ("kernels/vector_math.py", "def exp(", "def exp(*", "convergence distances"),
    ]  # fmt: skip
    given = (str(tmp_path / "pfl_theory"), json.dumps(cells), json.dumps([edit[:3] for edit in edits]))
    answer = subprocess.run(
        [sys.executable, "-c", EDITS, *given],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    for (file, *_, older), found in zip(edits, json.loads(answer.stdout), strict=True):
        assert {name for name, changed in found.items() if changed} == set(older.split()), file
        module = f"pfl_theory.{file.removesuffix('.py').replace('/', '.')}".replace(".__init__", "")
        assert all(changed in (None, module) for changed in found.values()), found


def test_many_lookups_read_every_file_once(monkeypatch) -> None:
    """Real ones: six hundred results with six different sets of roots are six walks, and a file is parsed once."""
    kinds = [[f"analysis.{name}:cell"] for name in ("convergence", "user_distances", "lemmas", "theorem")]
    kinds += [["analysis.verdicts:cell", f"pfl_theory.claims.{name}"] for name in ("lemma_4_2", "tv_gradient")]
    walks, result = [], sources._Search.result
    monkeypatch.setattr(sources._Search, "result", lambda self: walks.append(self.roots) or result(self))
    sources._KNOWN.clear()
    sources._parsed.cache_clear()
    recorded = [sources_of(kinds[k % len(kinds)]) for k in range(600)]
    assert all(differs(made) is None for made in recorded)
    assert len(walks) == len(set(walks)) == 6
    files = {module.partition(":")[0] for made in recorded for module in made.modules}
    assert sources._parsed.cache_info().misses <= len(files) + 12  # looked at, and nothing in them is reached


def test_a_statement_has_a_file_of_its_name() -> None:
    """So that the name says which file to load, and a verdict depends on no other."""
    for name in claims.names():
        assert {claim.name for claim in claims.forms(name)} == {name}
    assert [claim.name for claim in claims.all_claims()] == [c.name for n in claims.names() for c in claims.forms(n)]
    with discovery.noting() as noted:
        claims.get("lemma-4.3-bias")
    assert noted == {"pfl_theory.claims.lemma_4_3_bias"}


# --- every function that a cell calls is among what it can reach ---

TRACE = """
import importlib, json, pkgutil, sys, threading, types
import numba.core.registry
import pfl_theory
from pfl_theory import analyses, discovery
from pfl_theory.errors import DataMissingError
from pfl_theory.kernels import jit

drivers = []  # compiled functions answer to no profiler: they say themselves what they were used for
make = jit.kernel
def kernel(function):
    drivers.append((function, make(function)))
    return drivers[-1][1]
jit.kernel = kernel
for found in pkgutil.walk_packages(pfl_theory.__path__, "pfl_theory."):
    if found.name != "pfl_theory.cli":
        importlib.import_module(found.name)  # what runs while modules are imported does not count
folder = pfl_theory.__path__[0]
answer = []
for name, cells in json.loads(sys.argv[1]).items():
    module = analyses.get(name).module
    for cell in cells:
        called = set()
        used = {function: len(driver.overloads) for function, driver in drivers}
        def look(frame, event, argument):
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(folder) and code.co_name != "<module>":
                called.add((frame.f_globals.get("__name__", ""), code.co_firstlineno))
        with discovery.noting() as noted:
            threading.setprofile(look)
            sys.setprofile(look)
            try:
                module.cell(seed=0, **cell)
            except DataMissingError:
                pass
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
        for function, driver in drivers:
            if len(driver.overloads) > used[function]:
                called.add((function.__module__, function.__code__.co_firstlineno))
        answer.append((name, sorted(noted), sorted(called)))
print(json.dumps(answer))
"""


def cheap_cells() -> dict[str, list[dict[str, object]]]:
    """Cells of every analysis that take a second or two when cut short, one of each kind."""
    short = {"rounds": 2, "every": 1, "size": 2, "random": 2}
    statements = ("first-order-bias", "hessian-batch-norm", "lemma-4.4", "theorem-4.5-full")
    chosen = {
        "convergence": lambda c: c["data"] == "synthetic" and c["replicate"] == 0,
        "heterogeneity": lambda c: c.get("panel") != "images" and c.get("data", "") not in ("mnist", "digits"),
        "lemmas": lambda c: c["block"] == 0 and c["part"] == "random" and c["form"] == "convex",
        "theorem": lambda c: c["panel"] != "algorithm",
        "verdicts": lambda c: c["statement"] in statements,
    }
    found = {}
    for name in analyses.names():
        cells = [c for c in analyses.get(name).module.grid("quick") if chosen.get(name, lambda _: True)(c)]
        kept = cells if name in ("convergence", "lemmas", "verdicts") else cells[:: max(1, len(cells) // 3)]
        found[name] = [{k: short.get(k, v) for k, v in cell.items()} for cell in kept]
    return found


def test_every_function_that_is_called_can_be_reached() -> None:
    cells = cheap_cells()
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", TRACE, json.dumps(cells, default=str)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    traced = json.loads(done.stdout.splitlines()[-1])
    assert len(traced) == sum(map(len, cells.values()))
    seen: set[tuple[str, int]] = set()
    for name, noted, called in traced:
        search = sources._Search((f"analysis.{name}:cell", *noted))
        search.result()
        for module, line in called:
            if not module or sources._presents(module):  # no name: code that Numba writes itself
                continue
            seen.add((module, line))
            reached = [item for item in search.items.get(module, {}) if not isinstance(item, str)]
            inside = any(
                min([item.node.lineno, *(d.lineno for d in getattr(item.node, "decorator_list", []))])
                <= line
                <= (item.node.end_lineno or 0)
                for item in reached
            )
            assert inside, f"{name} calls {module}, line {line}, which it cannot reach"
    assert len(seen) > 300, f"{len(seen)} functions seen in {time.perf_counter() - begin:.0f} s"


def test_a_worker_that_computed_other_cells_records_the_same(tmp_path: Path) -> None:
    """Real ones, in both orders: packages that gather their files do so in the first cell only."""
    statements = ("first-order-bias", "hessian-batch-norm")
    tasks = [
        make_task("verdicts", "analysis.verdicts:cell", {"statement": name, "random": 2, "source": "digits"})
        for name in statements
    ]
    orders = (tasks, tasks[::-1])
    first, second = (
        {outcome.task.key: outcome.sources for outcome in run(order, store=tmp_path / str(k), workers=1)}
        for k, order in enumerate(orders)
    )
    assert first == second
    for name, task in zip(statements, tasks, strict=True):
        file = f"pfl_theory.claims.{name.replace('-', '_')}"
        assert first[task.key].roots == ("analysis.verdicts:cell", file)
        assert differs(first[task.key]) is None


def test_a_class_found_by_its_name_is_noted() -> None:
    with discovery.noting() as noted:
        assert discovery.class_named("Softmax", losses.Loss) is losses.Softmax
        assert discovery.class_named("Nothing", losses.Loss) is None
    assert noted == {"pfl_theory.losses.softmax"}
