"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pfl_theory as pfl

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "pfl_theory").rglob("*.py"))


def test_importing_the_package_is_light():
    heavy = ("numba", "ot", "pandas", "scipy.stats", "matplotlib", "scipy", "numpy")
    code = f"import sys, pfl_theory; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert found.strip() == "[]"


def test_public_names_resolve():
    for name in pfl.__all__:
        assert getattr(pfl, name) is not None
    assert dir(pfl) == sorted(pfl.__all__)
    with pytest.raises(AttributeError, match="it has"):
        pfl.nothing


def test_version_is_one():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{pfl.__version__}"' in text
    assert f"version: {pfl.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{pfl.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_readme_example_prints_what_it_says():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})
    promised = re.findall(r"^# ((?:apart|VIOLATED|HOLDS).*)$", block, re.MULTILINE)
    assert len(promised) == 2
    for line in promised:
        assert line in printed.getvalue()


def test_how_to_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/your-own-users.md").read_text(encoding="utf-8")
    block = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "your-own-users.md", "exec"), {})
    promised = re.findall(r"^print\(.*\n# (.*)$", block, re.MULTILINE)
    assert len(promised) == 11
    assert (tmp_path / "terms.png").read_bytes()[1:4] == b"PNG"
    assert [line for line in printed.getvalue().splitlines() if not line.startswith("widest")] == promised


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/theory/README.md", "docs/your-own-users.md"]
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_architecture_names_every_room():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path in [
        p for p in (ROOT / "pfl_theory").iterdir() if p.name not in ("__init__.py", "py.typed", "__pycache__")
    ]:
        assert f"`{path.name}" in text or f"{path.name}/" in text, (
            f"docs/architecture.md does not say what {path.name} is"
        )


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_prints_no_global_random_numbers(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print", f"line {node.lineno}"
            if called.startswith("np.random."):
                assert called.split(".")[2] in ("default_rng", "SeedSequence", "Generator", "Philox"), (
                    f"line {node.lineno}: {called}"
                )


def test_public_functions_have_docstrings():
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), source
        for node in tree.body:
            # kernels registered under an operation's name are documented where the operation is
            operations = {"value", "gradient", "hvp", "hessian", "correct", "phi", "dphi", "d2phi", "penalty"}
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith(("_", "add_penalty"))
                and node.name not in operations
            ):
                assert ast.get_docstring(node), f"{source.name}: {node.name}"


def test_every_page_of_errors_is_one_line():
    with pytest.raises(pfl.InputError) as error:
        pfl.PerFedAvg(alpha=-1.0, beta=0.1)
    assert "\n" not in str(error.value)
