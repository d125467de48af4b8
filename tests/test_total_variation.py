"""Total variation: closed cases, fractions, merging, label laws, contraction, events; and what it says of itself where
it is trivial.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pfl_theory import Federation, Measure
from pfl_theory.datasets import digits
from pfl_theory.distances import (
    all_pairs,
    between_label_laws,
    lower_bound_from_event,
    to_average,
    total_variation,
    total_variation_fraction,
)
from pfl_theory.errors import InputError
from pfl_theory.federations import by_class, paper_split


def by_definition(p, q):
    """(1/2) sum |p - q| over a dictionary of points."""
    mass = {}
    for m, sign in ((p, 1), (q, -1)):
        labels = [None] * len(m) if m.labels is None else m.labels.tolist()
        for x, y, w in zip((m.points + 0.0).tolist(), labels, m.weights.tolist(), strict=True):
            mass[(*x, y)] = mass.get((*x, y), 0.0) + sign * w
    return math.fsum(map(abs, mass.values())) / 2


@st.composite
def units(draw, k):
    return draw(st.lists(st.integers(0, 6), min_size=k, max_size=k).filter(any))


def on(points, whole, labels=None):
    return Measure(points, labels, np.array(whole) / sum(whole))


# --- closed cases ---


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        (Measure([0.0]), Measure([0.0]), Fraction(0)),
        (Measure([0.0]), Measure([1.0]), Fraction(1)),
        (Measure([0.0, 1.0, 2.0]), Measure([0.0]), Fraction(2, 3)),
        (Measure([0.0, 0.0, 1.0]), Measure([1.0, 1.0, 0.0]), Fraction(1, 3)),
        (Measure([0, 1, 2]), Measure([0, 1], weights=[0.5, 0.5]), Fraction(1, 3)),
        (
            Measure([-1.5, 1.5], weights=[0.8, 0.2]),
            Measure([-1.5, 1.5, -1.5, 1.5], weights=[0.4, 0.1, 0.15, 0.35]),
            Fraction(1, 4),
        ),
        (
            Measure([0.0, 1.0, 3.0, 7.0], weights=[0.4, 0.3, 0.2, 0.1]),
            Measure([0.0, 1.0, 3.0, 7.0], weights=[0.1, 0.2, 0.3, 0.4]),
            Fraction(2, 5),
        ),
        (Measure(np.arange(7)), Measure(np.arange(11)), Fraction(4, 11)),
        (Measure([[0.0, -0.0], [1.0, 2.0]]), Measure([[-0.0, 0.0], [1.0, 2.0]]), Fraction(0)),
        (Measure([0.0, 1.0], [0, 0]), Measure([0.0, 1.0], [0, 1]), Fraction(1, 2)),
        (Measure([0.0, 1.0], [0.0, -0.0]), Measure([0.0, 1.0], [-0.0, 0.0]), Fraction(0)),
        (Measure([0.0, 1.0], ["a", "b"]), Measure([0.0, 1.0], ["b", "b"]), Fraction(1, 2)),
    ],
)
def test_closed_cases(p, q, value):
    assert total_variation_fraction(p, q) == value
    assert total_variation_fraction(q, p) == value
    assert total_variation(p, q) == float(value)
    assert isinstance(total_variation(p, q), float)


def test_one_in_a_million():
    """Denominators up to a million are read as fractions; mass that large populations leave at a point is exact."""
    k = 10**6
    p = Measure([0.0, 1.0], weights=[1 - 1 / k, 1 / k])
    assert total_variation_fraction(p, Measure([0.0])) == Fraction(1, k)
    p, q = (
        Measure([0.0, 1.0], weights=[1 / 999_983, 999_982 / 999_983]),
        Measure([0.0, 1.0], weights=[1 / 999_979, 999_978 / 999_979]),
    )
    assert total_variation_fraction(p, q) == Fraction(1, 999_979) - Fraction(1, 999_983)
    assert total_variation(p, q) == float(Fraction(1, 999_979) - Fraction(1, 999_983)), (
        "no digit is lost to cancellation"
    )


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ((0, 1), (1.3, 1), 0.4843077784),
        ((0, 1), (0.7, 2), 0.3567748151),
        ((-1, 0.5), (1, 0.6), 0.9313100176),
        ((0, 1), (0, 3), 0.4843279965),
    ],
)
def test_normal_laws_in_bins(first, second, value):
    """Binning is a channel: from below, and the finer the nearer."""
    found = []
    for bins in (10, 100, 2000):
        edges = np.concatenate([[-np.inf], np.linspace(-15, 15, bins + 1), [np.inf]])
        masses = [np.diff(stats.norm.cdf(edges, *law)) for law in (first, second)]
        p, q = (Measure(np.arange(len(m)), weights=m / m.sum()) for m in masses)
        found.append(float(total_variation(p, q)))
    assert found[0] <= found[1] + 1e-12
    assert found[1] < found[2] <= value + 1e-10
    assert found[2] == pytest.approx(value, abs=1e-4)
    if first[1] == second[1]:
        assert value == pytest.approx(2 * stats.norm.cdf(abs(first[0] - second[0]) / (2 * first[1])) - 1, abs=1e-9)


# --- laws ---


@settings(max_examples=80, deadline=None)
@given(st.data(), st.integers(1, 6), st.booleans())
def test_exact_against_the_definition_and_all_events(data, k, with_labels):
    x = np.array(data.draw(st.lists(st.integers(0, 2), min_size=k, max_size=k)), float)
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=k, max_size=k))) if with_labels else None
    whole = [data.draw(units(k)) for _ in range(2)]
    p, q = (on(x, w, labels) for w in whole)
    value = total_variation_fraction(p, q)
    keys = list(zip(x.tolist(), [0] * k if labels is None else labels.tolist(), strict=True))
    places = sorted(set(keys))
    shares = [
        {z: Fraction(sum(u for key, u in zip(keys, w, strict=True) if key == z), sum(w)) for z in places} for w in whole
    ]
    events = (places[:0], *(c for r in range(1, len(places) + 1) for c in itertools.combinations(places, r)))
    assert value == max(sum((shares[0][z] - shares[1][z] for z in event), Fraction(0)) for event in events)
    assert total_variation(p, q) == float(value)
    assert total_variation(p, q) == pytest.approx(by_definition(p, q), abs=1e-15)
    assert 0 <= value <= 1


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 5))
def test_triangle_and_contraction_under_channels(data, k, j):
    """A channel x -> z, given by its rows; exact in fractions."""
    laws = [data.draw(units(k)) for _ in range(3)]
    channel = [data.draw(units(j)) for _ in range(k)]
    p, q, r = (on(np.arange(k), w) for w in laws)

    def through(whole):
        shares = [
            sum(
                (Fraction(w, sum(whole)) * Fraction(row[z], sum(row)) for w, row in zip(whole, channel, strict=True)),
                Fraction(0),
            )
            for z in range(j)
        ]
        return shares, Measure(np.arange(j), weights=[float(s) for s in shares])

    (exact_p, out_p), (exact_q, out_q) = through(laws[0]), through(laws[1])
    before, after = total_variation_fraction(p, q), sum(abs(a - b) for a, b in zip(exact_p, exact_q, strict=True)) / 2
    assert after <= before
    assert total_variation(out_p, out_q) == pytest.approx(float(after), abs=1e-12)
    assert total_variation_fraction(p, r) <= before + total_variation_fraction(q, r)
    merged = total_variation_fraction(*(on(np.arange(k) // 2, w) for w in laws[:2]))
    assert merged <= before, "a map is a channel"


def test_weights_that_are_not_fractions():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 30, 2)
        p, q = (Measure(rng.integers(0, 8, k), weights=rng.dirichlet(np.full(k, 0.3))) for k in (m, n))
        exact = {}
        for measure, sign in ((p, 1), (q, -1)):
            total = sum(Fraction(w) for w in measure.weights.tolist())
            for x, w in zip(measure.points[:, 0].tolist(), measure.weights.tolist(), strict=True):
                exact[x] = exact.get(x, Fraction(0)) + sign * Fraction(w) / total
        value = sum(map(abs, exact.values())) / 2
        assert float(total_variation_fraction(p, q)) == pytest.approx(float(value), abs=1e-15)
        assert total_variation(p, q) == pytest.approx(float(value), abs=1e-13)


def test_merging_and_order(rng):
    x, y = rng.integers(0, 3, (40, 2)), rng.integers(0, 2, 40)
    p, q = Measure(x[:25], y[:25]), Measure(x[25:], y[25:])
    value = total_variation_fraction(p, q)
    order = rng.permutation(50)
    twice = Measure(np.repeat(x[:25], 2, axis=0)[order].astype(float), np.repeat(y[:25], 2)[order])
    assert total_variation_fraction(twice, q) == value
    padded = Measure(np.vstack([x[25:], [[9, 9]]]), np.append(y[25:], 0), np.append(q.weights, 0.0))
    assert total_variation_fraction(p, padded) == value
    assert total_variation_fraction(Measure(x[:25]), Measure(x[25:])) <= value, "to forget the label is a channel"


def test_many_rows_of_many_kinds(rng):
    """Numbers of rows are found by hashing: against a table, on bytes, odd widths and long rows."""
    for d, dtype in ((1, np.uint8), (3, np.uint8), (9, np.int16), (17, np.float32), (800, np.uint8)):
        x = rng.integers(0, 2 if d < 20 else 1, (3000, d)).astype(dtype)
        x[:, 0] = rng.integers(0, 5, 3000)
        p, q = Measure(x[:1000]), Measure(x[1000:])
        assert total_variation(p, q) == pytest.approx(by_definition(p, q), abs=1e-12)


# --- labels ---

FIVE = np.repeat([[0.2] * 5 + [0.0] * 5], 25, axis=0)


def two_classes(pairs):
    laws = np.zeros((25, 10))
    for row, (one, other) in zip(laws, pairs, strict=True):
        row[[one, 5 + other]] = 0.2, 0.8
    return laws


@pytest.mark.parametrize(
    ("pairs", "value"),
    [([(j % 5, j % 5) for j in range(25)], 0.26), (list(itertools.product(range(5), range(5))), 0.2536)],
)
def test_the_split_of_the_paper(pairs, value):
    laws = np.vstack([FIVE, two_classes(pairs)])
    assert laws.mean(0) == pytest.approx([0.12] * 5 + [0.08] * 5, abs=1e-15)
    to_mean = between_label_laws(np.vstack([laws, laws.mean(0)]))[-1, :-1]
    assert to_mean == pytest.approx([0.4] * 25 + [0.8] * 25, abs=1e-14)
    assert (to_mean**2).mean() == pytest.approx(0.40, abs=1e-14)
    assert (between_label_laws(laws) ** 2).mean() / 2 == pytest.approx(value, abs=1e-14)


def test_the_split_of_the_paper_on_digits():
    """Users without common images: their TV is 1 and 1 - 1/n whatever they are; the label laws say more."""
    fed = paper_split(digits(), n_users=10, a=20)
    labels = between_label_laws(by_class(fed)[1])
    pairs, average = all_pairs(fed, tv=True), to_average(fed, tv=True)
    assert (labels <= pairs.pairs_lower + 1e-15).all()
    assert labels.max() == pytest.approx(1.0)
    off = ~np.eye(10, dtype=bool)
    assert (pairs.pairs_upper[off] >= 0.99).all()
    assert average.average_upper == pytest.approx(np.full(10, 0.9), abs=0.01)


def test_label_shift_is_the_label_laws_where_labels_are_kept(rng):
    """p_i = sum_y pi_i(y) q_y: equality with the label in the datum, at most without [theory 8.1]."""
    classes = [rng.integers(0, 6, 5) for _ in range(3)]
    pi = rng.multinomial(20, [0.3, 0.5, 0.2], 4) / 20
    points, labels = np.concatenate(classes), np.repeat(np.arange(3), 5)
    users = [Measure(points, labels, np.repeat(law, 5) / 5) for law in pi]
    bare = [Measure(points, weights=u.weights) for u in users]
    expected = between_label_laws(pi)
    strict = 0
    for i, j in itertools.combinations(range(4), 2):
        assert total_variation(users[i], users[j]) == pytest.approx(expected[i, j], abs=1e-15)
        assert total_variation(bare[i], bare[j]) <= expected[i, j] + 1e-15
        strict += total_variation(bare[i], bare[j]) < expected[i, j] - 1e-3
    assert strict, "overlapping classes: forgetting the label loses something"
    assert np.array_equal(expected, expected.T)
    assert not np.diag(expected).any()


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        ([0.5, 0.5], r"label laws of shape \(2,\); give \(users, classes\)"),
        (np.zeros((0, 3)), r"label laws of shape \(0, 3\); give \(users, classes\)"),
        ([[0.5, 0.4]], "label laws must be finite and >= 0, and sum to 1 for every user"),
        ([[1.5, -0.5]], "label laws must be finite and >= 0"),
        ([[float("nan"), 1.0]], "label laws must be finite and >= 0"),
    ],
)
def test_label_laws_are_checked(laws, message):
    with pytest.raises(InputError, match=message):
        between_label_laws(laws)


# --- events ---


def test_event_bound_by_hand():
    found = lower_bound_from_event([True] * 900 + [False] * 100, [True] * 200 + [False] * 800, level=0.95)
    width = math.sqrt(math.log(2 / 0.025) / 2) * (1 / math.sqrt(1000) + 1 / math.sqrt(1000))
    assert found.difference == pytest.approx(0.7)
    assert found.lower == pytest.approx(0.7 - width, abs=1e-15)
    assert found.level == 0.95
    assert lower_bound_from_event([1, 0, 1], np.array([0, 0])).lower < 0


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(("p", "q", "m", "n"), [(0.5, 0.5, 50, 50), (0.9, 0.2, 30, 400), (0.02, 0.0, 100, 1000)])
def test_event_bound_coverage(level, p, q, m, n):
    """At most 1 - level of 4,000 repetitions lie above |p(A) - q(A)| <= TV; Hoeffding is far from tight, so a tenth of
    it is missed.
    """
    rng = np.random.default_rng(0)
    above = 0
    for _ in range(4000):
        found = lower_bound_from_event(rng.random(m) < p, rng.random(n) < q, level=level)
        above += found.lower > abs(p - q)
    assert above <= 4000 * (1 - level) + 3 * math.sqrt(4000 * (1 - level) * level)
    tight = sum(abs((rng.random(m) < p).mean() - (rng.random(n) < q).mean()) > abs(p - q) for _ in range(400))
    assert tight > 0.1 * 400, "without the width the coverage fails"


def test_event_bound_against_the_true_distance():
    """Normal laws at distance 1.3: TV .4843; the best event finds most of it with many draws."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=20_000), rng.normal(size=20_000) + 1.3
    found = lower_bound_from_event(y > 0.65, x > 0.65)
    assert 0.44 < found.lower <= 0.4843077784


