"""FedFomo, Reptile and personalised FedAvg: against slow references, apart from what public codes do instead, and the
numbers of docs/theory/relatives.md by routes of their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from reference import fedfomo as slow
from reference.losses import LeastSquares, users_of

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.algorithms import fedfomo as fomo
from pfl_theory.algorithms.server import Server, first_state, mean_difference, stepped
from pfl_theory.claims import fedavg_bridge
from pfl_theory.errors import InputError
from pfl_theory.judging.on_candidates import all_weighed, squared_radius
from pfl_theory.judging.on_models import known_users
from pfl_theory.rigour.balls import Ball

# --- FedFomo against the reference ---

N, D = 5, 3


def regression(seed: int = 0, n: int = N, noise: float = 0.7) -> pfl.Problem:
    """Users of two kinds, 20 to 24 rows each."""
    rng = np.random.default_rng(seed)
    truth = [np.array([1.0, -1.0, 0.5]), np.array([-1.0, 0.3, 2.0])]
    x = [rng.normal(size=(20 + i % 5, D)) for i in range(n)]
    y = [rows @ truth[i % 2] + noise * rng.normal(size=len(rows)) for i, rows in enumerate(x)]
    return pfl.Problem(pfl.losses.LeastSquares(), pfl.Federation.from_arrays(x, y))


def noisy() -> pfl.Problem:
    """Local training soon makes a validation loss worse: somebody is helped by nobody."""
    return regression(noise=1.5)


SETTING = {"beta": 0.3, "steps": 4, "rounds": 9}


def library(problem, algorithm, rounds, w0, seed=0):
    """Models after every round, and the last affinities."""
    prepared = algorithm.prepare(problem)
    state, history = algorithm.init(prepared, w0), []
    for k in range(rounds):
        state = algorithm.round(prepared, state, seed=seed, round_=k).state
        history.append(state.w_users)
    return np.array(history), state.affinity


def reference(problem, algorithm, w0, *, participants=N, wrong=None):
    splits = algorithm.prepare(problem)
    parts = [[(i, *rows) for i, rows in enumerate(users_of(p.federation))] for p in (splits.train, splits.validation)]
    everything = [(i, *rows) for i, rows in enumerate(users_of(problem.federation))]
    return slow.fedfomo(
        LeastSquares(problem.loss), *parts, w0, **SETTING, participants=participants, wrong=wrong, everything=everything
    )


def made(**more):
    return pfl.FedFomo(**{"beta": 0.3, "local_steps": 4, "models": N, "epsilon": 0.0} | more)


@pytest.mark.parametrize("participants", [N, 2])
def test_fedfomo_is_the_reference(participants):
    problem, w0 = noisy(), np.full(D, 0.1)
    algorithm = made(participation=participants)
    found, affinity = library(problem, algorithm, SETTING["rounds"], w0)
    meant, expected = reference(problem, algorithm, w0, participants=participants)
    assert found == pytest.approx(meant, rel=1e-12, abs=1e-13)
    assert affinity == pytest.approx(expected, rel=1e-11, abs=1e-12)
    assert (np.diff(np.linalg.norm(found[:, 0] - found[:, 1], axis=1)) > -1e-9).any()  # kinds part


# everybody is downloaded, so affinities change no model; an initial model is seldom better than what came of it
IN_AFFINITIES = ("affinity clipped", "affinity divided", "initial models")


def test_every_wrong_code_is_told_apart():
    """From the algorithm and from each other: by models; those that leave models alone here, by affinities."""
    problem, w0 = noisy(), np.full(D, 0.1)
    found = {None: library(problem, made(participation=3), SETTING["rounds"], w0)}
    for wrong in slow.WRONG:
        found[wrong] = reference(problem, made(participation=3), w0, participants=3, wrong=wrong)
    for (a, one), (b, other) in itertools.combinations(found.items(), 2):
        by = 1 if {a, b} <= {None, *IN_AFFINITIES} else 0
        assert not np.allclose(one[by], other[by], rtol=1e-4, atol=1e-4), (a, b)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"norm": "l1"}, "l1"),
        ({"norm": "squared l2"}, "squared l2"),
        ({"eps": 0.05}, "eps"),
        ({"unhelped": "trained"}, "trained kept"),
        ({"affinity": "clipped"}, "affinity clipped"),
        ({"affinity": "divided"}, "affinity divided"),
    ],
)
def test_options_are_what_public_codes_do(options, wrong):
    """Where the text is not certain, the named option is that code, round by round."""
    problem, w0 = noisy(), np.full(D, 0.1)
    algorithm = made(**options)
    found, affinity = library(problem, algorithm, SETTING["rounds"], w0)
    meant, expected = reference(problem, algorithm, w0, wrong=wrong)
    assert found == pytest.approx(meant, rel=1e-11, abs=1e-12)
    assert affinity == pytest.approx(expected, rel=1e-10, abs=1e-11)


def test_somebody_is_not_helped_in_the_comparison():
    """Else the two ways to go on are not told apart."""
    run = pfl.run(made(participation=3), noisy(), rounds=9, w0=np.full(D, 0.1), record="loss")
    weights = run.records["weights"][1:-1]
    helped = weights.sum(2)
    assert ((helped == 0) | np.isclose(helped, 1)).all()
    assert (helped == 0).any()
    kept = pfl.run(made(participation=3, unhelped="trained"), noisy(), rounds=9, w0=np.full(D, 0.1))
    assert not np.allclose(kept.w_users, run.w_users, atol=1e-4)


def test_first_round_is_local_training():
    problem = regression()
    algorithm = made()
    alone = pfl.run(pfl.LocalTraining(beta=0.3, local_steps=4), algorithm.prepare(problem).train, rounds=1)
    assert np.array_equal(pfl.run(algorithm, problem, rounds=1).w_users, alone.w_users)


# --- downloads ---


def test_the_best_affinities_are_downloaded():
    row, rng = np.array([0.3, -1.0, 2.0, 0.5]), np.random.default_rng(0)
    assert fomo.select(row, 2, 0.0, rng).tolist() == [2, 3]
    assert sorted(fomo.select(row, 9, 0.0, rng).tolist()) == [0, 1, 2, 3]


def test_ties_are_broken_at_random_and_exploration_is_its_share():
    rng = np.random.default_rng(1)
    first = [int(fomo.select(np.zeros(4), 1, 0.0, rng)[0]) for _ in range(400)]
    assert np.bincount(first, minlength=4).min() > 60
    row = np.array([5.0, 0.0, 0.0, 0.0])
    share = np.mean([fomo.select(row, 1, 0.4, rng)[0] == 0 for _ in range(4000)])
    assert share == pytest.approx(0.6 + 0.4 / 4, abs=0.03)
    chosen = fomo.select(np.arange(6.0), 4, 1.0, rng)
    assert len(set(chosen.tolist())) == 4


@pytest.fixture
def downloads(monkeypatch):
    """Affinities before each round, and whom each user weighed in it."""
    asked = {}
    whole = fomo.update_affinity

    def noted(affinity, user, ids, *more):
        asked[user] = ids.tolist()
        return whole(affinity, user, ids, *more)

    monkeypatch.setattr(fomo, "update_affinity", noted)

    def found(algorithm, problem, rounds, seed=0):
        prepared = algorithm.prepare(problem)
        state, told = algorithm.init(prepared, np.zeros(D)), []
        for k in range(rounds):
            asked.clear()
            after = algorithm.round(prepared, state, seed=seed, round_=k)
            told.append((state.affinity, dict(asked)))
            state = after.state
        return told

    return found


def are_best(affinity, user, chosen):
    """Ties are broken at random."""
    others = set(chosen) - {user}
    left = set(range(len(affinity))) - {user} - others
    return min(affinity[user, j] for j in others) >= max(affinity[user, j] for j in left)


def test_a_run_downloads_by_affinity(downloads):
    told = downloads(made(models=3), regression(), 6)
    for affinity, chosen in told[1:]:
        for i in range(N):
            assert len(chosen[i]) == len(set(chosen[i])) == 3
            assert i in chosen[i]
            assert are_best(affinity, i, chosen[i])


def test_exploration_falls_and_its_coins_differ_from_round_to_round(downloads):
    problem = regression(n=8)
    explored = downloads(made(models=3, epsilon=1.0, epsilon_drop=0.0), problem, 6)
    assert len({tuple(sorted(chosen[0])) for _, chosen in explored[1:]}) > 2  # the same coins would give one set
    assert not all(are_best(affinity, 0, chosen[0]) for affinity, chosen in explored[1:])
    late = downloads(made(models=3, epsilon=1.0, epsilon_drop=0.5), problem, 6)
    assert all(are_best(affinity, 0, chosen[0]) for affinity, chosen in late[2:])  # 1 - 0.5 k = 0 from round 2 on


def test_affinities_start_as_asked():
    for start, expected in (("own", 0.1 * np.eye(N)), ("equal", np.zeros((N, N)))):
        algorithm = made(affinity_start=start)
        assert np.array_equal(algorithm.init(algorithm.prepare(regression()), np.zeros(D)).affinity, expected)


def test_divided_affinities_do_not_divide_by_zero():
    after = fomo.update_affinity(np.zeros((2, 2)), 0, np.array([0, 1]), np.array([-1.0, 1.0]), "divided")
    assert np.array_equal(after, np.zeros((2, 2)))


# --- the validation split ---


def test_the_split_is_fixed_by_its_seed_and_disjoint():
    problem = regression()
    one, two, other = (made(split_seed=s).prepare(problem) for s in (0, 0, 1))
    assert np.array_equal(one.validation.federation.x, two.validation.federation.x)
    assert not np.array_equal(one.validation.federation.x, other.validation.federation.x)
    for i in range(N):
        train, held, whole = (p.federation[i].points for p in (one.train, one.validation, problem))
        assert len(held) == round(0.2 * len(whole))
        rows = {tuple(v) for v in np.vstack([train, held])}
        assert rows == {tuple(v) for v in whole}
        assert len(train) + len(held) == len(whole)


def test_weights_of_rows_stay_probabilities_and_pixels_stay_pixels():
    x = [np.arange(12, dtype=np.uint8).reshape(6, 2)] * 2
    fed = pfl.Federation.from_arrays(x, sample_weight=[np.arange(1, 7) / 21] * 2)
    splits = made(models=2).prepare(pfl.Problem(pfl.losses.Quadratic(), fed))
    for part in splits:
        assert part.federation.x.dtype == np.uint8
        for i in range(2):
            assert part.federation[i].weights.sum() == pytest.approx(1, abs=1e-15)


def test_targets_other_than_the_users_own():
    """A user that weighs models on the data of the other kind ends with the models of the other kind."""
    problem = regression(n=4)
    order = [1, 0, 3, 2]
    swapped = pfl.Problem(problem.loss, problem.federation.select(order))
    algorithm = made(models=4).towards(swapped)
    run = pfl.run(algorithm, problem, rounds=3, record="loss")
    weights = run.records["weights"][2]
    assert weights[0, [1, 3]].sum() > 0.9
    own = pfl.run(made(models=4), problem, rounds=3, record="loss").records["weights"][2]
    assert own[0, [0, 2]].sum() > 0.9
    assert algorithm.prepare(problem).train is problem


def test_targets_name_the_run_and_do_not_survive_a_file(tmp_path):
    problem = regression()
    algorithm = made().towards(problem)
    assert algorithm.targets
    assert algorithm.targets != made().towards(regression(1)).targets
    loaded = pfl.Instance.load(pfl.Instance(problem, 0.0, algorithm=algorithm, rounds=1).save(tmp_path / "a.json"))
    with pytest.raises(InputError, match="call towards"):
        pfl.run(loaded.algorithm, problem, rounds=1)


# --- bad input: a line each ---


def small_users():
    return pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0], [1.0]], [[2.0]] * 9]))


BAD = [
    (lambda: made(models=2).prepare(small_users()), "split: user 0 has 2 rows, of which 0.2 are 0"),
    (lambda: made(models=6).prepare(regression()), "models = 6, own included, of 5 users; must be 1 to 5"),
    (lambda: made(models=0), "models = 0; must be an integer >= 1"),
    (lambda: made(models=2.0), "models = 2.0; must be an integer"),
    (lambda: made(epsilon=1.2), r"epsilon = 1.2; must lie in \[0, 1\]"),
    (lambda: made(epsilon=float("nan")), "epsilon = nan"),
    (lambda: made(epsilon_drop=-0.1), "epsilon_drop = -0.1"),
    (lambda: fomo.select(np.zeros(3), 1, -0.1, np.random.default_rng(0)), "epsilon = -0.1"),
    (lambda: made(validation=1.0), "validation = 1.0; must lie strictly between 0 and 1"),
    (lambda: made(eps=-1.0), "eps = -1.0; must be a number >= 0"),
    (lambda: made(norm="l3"), "norm = 'l3': unknown; choose one of 'l2'"),
    (lambda: made(unhelped="new"), "unhelped = 'new'"),
    (lambda: made(affinity="sum"), "affinity = 'sum'"),
    (lambda: made(affinity_start="zero"), "affinity_start = 'zero'"),
    (lambda: made(split_seed=-1), "seed = -1"),
    (lambda: made(local_steps=0), "local_steps = 0; tau must be an integer >= 1"),
    (lambda: fomo.distances(np.zeros(2), np.zeros((3, 4))), r"candidates have shape \(3, 4\), the base \(2,\)"),
    (lambda: fomo.distances(np.zeros(2), np.zeros(2)), r"candidates have shape \(2,\)"),
    (lambda: fomo.step(np.zeros(2), np.zeros((1, 4)), np.ones(1)), r"candidates have shape \(1, 4\), the base \(2,\)"),
    (lambda: fomo.step(np.zeros(2), np.zeros((1, 2)), np.ones(3)), r"\(3,\) weights of 1 candidates"),
    (lambda: fomo.weights(1.0, [0.5, 0.2], [1.0]), r"\(2,\) losses and \(1,\) distances"),
    (lambda: fomo.weights(1.0, [0.5], [1.0], eps=-1.0), "eps = -1.0"),
    (lambda: made().towards(3), "towards got int; give a Problem"),
    (lambda: made().towards(small_users()).prepare(regression()), "target data of 2 users and dimension 1"),
    (lambda: made(models=1).prepare(fedavg_bridge.turning().problem), "a problem from curves has no rows to hold out"),
    (lambda: pfl.Reptile(beta=0.1, local_steps=0), "Reptile: local_steps = 0; tau must be an integer >= 1"),
    (lambda: pfl.Reptile(beta=0.1, server="adamw"), "server = 'adamw': unknown; choose one of 'sgd', 'momentum'"),
    (
        lambda: pfl.Reptile(beta=0.1, server_step=0.0),
        r"server_step = 0.0; must be a finite number > 0 \(1 is averaging",
    ),
    (lambda: pfl.Reptile(beta=0.1, momentum=1.0), r"momentum = 1.0; must lie in \[0, 1\)"),
    (lambda: pfl.Reptile(beta=0.1, second_momentum=-0.1), "second_momentum = -0.1"),
    (lambda: pfl.Reptile(beta=0.1, floor=0.0), "floor = 0.0"),
    (lambda: pfl.PersonalizedFedAvg(beta=0.1, switch=-1), "switch = -1; rounds of stage 1"),
    (lambda: pfl.PersonalizedFedAvg(beta=0.1, fine_tune_steps=0), "fine-tuning: local_steps = 0"),
    (lambda: pfl.PersonalizedFedAvg(beta=0.1, fine_tune_beta=-1.0), "beta = -1.0"),
]


@pytest.mark.parametrize(("call", "line"), BAD, ids=[line for _, line in BAD])
def test_bad_input_gets_one_line(call, line):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- weights: properties ---


def test_weights_lie_in_the_simplex_or_are_zero(rng):
    for _ in range(200):
        m = int(rng.integers(1, 7))
        w = fomo.weights(float(rng.normal()), rng.normal(size=m), rng.uniform(0.1, 2, m), float(rng.integers(0, 3)))
        assert (w >= 0).all()
        assert w.sum() == 0 or w.sum() == pytest.approx(1, abs=1e-15)
    assert fomo.weights(0.0, [1.0, 0.0], [1.0, 1.0]).tolist() == [0, 0]
    assert fomo.weights(1.0, [0.5, 1.0], [1.0, 0.0]).tolist() == [1, 0]  # a candidate at the base: 0, never 0/0
    assert fomo.weights(1.0, [np.inf, np.nan, 0.5], [1.0, 1.0, 1.0]).tolist() == [0, 0, 1]
    assert fomo.weights(1e300, [-1e300, 0.0], [1e-3, 1.0]).sum() == 1


def test_what_leaves_weights_alone_and_what_does_not(rng):
    loss, base, candidates = rng.normal(size=5), rng.normal(size=3), rng.normal(size=(5, 3))
    l0 = float(loss.max()) - 0.1
    w = fomo.weights(l0, loss, fomo.distances(base, candidates))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 2.5
    assert fomo.weights(l0, loss, fomo.distances(base @ turn, candidates @ turn)) == pytest.approx(w, abs=1e-14)
    assert fomo.weights(3 * l0 - 1, 3 * loss - 1, fomo.distances(base, candidates)) == pytest.approx(w, abs=1e-13)
    order = rng.permutation(5)
    assert fomo.weights(l0, loss[order], fomo.distances(base, candidates[order])) == pytest.approx(w[order], abs=1e-15)
    keep = loss < l0
    assert fomo.weights(l0, loss[keep], fomo.distances(base, candidates[keep])) == pytest.approx(w[keep], abs=1e-15)
    layer = np.array([1.0, 1.0, 5.0])  # one layer in another unit
    assert abs(fomo.weights(l0, loss, fomo.distances(base * layer, candidates * layer)) - w).max() > 1e-3
    twice = np.append(np.arange(5), 0 if keep[0] else int(np.flatnonzero(keep)[0]))
    n = twice[-1]
    doubled = fomo.weights(l0, loss[twice], fomo.distances(base, candidates[twice]))
    assert doubled[n] + doubled[5] == pytest.approx(2 * w[n] / (1 + w[n]), abs=1e-14)


def test_opposite_candidates_cancel():
    base, candidates = np.array([0.25]), np.array([[1.0], [-1.0]])
    w = fomo.weights(np.cos(np.pi / 4), [-1.0, -1.0], fomo.distances(base, candidates))
    assert w == pytest.approx([0.625, 0.375], abs=1e-15)
    assert fomo.step(base, candidates, w) == pytest.approx(base, abs=1e-15)


def test_the_claims_weights_are_the_codes(rng):
    """Balls on one road, floats on the other."""
    claim = claims.get("fedfomo-descent", "sharp")
    for _ in range(20):
        at = claim.random_instance(rng)
        for one in all_weighed(at):
            losses, far = one.losses.mid, fomo.distances(at.points[0], at.points[1:])
            w = fomo.weights(float(one.base_loss), losses, far)
            assert one.weight.mid == pytest.approx(w[one.winners], rel=1e-10, abs=1e-13)
            moved = fomo.step(at.points[0], at.points[1:], w)
            assert (one.base + one.move).mid == pytest.approx(moved, rel=1e-10, abs=1e-12)


def test_values_in_balls_are_the_problems(rng):
    """Up to a constant of the user's own."""
    for name in ("fedfomo-descent", "fedavg-decomposition"):
        for _ in range(10):
            at = claims.get(name, "sharp").random_instance(rng)
            for i, user in enumerate(known_users(at.problem)):
                w, v = at.points[0], at.points[-1]
                meant = at.problem.value(w)[i] - at.problem.value(v)[i]
                found = user.value(Ball(w)) - user.value(Ball(v))
                assert float(found) == pytest.approx(meant, rel=1e-9, abs=1e-10)
                assert user.gradient(Ball(w)).mid == pytest.approx(at.problem.gradient(w)[i], rel=1e-11, abs=1e-12)
                v = rng.normal(size=len(w))
                meant = at.problem.hvp(w, v[None])[i]
                assert user.product(Ball(w), Ball(v)).mid == pytest.approx(meant, rel=1e-9, abs=1e-10)


