"""Every analysis, on a grid cut short and images of its own, in a temporary folder: real cells, real figures."""

from __future__ import annotations

import numpy as np
import pytest

from pfl_theory import analyses, plotting
from pfl_theory.datasets import Dataset
from pfl_theory.federations import paper_split_pair

NAMES = analyses.names()


@pytest.fixture
def few_images(monkeypatch):
    """A stand-in of the shape of the real images: 8 x 8 pixels of noise. It never reaches a figure of the project."""
    rng = np.random.default_rng(0)

    def images(split):
        return Dataset(
            "stand-in", rng.integers(0, 256, (600, 64)).astype(np.uint8), np.arange(600) % 10, 10, (8, 8), split=split
        )

    pair = paper_split_pair(images("train"), images("test"), n_users=10, a_train=8, a_test=4)
    monkeypatch.setattr("pfl_theory.federations.handwritten_pair", lambda *_, **__: pair)
    monkeypatch.setattr("pfl_theory.claims.lemma_4_2.handwritten_pair", lambda *_, **__: pair)


def shortened(cells):
    """One cell of every choice but replicates, with few rounds."""
    kept = {}
    for cell in cells:
        key = tuple((k, v) for k, v in cell.items() if k not in ("replicate", "block"))
        short = {"rounds": 2, "every": 1, "size": 4, "random": 2}
        kept.setdefault(key, {k: short.get(k, v) for k, v in cell.items()})
    return list(kept.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("few_images")
def test_cells_figures_tables(name, tmp_path):
    module = analyses.get(name).module
    assert len(module.grid("full")) >= 1
    rows = [{**cell, **row} for cell in shortened(module.grid("quick")) for row in module.cell(seed=0, **cell)]
    table = analyses.read_table(analyses.csv_text(rows))
    with plotting.style():
        drawn = module.plot(table)
    for part, figure in (drawn if isinstance(drawn, dict) else {name: drawn}).items():
        assert len(plotting.save_figure(figure, tmp_path, part or name)) == 2
        for ax in figure.axes:
            assert (
                ax.get_xlabel()
                or ax.get_subplotspec() is None
                or not ax.get_subplotspec().is_last_row()
                or ax.get_xticklabels()
            )
    for frame in (module.tables(table) if hasattr(module, "tables") else {}).values():
        assert len(frame)
    if hasattr(module, "verdicts"):
        assert all(
            row["outcome"] in ("HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE") for row in module.verdicts(table)
        )


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name):
    module = analyses.get(name).module
    assert module.__doc__
    assert module.TITLE
    assert module.DATA
    assert isinstance(module.CHOICES, dict)
    for scale in ("quick", "full"):
        cells = module.grid(scale)
        assert len({str(sorted(c.items())) for c in cells}) == len(cells)
