"""Shared by all tests, those in docstrings too: which data sets a test sees, and the count of what was skipped.

A test that needs a data set is marked ``data("mnist")``: where the set is absent it skips, and says what to put where.
One that takes the smaller set of a dependency instead is marked ``prefers("mnist")``. Any other test sees no data set,
on any machine: a mark that is missing is noticed everywhere, not only where the data are absent.

``--skips-to=FILE`` writes what a run without data skipped; ``--skips-from=FILE`` runs these tests and the marked ones
with the data, and fails where the two do not match.
"""

from __future__ import annotations

import json
import os
import re

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # tests share the cores: one thread each, for BLAS (before NumPy is loaded) and for the kernels
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "PFL_THEORY_THREADS"):
        os.environ.setdefault(_name, "1")

from pathlib import Path

import numpy as np
import pytest

from pfl_theory.datasets import cifar10_available, femnist_available, mnist_available, shakespeare_available

SETS = {  # name -> is it here, what to do where it is not
    "mnist": (mnist_available, "needs MNIST: put the four files into $PFL_THEORY_DATA/mnist"),
    "cifar10": (cifar10_available, "needs CIFAR-10: put the six .bin files into $PFL_THEORY_DATA/cifar-10-batches-bin"),
    "femnist": (femnist_available, "needs FEMNIST: put femnist_105writers.npz into $PFL_THEORY_DATA/femnist"),
    "shakespeare": (shakespeare_available, "needs tiny Shakespeare: put input.txt into $PFL_THEORY_DATA/shakespeare"),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20200217)


def names_of(item: pytest.Item, marker: str) -> list[str]:
    """Data sets that an item is marked with."""
    return [name for mark in item.iter_markers(marker) for name in mark.args]


@pytest.fixture(autouse=True)
def _no_data_unless_marked(request, tmp_path_factory):
    item = request.node
    if names_of(item, "data") or names_of(item, "prefers") or request.config.getoption("skips_from"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PFL_THEORY_DATA", raising=False)
        patch.setenv("PFL_THEORY_CACHE", str(tmp_path_factory.getbasetemp() / "no-data"))
        yield


# --- what is skipped for want of data ---


def pytest_addoption(parser):
    group = parser.getgroup("data sets")
    group.addoption("--skips-to", metavar="FILE", help="write what was skipped, for --skips-from")
    group.addoption(
        "--skips-from", metavar="FILE", help="run what depends on data and what that file names; fail unless they match"
    )


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # with xdist: the process that hears of all tests
        config.pluginmanager.register(Skips(config.getoption("skips_to"), config.getoption("skips_from")), "skips")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config, items):
    for item in items:
        for example in getattr(getattr(item, "dtest", None), "examples", ()):  # in a docstring: guarded by hand
            for name in re.findall(r"(\w+)_available\(\)(?: or|:)", example.source):
                item.add_marker(pytest.mark.data(name))
        for name in names_of(item, "data") + names_of(item, "prefers"):
            if name not in SETS:
                raise pytest.UsageError(f"{item.nodeid} is marked with the data set {name!r}; known: {', '.join(SETS)}")
        for name in names_of(item, "data"):
            here, what = SETS[name]
            if not here():
                item.add_marker(pytest.mark.skip(reason=what))
        item.user_properties.append(("data", names_of(item, "data")))
    before = config.getoption("skips_from")
    if before:
        wanted = set(json.loads(Path(before).read_text()))

        def chosen(item):
            return item.nodeid in wanted or bool(names_of(item, "data") or names_of(item, "prefers"))

        config.hook.pytest_deselected(items=[item for item in items if not chosen(item)])
        items[:] = [item for item in items if chosen(item)]


class Skips:
    """Hears of every test: which were skipped, and which of those that ran are marked with ``data``."""

    def __init__(self, write_to: str | None, compare_with: str | None) -> None:
        self.write_to, self.compare_with = write_to, compare_with
        self.skipped: set[str] = set()
        self.marked: set[str] = set()
        self.ran: set[str] = set()
        self.mismatches: list[str] = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.add(report.nodeid)
        self.ran.add(report.nodeid)
        if dict(report.user_properties).get("data"):
            self.marked.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        if self.write_to:
            Path(self.write_to).write_text(json.dumps(sorted(self.skipped), indent=1))
        if self.compare_with:
            self.mismatches = mismatches(
                set(json.loads(Path(self.compare_with).read_text())), self.ran, self.skipped, self.marked
            )
            if self.mismatches and session.exitstatus == 0:
                session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        for line in self.mismatches:
            terminalreporter.write_line(f"error: {line}", red=True)


def mismatches(first: set[str], ran: set[str], skipped: set[str], marked: set[str]) -> list[str]:
    """What the skips of a run without data have against the marks: a line a kind, naming the tests.

    Parameters
    ----------
    first : set of str
        Skipped in the run without data.
    ran, skipped, marked : sets of str
        Of the run with data: its tests, those it skipped, those marked ``data``.

    Examples
    --------
    >>> mismatches({"a", "b"}, {"a", "b"}, {"b"}, {"a"})
    []
    >>> mismatches({"a"}, {"a", "b"}, set(), {"b"})
    ['skipped without data but not marked data(name): a', 'marked data(name) but not skipped without data: b']
    """
    kinds = {
        "skipped without data but not marked data(name)": (first & ran) - skipped - marked,
        "marked data(name) but not skipped without data": marked - first,
        "skipped without data and gone since": first - ran,
    }
    return [f"{kind}: {', '.join(sorted(tests))}" for kind, tests in kinds.items() if tests]