@pytest.mark.parametrize(
    ("arguments", "level", "message"),
    [
        (([True], [False]), 0.0, "level = 0.0; must lie between 0 and 1"),
        (([True], [False]), 1.0, "level = 1.0; must lie between 0 and 1"),
        (([], [False]), 0.9, r"p_hits has shape \(0,\); give one truth value per draw"),
        (([True], [[False]]), 0.9, r"q_hits has shape \(1, 1\); give one truth value per draw"),
        (([0.3], [False]), 0.9, "p_hits holds other values than true and false; give one truth value per draw"),
        (([True], [float("nan")]), 0.9, "q_hits holds other values than true and false"),
    ],
)
def test_event_bound_is_checked(arguments, level, message):
    with pytest.raises(InputError, match=message):
        lower_bound_from_event(*arguments, level=level)


# --- what it says of itself ---


def test_a_trivial_value_says_so(rng):
    x = rng.normal(size=(40, 3))
    trivial, some = total_variation(Measure(x[:20]), Measure(x[20:])), total_variation(Measure(x[:21]), Measure(x[20:]))
    assert (float(trivial), trivial.common_points) == (1.0, 0)
    assert trivial.note.startswith("no point is common to both")
    assert "carries no information" in trivial.note
    assert (some.note, some.common_points) == ("", 1)
    assert some < 1
    weightless = Measure(np.vstack([x[:20], x[20:21]]), weights=np.append(np.full(20, 0.05), 0.0))
    assert total_variation(weightless, Measure(x[20:])).note, "a point without weight is not common"


