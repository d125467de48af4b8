"""What the analyses of the relatives decide and compare, on tables whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pfl_theory as pfl
from analysis import _fomo, _observations, fedfomo, fedfomo_affinity, meta_learning, personalisation_stages

# --- the plan ---


def test_the_plan_is_whole():
    plan = _observations.PLAN
    assert set(plan["claims"]) == {"C1", "C2a", "C2b", "C3"}
    assert plan["decision"]["level"] == pytest.approx(1 - 0.05 / 4)
    sets = {cell["data"] for module in (meta_learning, personalisation_stages) for cell in module.grid("full")}
    assert sets == {"femnist", "mnist", "shakespeare"}
    for data in (*sets, "digits"):
        methods = {method: plan["training"][data][method] for method in meta_learning.METHODS}
        records = plan["training"][data].get("records", plan["training"]["records"])
        assert all(each["rounds"] % records == 0 for each in methods.values())
        assert plan["stages"][data]["second"] % 2 == 0
        assert plan["stages"][data]["first"] % (plan["stages"][data]["second"] // 2) == 0  # a record at the switch
    for steps in plan["personalisation"]["steps"].values():
        assert steps == sorted(steps)
        assert max(steps) / min(steps) == pytest.approx(100)


@pytest.mark.parametrize("module", [meta_learning, personalisation_stages])
def test_the_plan_names_its_seeds_and_every_cell_names_the_plan(module):
    cells = module.grid("full")
    assert {cell["plan"] for cell in cells} == {_observations.DIGEST}
    assert {cell["replicate"] for cell in cells} == set(range(_observations.PLAN["decision"]["seeds"]))


def test_users_are_in_one_part_each_and_paired():
    who = _observations.people("digits", 3)
    again = _observations.people("digits", 3)
    assert np.array_equal(who.train.federation.x, again.train.federation.x)
    assert np.array_equal(who.w0, again.w0)
    many = _observations.PLAN["users"]["digits"]
    assert who.train.n_users == many["train"]
    assert who.validation.sum() == many["validation"]
    assert (~who.validation).sum() == many["test"]
    rows = [{row.tobytes() for row in part.federation.x} for part in (who.train, who.adapt, who.evaluate)]
    assert not any(a & b for a, b in itertools.combinations(rows, 2))
    other = _observations.people("digits", 4)
    assert not np.array_equal(who.w0, other.w0)


def test_personal_epochs_go_on_from_each_other():
    """1, 2, 5 and 10 epochs are one walk: the same as local training, recorded on the way."""
    who = _observations.people("digits", 0)
    points = list(_observations.personalised(who.adapt, who.w0.astype(np.float32), 0.03, 7))
    alone = pfl.LocalTraining(beta=0.03, local_epochs=1, batch=_observations.PLAN["personalisation"]["batch"])
    first = pfl.run(alone, who.adapt, rounds=1, w0=who.w0, seed=7).w_users
    assert np.array_equal(points[0], first)
    moved = [float(np.linalg.norm(p - who.w0, axis=1).mean()) for p in points]
    assert moved == sorted(moved)


# --- deciding ---


@pytest.mark.parametrize(("effect", "expected"), [(3.0, "confirmed"), (-3.0, "refuted"), (0.5, "undecided")])
def test_decisions_on_effects_known(effect, expected):
    noise = np.random.default_rng(0).normal(0, 0.3, 8)
    line = _observations.decided("C1", "femnist", effect + noise - noise.mean())
    assert line["decision"] == expected
    half = stats.t.ppf(1 - 0.05 / 8, 7) * noise.std(ddof=1) / np.sqrt(8)
    assert line["high"] - line["low"] == pytest.approx(2 * half)


def test_one_seed_decides_nothing():
    assert _observations.decided("C1", "femnist", [40.0])["decision"] == "undecided"


def test_wrong_decisions_are_as_rare_as_the_plan_says():
    """An effect at the margin is confirmed, or refuted, with probability 0.05 / 8 each."""
    rng, margin = np.random.default_rng(1), _observations.PLAN["claims"]["C3"]["margin"]
    found = [_observations.decide(*_observations.interval(rng.normal(margin, 1.0, 8))[1:], margin) for _ in range(4000)]
    for verdict in ("confirmed", "refuted"):
        assert stats.binomtest(found.count(verdict), 4000, 0.05 / 8).pvalue > 1e-4


def run_of(speed, gain, *, records=20, noise=0.0, seed=0):
    """p0 = 90 (1 - e^(-speed t)), p1 = p0 + gain, exactly or with noise."""
    rng, t = np.random.default_rng(seed), np.arange(records + 1) / records
    p0 = 90 * (1 - np.exp(-speed * t))
    near = p0 + noise * rng.normal(size=len(t))
    return pd.DataFrame({"round": 100.0 * t, "p0_validation": near, "p0": p0, "p1": p0 + gain})


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("records", [20, 200])
def test_equal_p0_does_not_take_speed_for_gain(share, records):
    """A method that is only faster gains nothing at equal p0, whichever record it is near."""
    fast, slow = run_of(40.0, 5.0, records=records), run_of(5.0, 2.0, records=records)
    p1, p0 = _observations.at_equal_p0(fast, slow, share)
    assert p0 == pytest.approx(0.0, abs=1e-9)
    assert p1 == pytest.approx(3.0, abs=1e-9)
    assert _observations.at_equal_p0(fast, fast, share) == (0.0, 0.0)


def test_equal_p0_under_noise_has_no_bias_worth_naming():
    found = [
        _observations.at_equal_p0(run_of(9.0, 1.0, noise=1.5, seed=k), run_of(6.0, 1.0, noise=0.0, seed=-k % 97), 0.95)[
            0
        ]
        for k in range(300)
    ]
    assert abs(np.mean(found)) < 0.5  # the first record above the target: 2.3 (J3)


def stages_table(gain_p0, gain_p1, one_p0, one_p1, seeds=8):
    rng = np.random.default_rng(2)
    rows = []
    for k in range(seeds):
        base = rng.normal(0, 2)
        for arm, p0, p1 in (
            ("continued", 70.0, 80.0),
            ("Reptile(10)", 70 + gain_p0, 80 + gain_p1),
            ("Reptile(1)", 70 + gain_p0 + one_p0, 80 + gain_p1 + one_p1),
        ):
            ends = {"p0": p0 + base + rng.normal(0, 0.05), "p1": p1 + base + rng.normal(0, 0.05)}
            rows += [{"data": "femnist", "arm": arm, "replicate": k, "round": r, **ends} for r in (0.0, 400.0)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("effects", "c2a", "c2b"),
    [
        ((1.0, 1.0, 0.5, -2.0), "confirmed", "confirmed"),
        ((1.0, -1.0, 0.5, 2.0), "refuted", "refuted"),
        ((1.0, 0.0, -3.0, -5.0), "undecided", "undecided"),  # K = 1 is worse before personalising already
    ],
)
def test_stages_are_decided(effects, c2a, c2b):
    found = personalisation_stages.decisions(stages_table(*effects)).set_index(["claim", "of"])["decision"]
    assert found["C2a", "both"] == c2a
    assert found["C2b", "p1"] == c2b


# --- clients of FedFomo ---


def test_each_distribution_sends_one_client_elsewhere():
    kinds = [k for k in range(5) for _ in range(3)]
    goals = fedfomo.targets(kinds)
    moved = [i for i, goal in enumerate(goals) if goal != i]
    assert len(moved) == len({kinds[i] for i in moved}) == len({kinds[goals[i]] for i in moved}) == 5
    assert all(kinds[goals[i]] != kinds[i] for i in moved)


def test_clients_share_no_image_between_training_weighing_and_testing():
    for split in ("latent", "shards"):
        who = _fomo.clients("digits", split, 1)
        rows = [{row.tobytes() for row in part.federation.x} for part in (who.train, who.validation, who.test)]
        assert not any(a & b for a, b in itertools.combinations(rows, 2)), split
        assert who.train.n_users == who.test.n_users == _fomo.CLIENTS


def test_paired_difference_to_fedfomo():
    rows = [
        {"kind": "client", "data": "mnist", "split": "latent", "shown": name, "replicate": k, "accuracy": value + k}
        for k in range(8)
        for name, value in (("FedFomo", 90.0), ("local", 88.0))
    ]
    line = fedfomo.compared(pd.DataFrame(rows)).set_index("method").loc["local only"]
    assert line["fedfomo_minus_it"] == pytest.approx(2.0)
    assert line["half_width"] == pytest.approx(0.0, abs=1e-12)  # paired: what seeds share does not widen it


# --- affinities ---


@pytest.mark.parametrize("seed", range(5))
def test_rand_index_by_counting_pairs(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 30), rng.integers(0, 3, 30)
    pairs = list(itertools.combinations(range(30), 2))
    one, other = ([x[i] == x[j] for i, j in pairs] for x in (a, b))
    both, left, right, n = np.sum(np.array(one) & np.array(other)), sum(one), sum(other), len(pairs)
    expected = left * right / n
    assert fedfomo_affinity.adjusted_rand(a, b) == pytest.approx((both - expected) / ((left + right) / 2 - expected))
    assert fedfomo_affinity.adjusted_rand(a, 7 - a) == 1.0


def symmetric(rng, n):
    m = rng.normal(size=(n, n))
    return m + m.T


def test_mantel_is_spearman_and_its_p_values_are_uniform():
    rng = np.random.default_rng(0)
    a, b = symmetric(rng, 9), symmetric(rng, 9)
    low = np.tril_indices(9, -1)
    found, _ = fedfomo_affinity.mantel(a, b, rng, 10)
    assert found == pytest.approx(stats.spearmanr(a[low], b[low]).statistic)
    ps = [fedfomo_affinity.mantel(symmetric(rng, 7), symmetric(rng, 7), rng, 99)[1] for _ in range(200)]
    assert stats.binomtest(int((np.array(ps) <= 0.1).sum()), 200, 0.1).pvalue > 1e-3
    _, p = fedfomo_affinity.mantel(a, a, rng, 199)
    assert p == pytest.approx(1 / 200)


def test_groups_and_auc_find_blocks():
    truth = np.repeat(np.arange(3), 4)
    close = (truth[:, None] == truth).astype(float) + 0.1 * symmetric(np.random.default_rng(1), 12)
    assert fedfomo_affinity.adjusted_rand(fedfomo_affinity.groups(close, 3), truth) == 1.0
    low = np.tril_indices(12, -1)
    same = (truth[:, None] == truth)[low]
    assert fedfomo_affinity.auc(close[low], same) == 1.0
    assert fedfomo_affinity.auc(np.zeros(len(same)), same) == 0.5
