"""Work in epochs: passes over each user's shuffled rows."""

from __future__ import annotations

import numpy as np
import pytest
from reference import draws

import pfl_theory as pfl
from pfl_theory import Federation, Problem
from pfl_theory.errors import InputError
from pfl_theory.losses import LeastSquares, LogCosh


def test_epochs_go_through_every_row_once():
    """Linear losses l = -<w, x>: a pass moves w by beta times the mean of the batches' mean rows, in any order."""
    rng = np.random.default_rng(0)
    sizes = [7, 10, 3]
    fed = Federation.from_arrays([rng.normal(size=(m, 4)) for m in sizes], [np.zeros(m) for m in sizes])
    problem = Problem(LogCosh("regression"), fed)
    w = pfl.run(pfl.FedAvg(beta=1e-9, batch=1, local_epochs=2), problem, rounds=1).w
    passes = [2 * 1e-9 * -m * problem.gradient(np.zeros(4))[i] for i, m in enumerate(sizes)]  # m steps of one row each
    assert w == pytest.approx(np.mean(passes, axis=0), rel=1e-6)


def test_epochs_are_the_same_steps_by_hand():
    """Batches of four of ten rows: sizes 4, 4, 2, each row once an epoch, in an order that has a name."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=10)
    problem = Problem(LeastSquares(), Federation.from_arrays([x], [y]))
    found = {}
    for seed in (0, 1):
        w = pfl.run(pfl.FedAvg(beta=0.1, batch=4, local_epochs=3), problem, rounds=1, seed=seed).w
        assert np.array_equal(w, pfl.run(pfl.FedAvg(beta=0.1, batch=4, local_epochs=3), problem, rounds=1, seed=seed).w)
        found[seed] = w
        key, by_hand = draws.key_of(seed, "epochs"), np.zeros(3)
        order = np.arange(10)
        for epoch in range(3):
            for j in range(9):
                high, low, _, _ = draws.philox((0, 0, epoch, j), key)
                other = j + min(int(draws.uniform(high, low) * (10 - j)), 9 - j)
                order[[j, other]] = order[[other, j]]
            for begin in (0, 4, 8):
                rows = order[begin : begin + 4]
                by_hand = by_hand - 0.1 * (x[rows] @ by_hand - y[rows]) @ x[rows] / len(rows)
        assert w == pytest.approx(by_hand, rel=1e-12)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"local_epochs": 0, "batch": 2}, "local_epochs = 0; must be an integer >= 1"),
        ({"local_epochs": 2}, "local_epochs = 2 needs batch="),
        ({"local_epochs": 2, "batch": 2, "local_steps": 3}, "local_steps = 3 beside local_epochs = 2; give only one"),
    ],
)
def test_epochs_bad_input(given, message):
    with pytest.raises(InputError, match=message):
        pfl.FedAvg(beta=0.1, **given)


def test_epochs_need_rows_and_no_trace():
    functions = Problem.from_functions(lambda w: w[:, 0] ** 2, lambda w: 2 * w, n_users=2, dim=1)
    with pytest.raises(InputError, match="functions have no rows"):
        pfl.run(pfl.FedAvg(beta=0.1, batch=2, local_epochs=1), functions, rounds=1)
    rows = Problem(LeastSquares(), Federation.from_arrays([np.eye(3)] * 2, [np.ones(3)] * 2))
    with pytest.raises(InputError, match="no average at a step"):
        pfl.run(pfl.FedAvg(beta=0.1, batch=2, local_epochs=1), rows, rounds=1, record="local_gradient")