def test_smallest_balls():
    assert float(squared_radius(np.array([[1.0, 2.0]]))) == 0
    square = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [1.0, 0.5]])
    assert float(squared_radius(square)) == pytest.approx(2.0, abs=1e-12)
    equilateral = np.array([[np.cos(t), np.sin(t)] for t in 2 * np.pi * np.arange(3) / 3])
    found = squared_radius(equilateral)
    assert float(found) == pytest.approx(1.0, abs=1e-12)
    assert float(found.rad) < 1e-12
    for points in (np.array([[0.0], [2.0], [1.0]]), np.vstack([square, [1.0, 1.0]])):  # a point at the centre
        found = squared_radius(points)
        assert float(found.rad) < 1e-12
        assert float(found) == pytest.approx(1.0 if points.shape[1] == 1 else 2.0, abs=1e-12)


def test_where_the_loss_rises():
    """Both better candidates, and a worse average: from the pure functions alone."""
    losses = {
        "saddle": (lambda w: w[1] - 2 * w[0] ** 2, 0.0, 1.0),
        "symmetric": (lambda w: (w[0] * w[1] - 1) ** 2 / 2, 0.28125, 0.4221400),
    }
    for name, (loss, before, after) in losses.items():
        at = claims.get("fedfomo-descent", "sharp").case(name).make()
        base, candidates = at.points[0], at.points[1:]
        values = np.array([loss(w) for w in candidates])
        assert (values < loss(base)).all()
        w = fomo.weights(loss(base), values, fomo.distances(base, candidates))
        assert loss(base) == pytest.approx(before, abs=1e-15)
        assert loss(fomo.step(base, candidates, w)) == pytest.approx(after, abs=1e-6)
        assert (
            f"from {before:.6g} to {after:.5f}".rstrip("0")[:18]
            in claims.get("fedfomo-descent", "sharp").judge(at).reason
        )


