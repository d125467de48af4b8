"""Distances between users: M, P and which is tighter, against closed cases and against pairs of measures; classes;
threads; errors.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory import Federation, Measure
from pfl_theory.datasets import digits
from pfl_theory.distances import (
    UserDistances,
    all_pairs,
    between_users,
    label_shift_w1,
    to_average,
    total_variation,
    total_variation_fraction,
    wasserstein,
)
from pfl_theory.errors import InputError
from pfl_theory.federations import by_class, dirichlet, finite_support, location, paper_split

# the module, not the function of the same name that the package exports
wasserstein_module = importlib.import_module("pfl_theory.distances.wasserstein")
SIMPLEX = np.eye(10) / math.sqrt(2)  # all distances 1


def at(points, weights=None):
    """One user for each row of weights, on common points."""
    if weights is None:
        return Federation.from_arrays([p[None] for p in np.asarray(points, float)])
    kept = [np.flatnonzero(w) for w in weights]
    return Federation.from_arrays(
        [np.asarray(points, float)[k] for k in kept], sample_weight=[w[k] for w, k in zip(weights, kept, strict=True)]
    )


def both(found):
    """M and P, each checked to be an interval without width."""
    assert found.M[0] == pytest.approx(found.M[1], rel=1e-9)
    assert found.P[0] == pytest.approx(found.P[1], rel=1e-9)
    assert found.M[0] <= found.M[1]
    assert found.P[0] <= found.P[1]
    assert found.closed
    return found.M[1], found.P[1]


# --- values in closed form ---


@pytest.mark.parametrize("tv", [False, True])
@pytest.mark.parametrize(("n", "m_value", "p_value"), [(2, 0.25, 0.25), (10, 0.81, 0.45)])
def test_corners_of_a_simplex(tv, n, m_value, p_value):
    found = between_users(at(SIMPLEX[:n]), tv=tv)
    assert both(found) == pytest.approx((m_value, p_value), rel=1e-9)
    if n > 2:
        assert found.tighter == "P"


@pytest.mark.parametrize("tv", [False, True])
def test_five_pairs_about_the_average(tv):
    """p +- t (d_a - d_b), t = .05: M is smaller by 2 (1 - 1/n)."""
    weights = np.full((10, 10), 0.1)
    for k in range(5):
        weights[2 * k, [2 * k, 2 * k + 1]] += 0.05, -0.05
        weights[2 * k + 1, [2 * k, 2 * k + 1]] += -0.05, 0.05
    found = between_users(at(SIMPLEX, weights), tv=tv)
    assert both(found) == pytest.approx((0.0025, 0.0045), rel=1e-9)
    assert found.P[1] / found.M[1] == pytest.approx(2 * (1 - 1 / 10), rel=1e-9)
    assert found.tighter == "M"


def test_the_rays_of_a_star():
    """All ends at distance 1/2 of the centre: measured from there the mean square is smaller still."""
    c = np.full((11, 11), 1.0)
    c[10, :] = c[:, 10] = 0.5
    np.fill_diagonal(c, 0)
    users, average = [Measure([i]) for i in range(10)], Measure(np.arange(10))
    to_p = np.mean([wasserstein(u, average, metric=c).upper ** 2 for u in users])
    to_centre = np.mean([wasserstein(u, Measure([10]), metric=c).upper ** 2 for u in users])
    assert (to_p, to_centre) == pytest.approx((0.81, 0.25), rel=1e-12)
    assert to_p / to_centre == pytest.approx(4 * (1 - 1 / 10) ** 2)


@pytest.mark.parametrize(
    ("n", "p_value", "m_value"), [(2, 0.25, 0.25), (3, 2 / 3, 0.8148148148), (5, 2.0, 2.672), (10, 8.25, 11.418)]
)
@pytest.mark.parametrize("size", [1, 7])
def test_translations_of_one_law_on_the_line(n, p_value, m_value, size):
    """Users at 0 .. n - 1; P is the exact gamma_G^2 of the quadratic loss, for one point a user and for any common law;
    M of points.
    """
    spread = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    found = between_users(Federation.from_arrays([k + spread for k in range(n)]))
    m, p = both(found)
    assert p == pytest.approx(p_value, rel=1e-9)
    assert m == pytest.approx(m_value, rel=1e-9) if size == 1 else p - 1e-9 <= m * 2 * (1 - 1 / n)
    assert found.P[1] == pytest.approx(np.var(np.arange(n)), rel=1e-9)
    assert found.pairs_upper == pytest.approx(np.abs(np.subtract.outer(np.arange(n), np.arange(n))), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.floats(0.1, 5.0), st.integers(0, 100))
def test_shared_noise_makes_translations(n, d, heterogeneity, seed):
    fed = location(n_users=n, dim=d, size=6, heterogeneity=heterogeneity, shared=True, seed=seed)
    centres = np.stack([user.points.mean(0) for user in fed])
    found = all_pairs(fed)
    assert found.pairs_upper == pytest.approx(np.linalg.norm(centres[:, None] - centres, axis=2), rel=1e-9, abs=1e-9)
    assert found.P[1] == pytest.approx(heterogeneity**2, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 1000))
def test_m_and_p_within_twice_of_each_other(n, d, tv, seed):
    """M <= 2 (1 - 1/n) P, P <= 2 (1 - 1/n) M, and the average is no farther than the mean of the pairs."""
    found = between_users(finite_support(n_users=n, n_points=6, dim=d, seed=seed), tv=tv)
    m, p = found.M[1], found.P[1]
    allowed = 2 * (1 - 1 / n)
    assert m <= allowed * p + 1e-10
    assert p <= allowed * m + 1e-10
    assert (found.average_lower <= found.pairs_upper.mean(1) + 1e-10).all()
    assert found.tighter == ("M" if m <= p else "P")
    assert np.array_equal(found.pairs_upper, found.pairs_upper.T)
    assert not np.diag(found.pairs_upper).any()


# --- against measures ---


@pytest.mark.parametrize("kappa", [None, 0.5])
@pytest.mark.parametrize("weights", ["random", "uniform"])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_against_measures(kappa, weights, d):
    fed = finite_support(n_users=5, n_points=12, dim=d, n_classes=3, weights=weights)
    found = between_users(fed, kappa=kappa)
    assert found.name == ("W1" if kappa is None else "W1, label 0.5")
    for i, j in itertools.product(range(5), repeat=2):
        one = wasserstein(fed[i], fed[j], kappa=kappa)
        assert found.pairs_upper[i, j] == pytest.approx(one.upper, rel=1e-9, abs=1e-12)
        assert found.pairs_lower[i, j] == pytest.approx(one.lower, rel=1e-9, abs=1e-12)
    for i in range(5):
        one = wasserstein(fed[i], fed.mixture(), kappa=kappa)
        assert found.average_upper[i] == pytest.approx(one.upper, rel=1e-9, abs=1e-12)
        others = fed.select([j for j in range(5) if j != i]).mixture()
        assert found.average_upper[i] == pytest.approx(0.8 * wasserstein(fed[i], others, kappa=kappa).upper, rel=1e-9)
    assert found.M[1] == pytest.approx((found.average_upper**2).mean(), rel=1e-15)
    assert found.P[1] == pytest.approx((found.pairs_upper**2).sum() / 50, rel=1e-15)


@pytest.mark.parametrize("n_classes", [None, 2])
def test_total_variation_against_measures(n_classes):
    fed = finite_support(n_users=5, n_points=8, dim=2, n_classes=n_classes)
    if n_classes:  # the same features under both labels
        fed = Federation(fed.x, (np.arange(len(fed.x)) % 2).astype(np.int64), fed.weights, fed.offsets)
    found = between_users(fed, tv=True)
    assert found.name == "TV"
    for i in range(5):
        assert found.average_upper[i] == pytest.approx(total_variation(fed[i], fed.mixture()), abs=1e-12)
        for j in range(5):
            if i != j:  # weights that are not fractions: ends about the value
                exact = total_variation_fraction(fed[i], fed[j])
                assert Fraction(found.pairs_lower[i, j]) <= exact <= Fraction(found.pairs_upper[i, j])
    assert (found.pairs_upper - found.pairs_lower).max() <= 1e-12
    whole = all_pairs(finite_support(n_users=5, n_points=8, dim=2, weights="uniform"), tv=True)
    assert (whole.pairs_upper - whole.pairs_lower <= np.spacing(whole.pairs_upper)).all(), "fractions round once"
    features = all_pairs(Federation(fed.x, None, fed.weights, fed.offsets), tv=True)
    assert (features.pairs_lower <= found.pairs_upper).all()
    if n_classes:
        assert (features.pairs_upper < found.pairs_upper - 1e-3).any(), "labels count"


def test_bytes_floats_and_scales(rng):
    users = [rng.integers(0, 256, (6, 40)).astype(np.uint8) for _ in range(3)]
    pixels = between_users(Federation.from_arrays(users, scale=1 / 255))
    floats = between_users(Federation.from_arrays([u / 255 for u in users]))
    whole = between_users(Federation.from_arrays([u.astype(np.int64) for u in users]))
    for other, factor in ((floats, 1.0), (whole, 255.0)):
        assert other.pairs_upper == pytest.approx(factor * pixels.pairs_upper, rel=1e-10)
        assert other.average_upper == pytest.approx(factor * pixels.average_upper, rel=1e-10)


def test_common_images_count_once():
    """Users that share images: the distance to the average sees only what differs."""
    fed = at(SIMPLEX[:3], np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]))
    found = between_users(fed)
    assert found.pairs_upper[0, 1] == pytest.approx(0.5, rel=1e-12)
    assert found.average_upper == pytest.approx([0.25, 0.25], rel=1e-12)


def test_some_users():
    fed = finite_support(n_users=5, n_points=10)
    everyone, some = to_average(fed), to_average(fed, users=[3, 1])
    assert np.array_equal(some.average_upper, everyone.average_upper[[3, 1]])
    assert np.array_equal(some.average_lower, everyone.average_lower[[3, 1]])
    with pytest.raises(InputError, match="M needs all users; this was measured for some of them"):
        some.M
    in_another_order = to_average(fed, users=(i for i in (4, 2, 0, 1, 3)))
    assert in_another_order.M[1] == pytest.approx(everyone.M[1], rel=1e-14)


def test_one_user():
    found = between_users(finite_support(n_users=1))
    assert (found.M, found.P, found.tighter) == ((0.0, 0.0), (0.0, 0.0), "M")


def test_equal_users_are_at_zero():
    found = between_users(location(n_users=4, dim=3, heterogeneity=0.0, shared=True))
    assert not found.pairs_upper.any()
    assert found.average_upper.max() <= 1e-15


def test_a_wide_gap_is_wide_and_honest():
    fed = finite_support(n_users=4, n_points=10)
    fine, wide = between_users(fed), between_users(fed, gap=0.5)
    assert (wide.pairs_lower <= fine.pairs_upper).all()
    assert (fine.pairs_lower <= wide.pairs_upper).all()
    assert fine.closed


# --- classes ---


def test_by_class(rng):
    fed = dirichlet(digits(), n_users=6, concentration=0.3)
    classes, laws = by_class(fed)
    labels = np.unique(fed.y)
    assert laws.shape == (6, len(labels))
    assert laws.sum(1) == pytest.approx(np.ones(6), abs=1e-12)
    assert classes.n_users == len(labels)
    assert all((np.unique(c.labels) == label).all() for c, label in zip(classes, labels, strict=True))
    mean = fed.mixture().mean()
    means = np.stack([c.mean() for c in classes])
    assert laws.mean(0) @ means == pytest.approx(mean, abs=1e-12), "the classes, weighted, are the mixture"
    for k, label in enumerate(labels):
        chosen = fed.y == label
        assert means[k] == pytest.approx(
            np.average(fed.x[chosen] * fed.scale, axis=0, weights=fed.weights[chosen]), abs=1e-12
        )
        for i in range(6):
            assert laws[i, k] == pytest.approx(fed[i].weights[fed[i].labels == label].sum(), abs=1e-12)


def test_classes_without_mass_are_left_out():
    fed = Federation.from_arrays([[[0.0], [1.0]], [[5.0]]], [[0, 7], [3]], sample_weight=[[1.0, 0.0], [1.0]])
    classes, laws = by_class(fed)
    assert (classes.n_users, laws.tolist(), classes.info["classes"]) == (2, [[1.0, 0.0], [0.0, 1.0]], [0, 3])


def test_label_shift_bound_strict():
    """A = unif{0, 10}, C = 0, D = 10: A against (C + D)/2 is no move at all, and costs 5 by way of the labels."""
    users = [([0.0, 10.0], [0, 0]), ([0.0, 10.0], [1, 2])]
    fed = Federation.from_arrays([x for x, _ in users], [y for _, y in users])
    classes, laws = by_class(fed)
    between = all_pairs(classes).pairs_upper
    assert between == pytest.approx(np.array([[0, 5, 5], [5, 0, 10], [5, 10, 0]]), abs=1e-12)
    assert label_shift_w1(laws, between)[0, 1] == pytest.approx(5, rel=1e-12)
    assert all_pairs(fed).pairs_upper[0, 1] == 0


def test_label_shift_bound_is_one_and_attained_for_two_classes(rng):
    classes = [rng.normal(size=(4, 2)) + 2 * k for k in range(3)]
    between = all_pairs(Federation.from_arrays(classes)).pairs_upper
    strict = 0
    for _ in range(8):
        laws = rng.multinomial(12, np.full(3, 1 / 3), 2) / 12
        points, weights = np.concatenate(classes), [np.repeat(law, 4) / 4 for law in laws]
        exact = wasserstein(Measure(points, weights=weights[0]), Measure(points, weights=weights[1]))
        bound = label_shift_w1(laws, between)
        assert exact.lower <= bound[0, 1] + 1e-12
        assert np.array_equal(bound, bound.T)
        strict += exact.upper < bound[0, 1] - 1e-6
        one, other = rng.permutation(3)[:2]  # only one class in excess and one in deficit: homogeneity
        law = np.array([0.4, 0.3, 0.3])
        moved = law.copy()
        moved[[one, other]] += -0.25, 0.25
        pair = [Measure(points, weights=np.repeat(w, 4) / 4) for w in (law, moved)]
        assert label_shift_w1([law, moved], between)[0, 1] == pytest.approx(wasserstein(*pair).upper, rel=1e-9)
        assert wasserstein(*pair).upper == pytest.approx(0.25 * between[one, other], rel=1e-9)
    assert strict


def test_label_shift_bound_takes_upper_ends():
    """Upper ends of class distances need not satisfy the triangle inequality."""
    bound = label_shift_w1([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]], [[0, 1, 2 + 1e-6], [1, 0, 1], [2 + 1e-6, 1, 0]])
    assert bound[0, 1] == pytest.approx(1.0, rel=1e-5)
    assert bound[0, 1] >= 1.0 - 1e-15


def test_the_split_of_the_paper_by_its_labels():
    """The number of images changes nothing: TV .4 and .8 to the average, P .26 for five kinds of pairs."""
    laws = by_class(paper_split(digits(), n_users=10, a=20))[1]
    discrete = 1 - np.eye(10)
    bound = label_shift_w1(np.vstack([laws, laws.mean(0)]), discrete)
    assert bound[-1, :-1] == pytest.approx([0.4] * 5 + [0.8] * 5, abs=1e-12)
    assert (bound[:-1, :-1] ** 2).mean() / 2 == pytest.approx(0.26, abs=1e-12)


# --- the number of threads changes no bit ---


def digest_of_distances(monkeypatch):
    """Bits of all kinds of distances: dense and sparse solvers, small and large pairs, floats and pixels."""
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    for d, dense in ((40, 10**9), (3, 0)):
        monkeypatch.setattr(wasserstein_module, "DENSE", dense)
        sizes = (60, 80, 70, 300, 100)
        fed = Federation.from_arrays([rng.normal(size=(m, d)) for m in sizes], [rng.integers(0, 3, m) for m in sizes])
        for found in (all_pairs(fed, kappa=0.5), to_average(fed), to_average(fed, tv=True)):
            for values in (found.pairs_lower, found.pairs_upper, found.average_lower, found.average_upper):
                digest.update(b"" if values is None else values.tobytes())
    images = [rng.integers(0, 256, (m, 100)).astype(np.uint8) for m in (150, 200, 250)]
    pixels = Federation.from_arrays(images, scale=1 / 255)
    digest.update(all_pairs(pixels).pairs_lower.tobytes() + to_average(pixels).average_lower.tobytes())
    return digest.hexdigest()


def test_same_bits_for_any_number_of_threads(monkeypatch):
    seen = set()
    for threads in "1", "2":
        monkeypatch.setenv("PFL_THEORY_THREADS", threads)
        seen.add(digest_of_distances(monkeypatch))
    assert len(seen) == 1


# --- bad input ---

FED = Federation.from_arrays([[[0.0, 1.0], [1.0, 0.0]], [[2.0, 2.0]]], [[0, 1], [1]])
BARE = Federation.from_arrays([[0.0], [1.0]])
NAN, INF = float("nan"), float("inf")

CASES = {
    "M of pairs": (lambda: all_pairs(FED).M, "M needs the distances to the average: measure them with to_average"),
    "P of averages": (lambda: to_average(FED).P, "P needs the distances of all pairs: measure them with all_pairs"),
    "tighter of one": (lambda: to_average(FED).tighter, "P needs the distances of all pairs"),
    "empty record": (lambda: UserDistances("W1").M, "M needs the distances to the average"),
    "no labels": (lambda: all_pairs(BARE, kappa=1.0), "the federation has no labels; leave kappa out"),
    "kappa -1": (lambda: all_pairs(FED, kappa=-1.0), "kappa = -1.0; must be a finite number > 0"),
    "kappa 0": (lambda: to_average(FED, kappa=0.0), "kappa = 0.0; must be a finite number > 0"),
    "kappa nan": (lambda: between_users(FED, kappa=NAN), "kappa = nan; must be a finite number > 0"),
    "kappa inf": (lambda: all_pairs(FED, kappa=INF), "kappa = inf; must be a finite number > 0"),
    "kappa text": (lambda: all_pairs(FED, kappa="1"), "kappa = '1'; must be a finite number > 0"),
    "kappa and tv": (
        lambda: all_pairs(FED, kappa=1.0, tv=True),
        "kappa belongs to W1; total variation has no price of a label",
    ),
    "gap 0": (lambda: all_pairs(FED, gap=0.0), "gap = 0.0; must be a number > 0"),
    "gap -1": (lambda: to_average(FED, gap=-1.0), "gap = -1.0; must be a number > 0"),
    "gap nan": (lambda: between_users(FED, gap=NAN), "gap = nan; must be a number > 0"),
    "a list": (lambda: all_pairs([[0.0], [1.0]]), "give a Federation, such as Federation.from_arrays.*; this is list"),
    "a measure": (lambda: to_average(Measure([0.0])), "give a Federation, .*; this is Measure"),
    "a list for TV": (lambda: all_pairs([[0.0], [1.0]], tv=True), "give a Federation"),
    "user 2 of 2": (lambda: to_average(FED, users=[2]), "users must be 0 to 1, got 2 to 2"),
    "user -1": (lambda: to_average(FED, users=[-1]), "users must be 0 to 1, got -1 to -1"),
    "no users": (lambda: to_average(FED, users=[]), "users: no users given"),
    "classes without labels": (lambda: by_class(BARE), "labels"),
    "laws": (
        lambda: label_shift_w1([[0.5, 0.6]], np.zeros((2, 2))),
        "label laws must be finite and >= 0, and sum to 1 for every user",
    ),
    "too few classes": (
        lambda: label_shift_w1([[0.5, 0.5, 0.0]], np.zeros((2, 2))),
        r"class_distances has shape \(2, 2\); 3 classes need \(3, 3\)",
    ),
    "too many classes": (
        lambda: label_shift_w1([[0.5, 0.5]], np.zeros((3, 3))),
        r"class_distances has shape \(3, 3\); 2 classes need \(2, 2\)",
    ),
    "NaN distance": (
        lambda: label_shift_w1([[0.5, 0.5]], [[0.0, NAN], [1.0, 0.0]]),
        "class_distances must be finite and >= 0, with a zero diagonal",
    ),
    "negative distance": (
        lambda: label_shift_w1([[0.5, 0.5]], [[0.0, -1.0], [-1.0, 0.0]]),
        "class_distances must be finite and >= 0",
    ),
    "a distance to itself": (lambda: label_shift_w1([[0.5, 0.5]], [[1.0, 1.0], [1.0, 0.0]]), "with a zero diagonal"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_line(case):
    call, message = CASES[case]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
