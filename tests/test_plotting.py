"""Figures: the same input gives the same bytes, whatever the user's own settings; series differ in more than colour."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pfl_theory import plotting
from pfl_theory.errors import InputError, OutputError

mpl = pytest.importorskip("matplotlib")


def draw() -> object:
    with plotting.style():
        fig, ax = plotting.figure()
        x = np.arange(30.0)
        for k, name in enumerate(("FedAvg", "exact")):
            plotting.band(ax, x, x * k - 1, x * k, x * k + 1, name, name)
        ax.bar([1, 2], [3, 4], **plotting.bar_style(2))
        ax.set_xlabel(r"round $k$")
        ax.legend()
    return fig


def test_same_figure_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    first = plotting.save_figure(draw(), tmp_path / "a", "figure")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 5, "pdf.fonttype": 3, "savefig.dpi": 50}):
        second = plotting.save_figure(draw(), tmp_path / "b", "figure")
    assert [path.name for path in first] == ["figure.pdf", "figure.png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"/Type3" not in first[0].read_bytes()
    assert b"CreationDate" not in first[0].read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["figure.pdf", "figure.png"]


def test_style_is_put_back() -> None:
    before = dict(mpl.rcParams)
    with plotting.style():
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert dict(mpl.rcParams) == before


def test_series_differ_without_colour() -> None:
    looks = [plotting.series_style(k) for k in range(len(plotting.COLORS))]
    for one, other in itertools.combinations(looks, 2):
        assert one["color"] != other["color"]
        assert one["marker"] != other["marker"]
    bars = [plotting.bar_style(k)["hatch"] for k in range(len(plotting.COLORS))]
    assert len(set(bars)) == len(bars)


def test_names_are_checked() -> None:
    with pytest.raises(InputError, match="FedAvg"):
        plotting.series_style("fedavg")
    with pytest.raises(InputError, match="column"):
        plotting.figure(width="slide")


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        plotting.save_figure(draw(), tmp_path / "file", "figure")