# --- Reptile and its server ---


def test_server_steps_by_hand():
    start = first_state(np.array([1.0, 1.0]))
    ends = np.array([[2.0, 1.0], [1.5, 0.5]])
    difference = mean_difference(ends, start.w)
    assert difference.tolist() == [0.75, -0.25]
    first = stepped(Server("momentum", 1.0, 0.9), start, difference)
    assert first.w.tolist() == [1.75, 0.75]  # not the last user's difference once for each of the two
    assert stepped(Server("momentum", 1.0, 0.9), first, difference).w == pytest.approx([1.75 + 1.425, 0.75 - 0.475])
    adam = stepped(Server("adam", 0.1), start, difference)
    assert adam.w == pytest.approx([1.1, 0.9], abs=1e-7)  # the first step of Adam is its size, whatever the gradient
    second = stepped(Server("adam", 0.1, 0.9, 0.999, 1e-8), adam, np.array([0.0, 0.0]))
    mean = 0.9 * 0.1 * 0.75 / (1 - 0.81)
    square = 0.999 * 0.001 * 0.75**2 / (1 - 0.999**2)
    assert second.w[0] - adam.w[0] == pytest.approx(0.1 * mean / (np.sqrt(square) + 1e-8), rel=1e-12)


@pytest.mark.parametrize("n", [1, 3, 17])
def test_reptile_has_the_bits_of_fedavg_in_difference_form(n):
    problem = regression(3, n)
    given = {"beta": 0.1, "local_steps": 5, "batch": 4}
    for participation in (n, max(1, n // 2)):
        one, other = pfl.Reptile(**given, participation=participation), pfl.FedAvg(**given, participation=participation)
        state, w = one.init(problem, np.full(D, 0.3)), np.full(D, 0.3)
        for k in range(4):
            state = one.round(problem, state, seed=5, round_=k).state
            users = pfl.algorithms.algorithm.participants(participation, n)
            chosen = pfl.algorithms.baselines.choose_users(n, users, 5, k)
            _, ends = pfl.algorithms.baselines.local_steps(
                problem, chosen, w[None], other.plan, seed=5, round_=k, keep=True
            )
            total = np.zeros(D)
            for end in ends:
                total = total + (end - w)
            w = w + total / len(ends)
            assert np.array_equal(state.w, w)
    whole = pfl.run(pfl.Reptile(**given), problem, rounds=10, seed=1).w
    assert pfl.run(pfl.FedAvg(**given), problem, rounds=10, seed=1).w == pytest.approx(whole, rel=1e-13, abs=1e-14)


def test_reptile_of_one_step_is_gradient_descent_at_the_server():
    problem = regression(3)
    w, g = np.full(D, 0.3), regression(3).gradient(np.full(D, 0.3)).mean(0)
    found = pfl.run(pfl.Reptile(beta=0.2, server_step=0.5), problem, rounds=1, w0=w).w
    assert found == pytest.approx(w - 0.1 * g, rel=1e-13)


def test_three_stages_are_two_reptiles_one_after_the_other():
    problem = regression(3)
    staged = pfl.PersonalizedFedAvg(beta=0.1, local_steps=3, switch=4, fine_tune_steps=2, fine_tune_server_step=0.01)
    first = pfl.Reptile(beta=0.1, local_steps=3, server="momentum")
    second = pfl.Reptile(beta=0.1, local_steps=2, server="adam", server_step=0.01)
    state = first.init(problem, np.zeros(D))
    for k in range(4):
        state = first.round(problem, state, seed=2, round_=k).state
    state = second.init(problem, state.w)  # the optimiser starts anew
    for k in range(4, 7):
        state = second.round(problem, state, seed=2, round_=k).state
    assert np.array_equal(pfl.run(staged, problem, rounds=7, seed=2).w, state.w)


def test_batched_decomposition_uses_each_batch_once():
    """(theta - FedAvg(theta))/a is the sum of gradients of batch j + 1 after j steps on batches 1 .. j; batches drawn
    anew inside give another number.
    """
    problem, a = regression(4, 2), 0.1
    w = np.full(D, 0.2)
    ends = [pfl.run(pfl.FedAvg(beta=a, local_steps=j, batch=3), problem, rounds=1, w0=w, seed=7).w for j in range(1, 5)]
    gradients = [(w - ends[0]) / a, *((one - other) / a for one, other in itertools.pairwise(ends))]
    assert sum(gradients) == pytest.approx((w - ends[-1]) / a, rel=1e-12)
    redrawn = pfl.run(pfl.FedAvg(beta=a, local_steps=4, batch=3), problem, rounds=1, w0=w, seed=8).w
    assert abs(sum(gradients) - (w - redrawn) / a).max() > 1e-3


def test_independent_batches_keep_the_expansion_and_a_repeated_one_does_not():
    """E of the update of two steps is 2 g - a H g; one batch for both would add a Cov(H_b, g_b)."""
    x, y = np.array([[2.0, 0.0], [0.5, 1.0], [-1.0, 1.0]]), np.array([-3.0, 1.0, 0.5])
    w, a = np.array([0.5, -1.0]), 0.2
    copies = 40_000  # equal users: the mean over users is the mean over draws
    users = pfl.Federation.from_arrays([x] * copies, [y] * copies)
    problem = pfl.Problem(pfl.losses.LeastSquares(), users)
    end = pfl.run(pfl.FedAvg(beta=a, local_steps=2, batch=1), problem, rounds=1, w0=w, seed=3).w
    gradients, hessians = (x @ w - y)[:, None] * x, np.einsum("ki,kj->kij", x, x)
    g, H = gradients.mean(0), hessians.mean(0)
    repeated = np.mean([h @ v for h, v in zip(hessians, gradients, strict=True)], axis=0) - H @ g
    drawn = np.mean([[u + v - a * h @ u for u in gradients] for h, v in zip(hessians, gradients, strict=True)], (0, 1))
    assert drawn == pytest.approx(2 * g - a * H @ g, rel=1e-13)
    off = (w - end) / a - (2 * g - a * H @ g)
    assert np.linalg.norm(off) < 0.05 * a * np.linalg.norm(repeated)
    assert np.linalg.norm(repeated) > 3


def test_no_increase_needs_what_the_bound_asks_for(rng):
    """Gains below (m/2) V: a function of the class with these gains on which the loss rises; above: none."""
    m, away = 2.0, rng.normal(size=(3, 3))
    far = np.linalg.norm(away, axis=1)
    for gain, rises in ((np.full(3, 1e-3), True), (np.full(3, 9.0), False)):
        w = fomo.weights(0.0, -gain, far)
        spread = w @ far**2 - np.sum((w @ away) ** 2)
        slope = np.linalg.solve(away, m / 2 * far**2 - gain)  # l = <slope, theta> - (m/2) ||theta||^2 has these gains
        step = fomo.step(np.zeros(3), away, w)
        after = slope @ step - m / 2 * step @ step
        assert (w @ gain < m / 2 * spread) == rises == (after > 0)
        assert after == pytest.approx(-w @ gain + m / 2 * spread, rel=1e-12)


def test_slopes_of_the_bridge():
    """Error of second order with a (K - 1)/4, of first order with twice that."""
    rng = np.random.default_rng(2)
    users = [rng.normal(size=(6, 2)) for _ in range(3)]
    labels = [rng.integers(0, 2, 6) for _ in range(3)]
    problem = pfl.Problem(pfl.losses.Logistic(nonconvex=0.2), pfl.Federation.from_arrays(users, labels))
    w, K = np.array([0.4, -0.7]), 6

    def error(a, times):
        end = pfl.run(pfl.FedAvg(beta=a, local_steps=K), problem, rounds=1, w0=w).w
        meta = problem.meta_gradient(w, times * fedavg_bridge.bridge(a, K)).mean(0)
        return np.linalg.norm((w - end) / (a * K) - meta)

    for times, slope in ((1, 2), (2, 1)):
        found = np.log(error(2e-3, times) / error(1e-3, times)) / np.log(2)
        assert found == pytest.approx(slope, abs=0.05), times


def test_leading_coefficient_of_the_bridge_for_quadratics():
    for K in (2, 3, 4, 10):
        c = fedavg_bridge.coefficients(K)
        assert c[0] == abs((K - 1) * (5 * K - 13)) / 48
        z = np.array([0.3, -0.3])
        exact = ((1 + z) ** K - 1) / (K * z) - (1 + (K - 1) / 4 * z) ** 2
        series = sum(v * 0.3 ** (m + 2) for m, v in enumerate(c))
        assert abs(exact).max() == pytest.approx(series, rel=1e-12)


@pytest.mark.parametrize(("K", "sign"), [(2, -1), (3, 1), (6, 1), (12, 1)])
def test_the_bridges_best_constants_are_reached_together(K, sign):
    """f'' = +-(L + rho w) below 0, L = rho = B = 1, in fractions: both parts of second order at once."""
    ratios = []
    for a in (Fraction(1, 1000), Fraction(1, 10000)):

        def slope(w):
            return 1 + sign * (w + w * w / 2)

        w, total = Fraction(0), Fraction(0)
        for _ in range(K):
            total, w = total + slope(w), w - a * slope(w)
        inner = a * (K - 1) / 4
        off = total / K - (1 - inner * sign) * slope(-inner)
        best = (
            Fraction((K - 1) * abs(5 * K - 13), 48) + Fraction((K - 1) * (2 * K - 1), 12) - Fraction((K - 1) ** 2, 32)
        )
        ratios.append(float(abs(off) / (a * a * best)))
    assert abs(ratios[1] - 1) < 2e-3 * K
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1) / 5


def test_a_rounded_inner_step_is_an_error_of_first_order():
    """At a' as floats hold it the quadratic bound fails by a rounding; the claim is judged at a' itself."""
    claim = claims.get("fedavg-bridge", "sharp", "quadratic")
    at = fedavg_bridge.concave(K := 6, 1e-3 / 3)
    near = [np.nextafter(at.alpha, end) for end in (0.0, 1.0)]
    found = [claim.judge(replace(at, alpha=float(alpha))) for alpha in (at.alpha, *near)]
    assert {v.outcome for v in found} == {"HOLDS"}
    assert len({(v.lhs.lower, v.lhs.upper) for v in found}) == 1
    assert claim.judge(replace(at, alpha=at.alpha * (1 + 1e-9))).outcome == "NOT_APPLICABLE"
    assert at.algorithm.local_steps == K


def test_runs_of_the_relatives_have_the_same_bits_on_any_number_of_threads():
    code = """if True:
        import sys; sys.path.insert(0, "tests")
        import numpy as np, pfl_theory as pfl, test_relatives as t
        staged = pfl.PersonalizedFedAvg(beta=0.1, local_steps=3, switch=2)
        for a in (t.made(models=3, epsilon=0.5, batch=4, participation=3), staged):
            run = pfl.run(a, t.regression(), rounds=5, seed=3)
            print(run.w.tobytes().hex() + ("" if run.w_users is None else run.w_users.tobytes().hex()))
    """
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PFL_THEORY_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    ]
    assert told[0] == told[1]
    assert len(told[0].split()) == 2


def test_a_run_with_matrices_has_a_frame():
    frame = pfl.run(made(), regression(), rounds=3, record="loss").frame()
    assert list(frame.columns) == ["round", "loss_before", "loss_after"]
