"""The counter-based generator: known answers, laws of the draws, and that streams do not meet."""

from __future__ import annotations

import numpy as np
import pytest
from reference import draws
from scipy import stats

from pfl_theory.errors import InputError
from pfl_theory.kernels import philox as library

# Random123, kat_vectors: counter, key, answer
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_known_answers(counter, key, answer):
    assert draws.philox(counter, key) == answer
    assert tuple(int(word) for word in library.philox(np.uint64(key[0] + 2**32 * key[1]), *counter)) == answer


def test_stream_key_is_the_documented_hash():
    for seed, purpose in ((0, "batches"), (7, "users"), (2**70, "function noise")):
        low, high = draws.key_of(seed, purpose)
        assert int(library.stream_key(seed, purpose)) == low + 2**32 * high


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_bad_seeds(seed):
    with pytest.raises(InputError, match="seed = .*must be an integer >= 0"):
        library.stream_key(seed, "batches")


def test_unit_stays_inside():
    top = 2**32 - 1
    assert 0 < library.unit(np.uint64(0), np.uint64(0)) < 1e-15
    assert 1 - 1e-15 < library.unit(np.uint64(top), np.uint64(top)) < 1
    assert library.unit(np.uint64(2**31), np.uint64(0)) == 0.5 + 2.0**-53
    for high, low in ((5, 6), (2**31 + 3, 2**20 - 1), (top, 0)):
        assert library.unit(np.uint64(high), np.uint64(low)) == draws.uniform(high, low)


def drawn(weights, size, *, replace, seed=3, round_=0, user=0, step=0, first=0):
    """The library's batch for rows first .. first + m; also checks what `draw` promises of its scratch and
    coefficients.
    """
    m = len(weights)
    equal = np.ptp(weights) == 0
    cumulative = np.empty(0) if equal else np.concatenate([np.zeros(first), np.cumsum(weights)])
    order, rows, coef = np.arange(m), np.empty(size, np.int64), np.empty(size)
    library.draw(
        library.stream_key(seed, "batches"),
        round_,
        user,
        step,
        first,
        first + m,
        cumulative,
        size,
        replace,
        order,
        rows,
        coef,
    )
    assert (coef == 1 / size).all()
    assert np.array_equal(order, np.arange(m)), "the scratch array must be left as it was"
    return rows - first


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize(
    ("weights", "replace"), [([1 / 8] * 8, True), ([1 / 8] * 8, False), ([0.5, 0.0, 0.125, 0.375], True)]
)
def test_draw_equals_the_slow_twin(weights, replace, size):
    for round_, user, t, which in ((0, 0, 0, 0), (3, 5, 2, 1), (2**31, 1, 0, 2)):
        got = drawn(np.array(weights), size, replace=replace, round_=round_, user=user, step=3 * t + which, first=11)
        assert got.tolist() == draws.batch(
            weights, size, seed=3, round_=round_, user=user, step=t, which=which, replace=replace
        )


def frequencies(batches, m):
    return np.bincount(np.concatenate(batches), minlength=m)


@pytest.mark.parametrize("weights", [np.full(6, 1 / 6), np.array([0.05, 0.3, 0.0, 0.15, 0.4, 0.1])])
def test_draws_with_replacement_have_the_users_law(weights):
    counts = frequencies([drawn(weights, 5, replace=True, round_=k) for k in range(4000)], 6)
    assert counts[weights == 0].sum() == 0
    seen = weights > 0
    assert stats.chisquare(counts[seen], weights[seen] * counts.sum()).pvalue > 1e-4
    # the test can fail: the law of neighbouring rows is far off
    shifted = np.roll(weights, 1) if np.ptp(weights) else np.array([0, 1.2, 1.2, 1.2, 1.2, 1.2]) / 6
    assert (
        stats.chisquare(
            counts[seen], np.maximum(shifted[seen], 1e-3) / np.maximum(shifted[seen], 1e-3).sum() * counts.sum()
        ).pvalue
        < 1e-12
    )


def test_draws_without_replacement_are_distinct_and_uniform():
    m, size = 7, 3
    batches = [drawn(np.full(m, 1 / m), size, replace=False, round_=k) for k in range(6000)]
    assert all(len(set(b.tolist())) == size for b in batches)
    for position in range(size):  # every place in the batch has the uniform law
        assert stats.chisquare(frequencies([b[[position]] for b in batches], m)).pvalue > 1e-4
    subsets = np.unique([sorted(b.tolist()) for b in batches], axis=0, return_counts=True)[1]
    assert len(subsets) == 35  # 7 choose 3
    assert stats.chisquare(subsets).pvalue > 1e-4
    assert sorted(drawn(np.full(m, 1 / m), m, replace=False).tolist()) == list(range(m))


def test_users_are_drawn_uniformly_without_replacement():
    n, count = 6, 2
    chosen = [library.choose_users(n, count, 5, k) for k in range(5000)]
    assert all(len(set(c.tolist())) == count and (np.diff(c) > 0).all() for c in chosen)
    assert stats.chisquare(frequencies(chosen, n)).pvalue > 1e-4
    pairs = np.unique(chosen, axis=0, return_counts=True)[1]
    assert len(pairs) == 15
    assert stats.chisquare(pairs).pvalue > 1e-4
    assert [c.tolist() for c in chosen[:50]] == [draws.chosen_users(n, count, 5, k) for k in range(50)]
    assert library.choose_users(n, n, 5, 0).tolist() == list(range(n))


def test_streams_of_different_things_differ():
    weights = np.full(1000, 1e-3)
    base = dict(seed=1, round_=0, user=0, step=0)
    seen = [
        tuple(drawn(weights, 6, replace=True, **(base | change)))
        for change in ({}, {"seed": 2}, {"round_": 1}, {"user": 1}, {"step": 1}, {"step": 2}, {"step": 3})
    ]
    assert len(set(seen)) == len(seen)
    assert seen[0] == tuple(drawn(weights, 6, replace=True, **base))
    assert (
        len({int(library.stream_key(1, purpose)) for purpose in ("batches", "users", "function noise", "batche", "")})
        == 5
    )


def test_neighbouring_streams_are_uncorrelated():
    u = np.array(
        [
            [draws.uniform(*draws.philox((k, i, 0, 0), draws.key_of(0, "batches"))[:2]) for i in range(40)]
            for k in range(40)
        ]
    )
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4
    for a, b in ((u[:-1], u[1:]), (u[:, :-1], u[:, 1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