def test_samples_to_their_average_are_at_one_minus_one_over_n(rng):
    fed = Federation.from_arrays(list(rng.normal(size=(50, 4, 2))))
    assert to_average(fed, tv=True).average_upper == pytest.approx(np.full(50, 0.98), abs=1e-14)
    assert (all_pairs(fed, tv=True).pairs_upper == 1 - np.eye(50)).all()


def test_a_value_can_be_copied_and_sent():
    found = total_variation(Measure([0.0]), Measure([1.0]))
    for again in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert (float(again), again.common_points, again.note) == (1.0, 0, found.note)


@pytest.mark.parametrize("call", [total_variation, total_variation_fraction])
@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (Measure([0.0]), Measure([[0.0, 1.0]]), "p has points with 1 features, q with 2; they must agree"),
        (Measure([0.0], [1]), Measure([0.0]), "only p has labels; give labels to both measures or to neither"),
        (Measure([0.0]), Measure([0.0], [1]), "only q has labels"),
        (Measure([0.0]), [0.0], "q is list; give a Measure"),
        (Measure([0.0], [float("nan")]), Measure([0.0], [0.0]), "labels contain NaN or infinity; drop those points"),
    ],
)
def test_bad_input(call, p, q, message):
    with pytest.raises(InputError, match=message) as caught:
        call(p, q)
    assert "\n" not in str(caught.value)
