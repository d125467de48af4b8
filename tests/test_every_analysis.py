"""Every analysis, on a grid cut short and images of its own, in a temporary folder: real cells, real figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from data_marks import marks_of

from pfl_theory import analyses, claims, plotting
from pfl_theory.claims import theorem_4_5
from pfl_theory.datasets import Dataset
from pfl_theory.errors import DataMissingError
from pfl_theory.federations import paper_split_pair

NAMES = analyses.names()


def noise_images(split, *, seed=0, n_classes=10, **more):
    rng = np.random.default_rng([seed, split == "test"])
    x = rng.integers(0, 256, (600, 64)).astype(np.uint8)
    return Dataset("stand-in", x, np.arange(600) % n_classes, n_classes, (8, 8), split=split, **more)


@pytest.fixture
def few_images(monkeypatch):
    """Stand-ins of the shape of the real images: 8 x 8 pixels of noise. They never reach a figure of the project."""
    pair = paper_split_pair(noise_images("train"), noise_images("test"), n_users=10, a_train=8, a_test=4)
    monkeypatch.setattr("pfl_theory.federations.paper_pair", lambda *_, **__: pair)
    monkeypatch.setattr("pfl_theory.claims.lemma_4_2.paper_pair", lambda *_, **__: pair)


@pytest.fixture
def few_writers(monkeypatch):
    """Thirteen writers, one of them with too few digits; classes 0 to 9 are digits, as in FEMNIST."""
    sizes = np.array([78] * 12 + [64])
    writer = np.repeat(np.arange(13), sizes)
    place = np.arange(len(writer)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # among the writer's own images

    def femnist(split="train"):
        rng = np.random.default_rng([1, split == "test"])
        x = rng.integers(0, 256, (len(writer), 64)).astype(np.uint8)
        # of each writer's images the first 65 are digits; of the last one's, 39
        y = np.where(place < np.where(writer < 12, 65, 39), place % 10, 10 + place % 52)
        names = tuple(f"writer {k}" for k in range(13))
        return Dataset("stand-in", x, y, 62, (8, 8), split=split, groups=writer, group_names=names)

    monkeypatch.setattr("pfl_theory.datasets.femnist", femnist)


@pytest.fixture
def few_cases(monkeypatch):
    """Each claim with the first of its named cases: test_every_claim judges all of them."""
    short = [dataclasses.replace(claim, cases=claim.cases[:1]) for claim in claims.all_claims()]
    monkeypatch.setattr("pfl_theory.claims.all_claims", lambda: short)


@pytest.fixture
def few_runs(monkeypatch):
    """Where the algorithm itself is run: forty times, for forty rounds."""
    whole = theorem_4_5.refuting

    def refuting(*args, runs=None, **more):
        return whole(*args, **more) if runs is None else whole(*args, **{**more, "runs": 40, "rounds": 40})

    monkeypatch.setattr(theorem_4_5, "refuting", refuting)


SHORT = {"rounds": 2, "every": 1, "size": 4, "random": 2, "steps": 4, "permutations": 3, "m": 10}


def shortened(cells):
    """Small cells of every choice in words; of those that differ in numbers, the first, the middle and the last."""
    groups = {}
    for cell in cells:
        words = tuple((k, v) for k, v in cell.items() if isinstance(v, str))
        groups.setdefault(words, []).append({k: SHORT.get(k, v) for k, v in cell.items()})
    return [group[k] for group in groups.values() for k in sorted({0, len(group) // 2, len(group) - 1})]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("few_images", "few_writers", "few_cases", "few_runs")
def test_cells_figures_tables(name, tmp_path):
    module = analyses.get(name).module
    assert len(module.grid("full")) >= 1
    rows = [{**cell, **row} for cell in shortened(module.grid("quick")) for row in module.cell(seed=0, **cell)]
    table = analyses.read_table(analyses.csv_text(rows))
    with plotting.style():
        drawn = module.plot(table)
    for part, figure in (drawn if isinstance(drawn, dict) else {name: drawn}).items():
        assert len(plotting.save_figure(figure, tmp_path, part or name)) == 2
        assert unlabelled(figure) == []
    for frame in (module.tables(table) if hasattr(module, "tables") else {}).values():
        assert len(frame)
    if hasattr(module, "verdicts"):
        assert all(
            row["outcome"]
            in ("HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE", "SKIPPED")  # where data are absent
            for row in module.verdicts(table)
        )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=marks_of(" ".join(analyses.get(name).module.DATA)))
        for name in NAMES
        if "FEMNIST" in " ".join(analyses.get(name).module.DATA)
    ],
)
def test_a_cell_on_data_without_a_substitute(name):
    module = analyses.get(name).module
    cell = shortened(module.grid("quick"))[-1]
    rows = module.cell(seed=0, **cell)
    assert len(rows) >= 1
    assert not any("stand-in" in str(row.values()) for row in rows)


WITH_CIFAR10 = [name for name in NAMES if "CIFAR-10" in " ".join(analyses.get(name).module.DATA)]


def cells_of_cifar10(module):
    """Of the full grid, short: the first three users of pairs and averages. The floor is only arithmetic on these, and
    takes minutes.
    """
    cells = [c for c in module.grid("full") if "cifar10" in c.values() and c.get("part") != "floor"]
    less = {
        "part": {"first": 0, "last": 3},
        "steps": {"steps": 1},
        "runs": {"rounds": 2, "runs": 2, "level": "1.0"},
        "protocol": {"rounds": 2},
    }
    if name := next((name for name in ("method", "models") if name in cells[0]), ""):  # trainings: one of each
        cells = [next(c for c in cells if c[name] == value) for value in dict.fromkeys(c[name] for c in cells)]
    trained = {"rounds": 1}
    short = [
        {**cell, **next((few for name, few in less.items() if name in cell), trained)} for cell in shortened(cells)
    ]
    return [cell for k, cell in enumerate(short) if cell not in short[:k]]


@pytest.mark.parametrize("name", WITH_CIFAR10)
def test_quick_figures_need_no_cifar10(name):
    module = analyses.get(name).module
    assert not [cell for cell in module.grid("quick") if "cifar10" in cell.values()]
    with pytest.raises(DataMissingError, match=r"\.bin is absent"):
        module.cell(seed=0, **cells_of_cifar10(module)[0])


@pytest.mark.slow
@pytest.mark.data("cifar10")
@pytest.mark.parametrize("name", WITH_CIFAR10)
def test_cells_of_cifar10(name):
    module = analyses.get(name).module
    rows = [{**cell, **row} for cell in cells_of_cifar10(module) for row in module.cell(seed=0, **cell)]
    if name == "user_distances":
        assert {row["federation"] for row in rows} == {"CIFAR-10, paper split n=50 a=68"}
        assert [row["status"] for row in rows if row["kind"] == "gamma"] == ["finished"]
        between = [row for row in rows if row["kind"] in ("pair", "average")]
        assert len(between) == 2 * (3 + 3)
        for row in between:
            assert 5 < row["lower"] <= row["upper"] <= row["lower"] * (1 + 1e-9)
    elif name == "bounds":
        (row,) = [row for row in rows if row["kind"] == "chain"]
        assert 1 < row["along_gamma_G"] <= row["proved_known_gamma_G"] <= row["proved_tv_gamma_G"]
        assert row["measured_lower"] <= row["bound"]
    elif "protocol" in rows[0]:
        assert {row["method"] for row in rows} >= {"FedAvg", "first-order", "hessian-free"}
        for row in rows:
            assert row["status"] == "finished"
            assert 0 < row["tr40_end"] < 100
            assert row["setting"].startswith("CIFAR-10")
    elif name == "fedfomo":
        clients = [row for row in rows if row["kind"] == "client"]
        assert {row["shown"] for row in clients} == set(module.METHODS)
        assert {row["client"] for row in clients} == set(range(15))
        assert all(row["status"] == "finished" and 0 <= row["accuracy"] <= 100 for row in clients)
    elif name == "fedfomo_affinity":
        assert len(rows) == len(module.MODELS) * 15 * 14 // 2
        assert all(row["status"] == "finished" and row["w1"] > 0 for row in rows)
        near, far = ([row["w1"] for row in rows if (row["of_i"] == row["of_j"]) == same] for same in (True, False))
        assert np.mean(near) < np.mean(far)
    else:
        apart = [row for row in rows if row["knob"] > 0]
        assert len(apart) == 2
        for row in apart:
            assert 1 < row["gamma"] <= row["w1_bound"]
            assert row["gamma"] <= row["tv_sharp"] <= row["tv_paper"] * (1 + 1e-9)


def unlabelled(figure):
    """Lowest panels that do not say what their horizontal axis shows: neither a label, nor words at its ticks, nor a
    label common to the figure.
    """
    figure.canvas.draw()  # ticks get their words when drawn
    return [
        ax
        for ax in figure.axes
        if ax.get_subplotspec() is not None
        and ax.get_subplotspec().is_last_row()
        and ax.get_xaxis().get_visible()
        and ax.axison
        and not (ax.get_xlabel() or figure.get_supxlabel() or any(words(t) for t in ax.get_xticklabels()))
    ]


def words(tick):
    return any(character.isalpha() for character in tick.get_text().replace("mathdefault", ""))


def test_a_panel_without_a_label_is_noticed():
    figure, ax = plotting.figure()
    ax.plot([1.0, 2.0], [1.0, 2.0])
    assert unlabelled(figure) == [ax]
    ax.set_xlabel("rounds (no unit)")
    assert unlabelled(figure) == []


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
