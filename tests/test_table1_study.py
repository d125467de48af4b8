"""The study of what Table 1 leaves open: choosing, judging and counting, on tables whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import _networks, protocol, table1
from pfl_theory.errors import InputError


def line(name, row, method, accuracy, *, replicate=0, **more):
    """A training whose every way to score gives `accuracy`, unless said otherwise."""
    ways = {f"{way}_{when}": accuracy for way in _networks.WAYS for when in _networks.WHEN}
    facts = {"kind": "accuracy", "protocol": name, "row": row, "method": method, "replicate": replicate}
    return {**facts, "source": _networks.ROWS[row].source, "setting": _networks.ROWS[row].label, **ways, **more}


def study(off, rows=range(6)):
    """Protocols at a known distance from the transcribed numbers, row by row: {name: {row: (FedAvg, FO, HF) off}}."""
    lines = []
    for name, by_row in off.items():
        for row in rows:
            a, b, c = (p + o for p, o in zip(_networks.ROWS[row].printed, by_row.get(row, (0, 0, 0)), strict=True))
            lines += [line(name, row, "FedAvg", a), line(name, row, "FedAvg 0.01", a + 20)]
            lines += [line(name, row, "first-order", b), line(name, row, "hessian-free", c)]
    return pd.DataFrame(lines)


def test_the_rows_are_those_of_the_statement():
    assert [row.printed for row in _networks.ROWS] == [
        (60.18, 64.55, 70.94),
        (75.96, 78.00, 79.85),
        (38.38, 34.04, 43.73),
        (35.97, 25.32, 46.32),
        (58.59, 37.71, 71.25),
        (40.49, 46.98, 50.44),
    ]
    assert [(row.tau, row.alpha) for row in _networks.ROWS] == [
        (4, 0.01), (10, 0.01), (4, 0.001), (4, 0.01), (4, 0.01), (10, 0.001),
    ]  # fmt: skip


def test_the_choice_sees_only_the_rows_it_is_made_on():
    """`a` is perfect where nobody looks and 7 points off on row 2; `b` is 3 off everywhere it is chosen, 30 beyond."""
    table = study(
        {"a|x": {2: (0, 7, 0)}, "b|x": {row: (-3, 0, 0) if row in (0, 2, 4) else (30, 0, 0) for row in range(6)}}
    )
    order = protocol.ranked(table)
    assert order.loc[0, "protocol"] == "b|x"
    assert order.loc[0, "chosen on"] == pytest.approx(3)
    assert order.loc[0, "held out"] == pytest.approx(30)
    found = protocol.best(table)
    assert found["seen by the choice"].tolist() == [True, False, True, False, True, False]
    assert (found["choices tried"] == 2 * len(_networks.WAYS) * 2 * 2).all()
    assert found["FedAvg"].to_list()[1] == pytest.approx(_networks.ROWS[1].printed[0] + 30)


def test_rows_that_exclude_each_other_are_found():
    table = study({"a|x": {0: (0, 0, 9)}, "b|x": {2: (0, 8, 0)}}, rows=(0, 2))
    (at,) = protocol.contradictions(table).to_dict("records")
    assert (at["row"], at["other row"], at["protocol"]) == (0, 2, "b|x")
    assert at["smallest largest distance"] == pytest.approx(8)


def test_conclusions_count_protocols_that_learn():
    low = {row: tuple(-p + 12 for p in _networks.ROWS[row].printed) for row in range(6)}
    table = study({"a|x": {}, "b|x": low})
    found = protocol.conclusions(table).set_index("row")
    assert (found["protocols that learn"] == 1).all()
    assert (found["of"] == 2).all()
    assert found["HF above FO above FedAvg"].to_list() == [1, 1, 0, 0, 0, 1]
    assert found["FO at least 5 points below FedAvg"].to_list() == [0, 0, 0, 1, 1, 0]


def test_the_earlier_sweep_is_confirmed_within_the_spread_of_seeds():
    name, swept = next(iter(protocol.SWEEP.items()))
    lines = [
        line(name, 0, method, value + shift, replicate=k)
        for method, value, off in zip(_networks.PRINTED_METHODS, swept, (0, 1.9, 2.1), strict=True)
        for k, shift in enumerate((off - 1, off, off + 1))
    ]
    assert protocol.confirmed(pd.DataFrame(lines))["within the spread"].to_list() == [True, True, False]


def test_intervals_are_students():
    values = np.array([60.0, 62.0, 64.0])
    lines = [
        line("p", 0, "FedAvg", v, replicate=k, status="finished", tr40_five=v, tr40_rest=v)
        for k, v in enumerate(values)
    ]
    (at,) = table1.summary(pd.DataFrame(lines)).to_dict("records")
    assert at["accuracy"] == pytest.approx(62)
    assert at["interval"] == pytest.approx(4.302652729911275 * 2 / np.sqrt(3))
    assert at["difference"] == pytest.approx(62 - 60.18)


def test_names_of_protocols():
    made = _networks.protocol("sq-elu|elu0.1|n0.2/w|x2")
    assert (made.loss.objective, made.loss.output, made.loss.elu, made.loss.factor) == ("squared", "elu", 0.1, 1.0)
    assert (made.weights, made.biases, made.scale) == ("gaussian", "weights", 0.2)
    for name in (*protocol.SWEEP, *protocol.REFINED, *protocol.JUDGED, *table1.PROTOCOLS.values()):
        _networks.protocol(name)
    assert set(protocol.JUDGED) <= set(protocol.REFINED)
    with pytest.raises((KeyError, ValueError, InputError)):
        _networks.protocol("sq-tanh|elu1|he/0|x1")


def test_grids_hold_no_training_twice():
    for module in (table1, protocol):
        for scale in ("quick", "full"):
            cells = [tuple(sorted(cell.items())) for cell in module.grid(scale)]
            assert len(set(cells)) == len(cells)
    full = table1.grid("full")
    assert len({cell["replicate"] for cell in full}) >= 5
    assert {cell["rounds"] for cell in full} == {1000}
