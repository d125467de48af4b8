"""Makers of users: what each promises."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfl_theory.datasets import Dataset, digits
from pfl_theory.errors import InputError
from pfl_theory.federations import (
    Federation,
    concept_shift,
    concept_shift_from_laws,
    concept_shift_gamma_G,
    dirichlet,
    finite_support,
    k_classes,
    latent,
    latent_pair,
    like,
    location,
    paper_pair,
    paper_split,
    paper_split_pair,
    shards,
)

MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def stand_in(counts, split="train") -> Dataset:
    """These many images of each class in mixed order; the pixels spell the number of the image."""
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    number = np.arange(len(y), dtype=np.uint32)
    return Dataset(
        "stand-in",
        np.stack([number >> 16 & 255, number >> 8 & 255, number & 255], axis=1).astype(np.uint8),
        y,
        len(counts),
        (3,),
        split=split,
    )


def numbers(fed: Federation) -> np.ndarray:
    """Which images a federation has."""
    assert fed.x.dtype == np.uint8
    return fed.x.astype(int) @ [65536, 256, 1]


def label_counts(fed: Federation, n_classes: int) -> np.ndarray:
    counts = np.zeros((fed.n_users, n_classes), dtype=int)
    np.add.at(counts, (fed.owner, fed.y), 1)
    return counts


def check_images(fed: Federation, dataset: Dataset) -> None:
    """No image serves two users (or one twice), and each kept its label and weight."""
    which = numbers(fed)
    assert len(np.unique(which)) == len(which)
    assert np.array_equal(dataset.y[which], fed.y)
    assert (fed.scale, fed.law) == (dataset.scale, "sample")
    assert np.array_equal(fed.weights, np.repeat(1 / fed.sizes, fed.sizes))


few = settings(max_examples=25, deadline=None)
class_counts = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any)


# -- paper split -------------------------------------------------------------------------------------------------------


@few
@given(half=st.integers(1, 15), b=st.integers(1, 10), seed=st.integers(0, 2**64))
def test_paper_split_counts(half, b, seed):
    a, n = 2 * b, 2 * half
    dataset = stand_in([(n + half) * a] * 10)
    fed = paper_split(dataset, n_users=n, a=a, seed=seed)
    check_images(fed, dataset)
    expected = np.zeros((n, 10), dtype=int)
    expected[:half, :5] = a
    for j in range(half):
        expected[half + j, j % 5] += a // 2
        expected[half + j, 5 + j % 5] += 2 * a
    assert np.array_equal(label_counts(fed, 10), expected)
    assert fed.info["kind"] == ["five classes"] * half + ["two classes"] * half
    assert (fed.info["split"], fed.info["a"], fed.info["dataset"], fed.info["dataset_split"]) == (
        "paper",
        a,
        "stand-in",
        "train",
    )


def test_paper_split_fits_mnist_as_far_as_stated():
    train, test = stand_in(MNIST_TRAIN), stand_in(MNIST_TEST, "test")
    assert paper_split(train).name == "stand-in, paper split n=50 a=196"
    assert paper_split(train, a=212).n_users == 50
    with pytest.raises(
        InputError,
        match=r"^class 4 runs out: 5,885 images needed, stand-in has 5,842; the largest a that fits n_users = 50 is "
        r"212$",
    ):
        paper_split(train, a=214)
    assert paper_split(test, a=34).name == "stand-in test, paper split n=50 a=34"
    with pytest.raises(
        InputError,
        match=r"^class 0 runs out: 990 images needed, stand-in test has 980; the largest a that fits n_users = 50 "
        r"is 34$",
    ):
        paper_split(test, a=36)


# What Table 1 of the paper has for CIFAR-10, user by user and class by class: half, class -> (train, test) images.
CIFAR_A = (68, 36)


def cifar_counts(a: int, second_half: str) -> np.ndarray:
    counts = np.zeros((50, 10), dtype=int)
    for user in range(25):
        counts[user, [0, 1, 2, 3, 4]] = a
        counts[25 + user, user % 5] = a // 2 if second_half == "two classes" else 0
        counts[25 + user, 5 + user % 5] = 2 * a
    return counts


@pytest.mark.parametrize(
    ("second_half", "images", "classes"),
    [
        ("two classes", [(340, 170), (180, 90)], [(1870, 680), (990, 360)]),
        ("one class", [(340, 136), (180, 72)], [(1700, 680), (900, 360)]),
    ],
)
@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.data("cifar10"))])
def test_paper_split_of_cifar10(second_half, images, classes, real):
    if real:
        pair = paper_pair("cifar10", second_half=second_half)
    else:
        sets = stand_in([5000] * 10), stand_in([1000] * 10, "test")
        pair = paper_split_pair(*sets, a_train=68, a_test=36, second_half=second_half)
    for part, (fed, a) in enumerate(zip(pair, CIFAR_A, strict=True)):
        counts = label_counts(fed, 10)
        assert np.array_equal(counts, cifar_counts(a, second_half))
        assert fed.sizes.tolist() == [images[part][0]] * 25 + [images[part][1]] * 25
        assert counts.sum(0).tolist() == [classes[part][0]] * 5 + [classes[part][1]] * 5
        assert fed.info["kind"] == ["five classes"] * 25 + [second_half] * 25
        if not real:
            check_images(fed, sets[part])
        else:
            assert (fed.x.shape[1], fed.x.dtype, fed.scale) == (3072, np.uint8, 1 / 255)
            assert fed.info["dataset"] == "CIFAR-10"
    train, test = pair
    last = "" if second_half == "two classes" else ", one class"
    name = "CIFAR-10" if real else "stand-in"
    assert train.name == f"{name}, paper split n=50 a=68{last}"
    assert test.name == f"{name} test, paper split n=50 a=36{last}"


def test_the_variant_only_takes_images_away():
    """Of its other classes every user has exactly the images that it had."""
    dataset = stand_in([1000] * 10)
    two, one = (paper_split(dataset, n_users=10, a=40, second_half=kind) for kind in ("two classes", "one class"))
    for i in range(10):
        kept = np.unique(one[i].labels)
        assert set(kept) <= set(np.unique(two[i].labels))
        chosen = np.isin(two[i].labels, kept)
        assert np.array_equal(two[i].points[chosen], one[i].points)


def test_paper_split_fits_cifar10_as_far_as_stated():
    train, test = stand_in([5000] * 10), stand_in([1000] * 10, "test")
    for dataset, kind, needed, most in (
        (train, "two classes", "5,005", 180),
        (test, "two classes", "1,045", 36),
        (train, "one class", "5,025", 200),
        (test, "one class", "1,025", 40),
    ):
        assert paper_split(dataset, a=most, second_half=kind).n_users == 50
        with pytest.raises(InputError, match=rf"class 0 runs out: {needed} images needed, .* is {most}$"):
            paper_split(dataset, a=most + (2 if kind == "two classes" else 1), second_half=kind)


@few
@given(counts=st.lists(st.integers(0, 300), min_size=10, max_size=10), half=st.integers(1, 12))
def test_paper_split_largest_a_is_the_largest(counts, half):
    dataset = stand_in(np.maximum(counts, [1] + [0] * 9))
    with pytest.raises(InputError, match="runs out") as error:
        paper_split(dataset, n_users=2 * half, a=1000)
    words = str(error.value)
    if "no a fits" in words:
        with pytest.raises(InputError, match="runs out"):
            paper_split(dataset, n_users=2 * half, a=2)
        return
    most = int(words.rsplit(" ", 1)[1])
    paper_split(dataset, n_users=2 * half, a=most)
    with pytest.raises(InputError, match=f"is {most}$"):
        paper_split(dataset, n_users=2 * half, a=most + 2)


def test_paper_split_on_digits_at_the_scale_of_the_tests():
    train, test = paper_split_pair(digits("train"), digits("test"), n_users=10, a_train=60, a_test=12)
    assert np.array_equal(label_counts(train, 10), 5 * label_counts(test, 10))
    assert train.info["kind"] == test.info["kind"]
    assert train.name != test.name
    for fed, data, most in ((train, "train", 76), (test, "test", 14)):
        assert fed.scale == 1 / 255
        with pytest.raises(InputError, match=f"class 0 runs out: .* is {most}$"):
            paper_split(digits(data), n_users=10, a=80)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n_users": 5}, "n_users = 5: must be even.*half two; use 6"),
        ({"second_half": "none"}, "second_half = 'none': unknown; choose one of 'two classes', 'one class'"),
        ({"a": 7}, "a = 7: must be even.*use 6"),
        ({"a": 0}, "a = 0: must be a whole number >= 2"),
        ({"a": 2.0}, "a = 2.0: must be a whole number"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": "x"}, "seed = 'x'"),
    ],
)
def test_paper_split_refuses(keywords, message):
    with pytest.raises(InputError, match=message):
        paper_split(stand_in([100] * 10), **{"n_users": 4, "a": 2, **keywords})


def test_paper_split_needs_ten_classes():
    with pytest.raises(InputError, match="has 3 classes; the paper's split needs 10"):
        paper_split(stand_in([9, 9, 9]), n_users=2, a=2)


# -- Dirichlet ---------------------------------------------------------------------------------------------------------


@few
@given(counts=class_counts, n=st.integers(1, 6), concentration=st.floats(0.01, 1e6), data=st.data())
def test_dirichlet_over_classes(counts, n, concentration, data):
    dataset = stand_in(counts)
    if len(dataset) < n:
        with pytest.raises(InputError, match="use fewer users"):
            dirichlet(dataset, n_users=n, over="classes")
        return
    size = data.draw(st.none() | st.integers(1, len(dataset) // n))
    fed = dirichlet(dataset, n_users=n, concentration=concentration, size=size, over="classes")
    check_images(fed, dataset)
    assert set(fed.sizes) == {size or len(dataset) // n}


@few
@given(counts=class_counts, n=st.integers(1, 4), concentration=st.floats(0.5, 1e6), seed=st.integers(0, 99))
def test_dirichlet_over_users(counts, n, concentration, seed):
    dataset = stand_in([c + 20 for c in counts])
    fed = dirichlet(dataset, n_users=n, concentration=concentration, seed=seed)
    check_images(fed, dataset)
    assert len(fed.x) == len(dataset)  # every image is used
    half = dirichlet(dataset, n_users=n, concentration=concentration, size=len(dataset) // n // 2, seed=seed)
    assert len(half.x) == n * (len(dataset) // n // 2)


def test_dirichlet_knob():
    dataset = stand_in([600] * 10)
    for over in ("users", "classes"):
        equal = label_counts(dirichlet(dataset, n_users=5, concentration=1e6, over=over, size=400), 10)
        assert np.abs(equal - 40).max() <= (30 if over == "classes" else 12), over
        unlike = label_counts(
            dirichlet(
                dataset, n_users=5, concentration=1e-6 if over == "classes" else 0.01, over=over, size=400, seed=3
            ),
            10,
        )
        assert (
            (unlike.max(axis=0) / unlike.sum(axis=0)).min() > 0.5
            if over == "users"
            else (unlike > 0).sum(axis=1).max() <= 2
        )


def test_dirichlet_minimum_size():
    dataset = stand_in([100] * 3)
    assert dirichlet(dataset, n_users=4, concentration=1.0, min_size=30).sizes.min() >= 30
    with pytest.raises(
        InputError,
        match="concentration = 1e-06: none of 100 draws gave each of 10 users 1 images; use fewer users, a larger",
    ):
        dirichlet(dataset, n_users=10, concentration=1e-6)
    with pytest.raises(InputError, match="min_size = 31: must be at most 30"):
        dirichlet(dataset, n_users=10, min_size=31)
    with pytest.raises(InputError, match="n_users = 10 times size = 31 is 310 images; stand-in has 300"):
        dirichlet(dataset, n_users=10, size=31)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "x", None, True, 1e7, 10**400])
def test_dirichlet_concentration(value):
    with pytest.raises(InputError, match="concentration = .*must be a number from 1e-06 to 1e\\+06"):
        dirichlet(stand_in([9, 9]), concentration=value)


# -- shards, k classes -------------------------------------------------------------------------------------------------


@few
@given(counts=class_counts, n=st.integers(1, 8), each=st.integers(1, 3), seed=st.integers(0, 99))
def test_shards(counts, n, each, seed):
    dataset = stand_in(counts)
    if n * each > len(dataset):
        with pytest.raises(InputError, match=f"is {n * each} shards; stand-in has {len(dataset)} images"):
            shards(dataset, n_users=n, shards_per_user=each, seed=seed)
        return
    fed = shards(dataset, n_users=n, shards_per_user=each, seed=seed)
    check_images(fed, dataset)
    assert len(fed.x) == len(dataset)
    assert np.ptp(fed.sizes) <= each  # shards differ by one image at most
    if len(dataset) % (n * each) == 0:
        assert np.ptp(fed.sizes) == 0


def test_shards_of_the_original():
    fed = shards(
        stand_in([600] * 10), n_users=100, shards_per_user=2
    )  # each shard holds one class, as 60,000 / 200 does not quite
    assert set(fed.sizes) == {60}
    assert (label_counts(fed, 10) > 0).sum(axis=1).max() <= 2


@few
@given(counts=class_counts, n=st.integers(1, 8), data=st.data())
def test_k_classes(counts, n, data):
    dataset = stand_in(counts)
    present = np.flatnonzero(dataset.counts)
    k = data.draw(st.integers(1, len(present)))
    size = data.draw(st.none() | st.integers(k, 40))
    try:
        fed = k_classes(dataset, n_users=n, k=k, size=size)
    except InputError as error:
        assert "runs out" in str(error)  # noqa: PT017 - either way is right, and which is checked here
        users_per_class = -(-n * k // len(present))
        assert dataset.counts[present].min() < users_per_class * (1 if size is None else -(-size // k))
        return
    check_images(fed, dataset)
    got = label_counts(fed, dataset.n_classes)
    assert ((got > 0).sum(axis=1) == k).all()
    assert np.ptp((got > 0).sum(axis=0)[present]) <= 1
    assert [np.flatnonzero(row).tolist() for row in got] == fed.info["classes"]
    if size is not None:
        assert (got.sum(axis=1) == size).all()
        assert all(np.ptp(row[row > 0]) <= 1 for row in got)
    else:
        assert np.array_equal(got.sum(axis=0)[got.any(axis=0)], dataset.counts[got.any(axis=0)])


def test_k_classes_says_which_class_runs_out():
    dataset = stand_in([50, 8, 50])
    with pytest.raises(InputError, match=r"^class 1 runs out: 30 images needed, stand-in has 8; size = 4 fits$"):
        k_classes(dataset, n_users=6, k=1, size=15)
    assert k_classes(dataset, n_users=6, k=1, size=4).n_users == 6
    with pytest.raises(InputError, match="class 1 runs out: 9 images needed, stand-in has 8"):
        k_classes(dataset, n_users=9, k=3)
    with pytest.raises(InputError, match="k = 4: stand-in has images of 3 classes; use k <= 3"):
        k_classes(dataset, k=4)
    with pytest.raises(InputError, match="size = 1: must be a whole number >= 2"):
        k_classes(dataset, k=2, size=1)


# -- latent distributions ----------------------------------------------------------------------------------------------


def centred_blobs(counts, split="train", seed=0) -> Dataset:
    """Images about dark, middle and bright ones, in mixed order; the class is which, the last four pixels are noise."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    x = rng.integers(0, 30, (len(y), 8))
    x[:, :4] += 100 * y[:, None]
    return Dataset("blobs", x.astype(np.uint8), y, len(counts), (2, 4), split=split)


def principal(x, components: int):
    """Mean and principal components by a singular value decomposition of the images themselves."""
    mean = x.mean(axis=0)
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2][:components].T


@few
@given(
    counts=st.lists(st.integers(20, 60), min_size=2, max_size=5),
    k=st.integers(1, 3),
    each=st.integers(1, 2),
    size=st.none() | st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_latent(counts, k, each, size, seed):
    dataset = stand_in(counts)
    fed = latent(dataset, n_users=k * each, n_distributions=k, components=2, size=size, seed=seed)
    check_images(fed, dataset)
    assert fed.info["distribution"] == np.repeat(np.arange(k), each).tolist()
    by_cluster = fed.sizes.reshape(k, each)
    assert (np.ptp(by_cluster, axis=1) <= 1).all()
    if size is None:
        assert fed.sizes.sum() == len(dataset)  # every image once
    else:
        assert fed.sizes.max() <= size
        whole = latent(dataset, n_users=k * each, n_distributions=k, components=2, seed=seed)
        assert by_cluster.sum(axis=1).tolist() == np.minimum(each * size, whole.sizes.reshape(k, each).sum(1)).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_latent_finds_what_lies_apart(seed):
    train, test = centred_blobs([50, 30, 20]), centred_blobs([9, 8, 7], "test", seed=1)
    for components in (1, 3, 64):
        keywords = {"n_users": 6, "n_distributions": 3, "components": components, "seed": seed}
        feds = latent_pair(train, test, **keywords)
        for fed, counts in zip(feds, ([50, 30, 20], [9, 8, 7]), strict=True):
            found = np.array([set(user.labels.tolist()) for user in fed])
            assert all(len(labels) == 1 for labels in found)
            order = [labels.pop() for labels in found][::2]
            assert order in ([0, 1, 2], [2, 1, 0])  # along the first component
            assert fed.sizes.reshape(3, 2).sum(axis=1).tolist() == [counts[c] for c in order]
            assert fed.info["components"] == min(components, 8)
        assert feds[0].info["distribution"] == feds[1].info["distribution"] == [0, 0, 1, 1, 2, 2]
        alone = latent(train, **keywords)  # test images move nothing
        assert np.array_equal(alone.x, feds[0].x)
        assert alone.name == "blobs, latent distributions, n=6 of 3"


def test_latent_of_digits_against_a_second_reading():
    """Components by a singular value decomposition, clusters as means of what users have, nearest ones by distances.
    The smaller part is the one that finds the clusters: its decomposition takes less than a second.
    """
    train, test = digits("test"), digits("train")
    first, second = latent_pair(train, test)
    mean, axes = principal(train.x.astype(float), 64)
    z = [(fed.x - mean) @ axes for fed in (first, second)]
    owner = [np.array(fed.info["distribution"])[fed.owner] for fed in (first, second)]
    assert [len(rows) for rows in z] == [800, 4200]
    centres = np.stack([z[0][owner[0] == j].mean(axis=0) for j in range(5)])
    for rows, cluster in zip(z, owner, strict=True):
        square = np.square(rows[:, None] - centres).sum(axis=2)
        assert np.array_equal(square.argmin(axis=1), cluster)
    same = np.equal.outer(*[np.array(first.info["distribution"])] * 2)
    for fed, rows in zip((first, second), z, strict=True):
        means = np.stack([rows[fed.rows(i)].mean(axis=0) for i in range(15)])
        between = np.linalg.norm(means[:, None] - means, axis=2)
        assert between[same].max() < between[~same].min()
    purity = np.square(label_counts(first, 10) / first.sizes[:, None]).sum(axis=1)  # a tenth where labels are mixed
    assert purity.min() > 0.15


def test_latent_clusters_are_as_good_as_scipys():
    from scipy.cluster.vq import kmeans2, vq

    train = digits("test")
    fed = latent(train, n_users=5)
    mean, axes = principal(train.x.astype(float), 64)
    z = (fed.x - mean) @ axes
    ours = sum(np.square(z[rows] - z[rows].mean(axis=0)).sum() for rows in map(fed.rows, range(5)))
    rng = np.random.default_rng(0)
    theirs = min(
        np.square(vq(z, kmeans2(z, 5, iter=60, minit="++", seed=rng)[0])[1]).sum() for _ in range(10)
    )  # fixed numbers of steps
    assert ours < 1.001 * theirs


def test_latent_scatter_is_exact():
    module = importlib.import_module("pfl_theory.federations.latent")
    x = np.random.default_rng(0).integers(0, 256, (2 * module.CHUNK + 77, 9)).astype(np.uint8)
    x[:, 0] = 255
    mean, found = module._scatter(x)
    whole = x.astype(np.int64)
    total = whole.sum(axis=0)
    assert found.tolist() == (len(x) * (whole.T @ whole) - np.outer(total, total)).tolist()
    assert mean.tolist() == (total / len(x)).tolist()
    axes = module._axes(found, 4)
    assert np.allclose(np.abs(axes), np.abs(principal(x.astype(float), 4)[1]), rtol=0, atol=1e-8)
    assert (axes[np.abs(axes).argmax(axis=0), range(4)] > 0).all()


def test_latent_has_the_same_bits_with_more_threads():
    from threadpoolctl import threadpool_limits

    seen = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fed = latent(digits("test"), n_users=6, n_distributions=3)
            seen.append((fed.x.tobytes(), fed.offsets.tolist()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n_users": 7}, "n_users = 7: must be a multiple of n_distributions = 5, .*; use 10"),
        ({"n_users": 3}, "n_users = 3: must be a multiple of n_distributions = 5, .*; use 5"),
        ({"n_distributions": 0}, "n_distributions = 0: must be a whole number >= 1"),
        ({"components": 0}, "components = 0: must be a whole number >= 1"),
        ({"components": 2.5}, "components = 2.5: must be a whole number >= 1"),
        ({"size": 0}, "size = 0: must be a whole number >= 1"),
        ({"test_size": "x"}, "test_size = 'x': must be a whole number >= 1"),
        (
            {"n_users": 120, "n_distributions": 3},
            r"distribution \d has \d\d images of blobs for 40 users; use fewer users",
        ),
        ({"n_users": 30, "n_distributions": 3}, r"distribution \d has \d images of blobs test for 10 users; use fewer"),
    ],
)
def test_latent_refuses(keywords, message):
    with pytest.raises(InputError, match=f"^{message}") as error:
        latent_pair(centred_blobs([50, 30, 20]), centred_blobs([9, 8, 7], "test"), **keywords)
    assert "\n" not in str(error.value)


def test_latent_refuses_data_that_do_not_fit():
    one, nothing_else = centred_blobs([50]), np.zeros((20, 8), np.uint8)
    with pytest.raises(InputError, match="^blobs has 8 pixels an image and stand-in test 3; give two splits of one"):
        latent_pair(one, stand_in([20], "test"), n_users=2, n_distributions=2)
    same = Dataset("same", nothing_else, np.zeros(20, int), 1, (2, 4))
    with pytest.raises(InputError, match=r"^distribution \d has 0 images of same for 1 users"):
        latent(same, n_users=2, n_distributions=2)
    only_dark = centred_blobs([24], "test")
    with pytest.raises(InputError, match=r"^distribution \d has 0 images of blobs test for 2 users"):
        latent_pair(centred_blobs([50, 30, 20]), only_dark, n_users=6, n_distributions=3)


# -- the test federation of the same users -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [shards, k_classes, dirichlet, lambda d, n_users: paper_split(d, n_users=n_users, a=40)],
    ids=["shards", "k", "dir", "paper"],
)
def test_like_keeps_label_shares(make):
    train_data, test_data = stand_in([600] * 10), stand_in([110] * 10, "test")
    train = make(train_data, n_users=10)
    for size in (0.1, None):
        test = like(train, test_data, size=size)
        check_images(test, test_data)
        factor = test.info["size"]
        assert np.array_equal(test.sizes, np.maximum(1, np.rint(factor * train.sizes)))
        assert np.abs(label_counts(test, 10) - factor * label_counts(train, 10)).max() < 1.5
        assert (test.info["dataset_split"], test.info["split"]) == ("test", train.info["split"])
    assert label_counts(like(train, test_data), 10).sum(axis=0).max() >= 100  # about as large as fits


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_split_deals_every_row_once(sizes, share, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(m, 2)) for m in sizes]
    weights = [w / w.sum() for w in (rng.uniform(0.1, 1, m) for m in sizes)]
    fed = Federation.from_arrays(rows, [np.arange(m) for m in sizes], sample_weight=weights)
    if min(min(round(share * m), m - round(share * m)) for m in sizes) < 1:
        with pytest.raises(InputError, match="at least one row in either part"):
            fed.split(share, seed=seed)
        return
    train, test = fed.split(share, seed=seed)
    assert train.law == test.law == "sample"
    for i, m in enumerate(sizes):
        parts = train[i], test[i]
        assert len(parts[1].points) == round(share * m)
        labels = np.concatenate([part.labels for part in parts])
        assert np.array_equal(np.sort(labels), np.arange(m))
        for part in parts:
            assert np.array_equal(part.points, rows[i][part.labels])
            assert part.weights == pytest.approx(weights[i][part.labels] / weights[i][part.labels].sum())
    again = fed.split(share, seed=seed)
    assert all(np.array_equal(a.x, b.x) for a, b in zip((train, test), again, strict=True))


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, np.nan, "half", None, True])
def test_split_refuses(share):
    with pytest.raises(InputError, match="split: test"):
        Federation.from_arrays([np.arange(9.0)]).split(share)


def test_split_refuses_a_part_without_weight():
    fed = Federation.from_arrays([np.arange(2.0)], sample_weight=[np.array([1.0, 0.0])])
    with pytest.raises(InputError, match="have weight 0"):
        fed.split(0.5)


def test_like_refuses():
    train = shards(stand_in([60] * 4), n_users=4)
    with pytest.raises(
        InputError,
        match=r"class \d runs out: .* images needed, stand-in test has 5; size = 0.0833 is about the largest",
    ):
        like(train, stand_in([5] * 4, "test"), size=0.5)
    with pytest.raises(InputError, match="has no image of class 2"):
        like(train, stand_in([5, 5, 0, 5], "test"))
    with pytest.raises(InputError, match="label 3 of .* is no class of stand-in, 0 to 2"):
        like(train, stand_in([60] * 3))
    with pytest.raises(InputError, match="has no class labels"):
        like(location(), stand_in([60] * 3))
    for size in (0, -1, float("nan"), 1e300):
        with pytest.raises(InputError, match="size = "):
            like(train, stand_in([60] * 4), size=size)


# -- location ----------------------------------------------------------------------------------------------------------


@few
@given(
    n=st.integers(2, 12),
    d=st.integers(1, 5),
    knob=st.floats(0, 10),
    laws=st.sampled_from(["gaussian", "uniform", "signs"]),
)
def test_location_shared(n, d, knob, laws):
    fed = location(n_users=n, dim=d, size=7, heterogeneity=knob, laws=laws, shared=True)
    x = fed.x.reshape(n, 7, d)
    assert np.allclose(x - x[:1], (x - x[:1])[:, :1], atol=1e-12)  # exact translations
    means = x.mean(axis=1)
    assert np.isclose(((means - means.mean(axis=0)) ** 2).sum(axis=1).mean(), knob**2, atol=1e-12)
    assert fed.law == "exact"
    assert fed.y is None


def test_location_centres_and_noise():
    for n, d in ((1, 1), (2, 1), (5, 1), (2, 2), (7, 3)):
        centres = location(n_users=n, dim=d, size=1, noise=0.0).x
        assert np.allclose(centres.sum(axis=0), 0, atol=1e-14)
        assert np.isclose((centres**2).sum() / n, float(n > 1))
    same = location(heterogeneity=0.0, shared=True)
    assert all(np.array_equal(same[0].points, user.points) for user in same)
    for laws in ("gaussian", "uniform", "signs"):
        fed = location(n_users=2, size=20000, heterogeneity=0.0, noise=3.0, laws=laws, seed=5)
        assert fed.law == "sample"
        assert np.isclose(fed.x.std(), 3.0, rtol=0.02)  # 40,000 draws: two standard errors are 0.7 %
        assert not np.array_equal(fed[0].points, fed[1].points)
    # A user keeps its noise when others join.
    assert np.array_equal(location(n_users=2, heterogeneity=0.0).x, location(n_users=3, heterogeneity=0.0).x[:40])


@pytest.mark.parametrize(
    "keywords",
    [{"dim": 0}, {"size": 0}, {"heterogeneity": -1}, {"noise": float("nan")}, {"noise": "x"}, {"laws": "cauchy"}],
)
def test_location_refuses(keywords):
    (name,) = keywords
    with pytest.raises(InputError, match=f"^{name} = "):
        location(**keywords)


# -- concept shift -----------------------------------------------------------------------------------------------------


def test_gamma_g_witnesses():
    """Concept shift [theory 8.4]: logistic and softmax, the latter also with several features."""
    witness = concept_shift_from_laws([[1, 0], [0, 2]], [[0.9, 0.2], [0.3, 0.6]])
    assert concept_shift_gamma_G(witness) == pytest.approx(0.25, rel=1e-14)
    assert concept_shift_gamma_G(
        concept_shift_from_laws([2.0], [[[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]])
    ) == pytest.approx(2**0.5 * 0.7, rel=1e-14)
    # The same law by hand, rows in another order, rows of weight zero left out.
    arrays = Federation.from_arrays(
        [[[0, 2], [1, 0], [0, 2], [1, 0]], [[1, 0], [1, 0], [0, 2], [0, 2]]],
        [[1, 1, 0, 0], [0, 1, 0, 1]],
        sample_weight=[[0.1, 0.45, 0.4, 0.05], [0.35, 0.15, 0.2, 0.3]],
    )
    assert concept_shift_gamma_G(arrays) == pytest.approx(0.25, rel=1e-14)
    assert concept_shift_gamma_G(witness, n_classes=3) == pytest.approx(
        0.25 * 2**0.5, rel=1e-14
    )  # softmax on labels 0 and 1


@few
@given(
    n=st.integers(1, 5),
    d=st.integers(1, 4),
    size=st.integers(1, 6),
    k=st.integers(2, 4),
    shift=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_gamma_g_is_the_spread_of_gradients_at_every_w(n, d, size, k, shift, seed):
    fed = concept_shift(n_users=n, dim=d, size=size, shift=shift, n_classes=k, seed=seed)
    w = np.random.default_rng(seed).normal(size=(k, d)) * 3
    gradients = []
    for user in fed:
        x, y, mass = user.points, user.labels, user.weights
        if k == 2:
            gradients.append(((1 / (1 + np.exp(-x @ w[0])) - y) * mass) @ x)
        else:
            p = np.exp(x @ w.T - (x @ w.T).max(axis=1, keepdims=True))
            gradients.append(((p / p.sum(axis=1, keepdims=True) - np.eye(k)[y]) * mass[:, None]).T @ x)
    spread = np.array(gradients) - np.mean(gradients, axis=0)
    assert np.isclose(np.sqrt((spread**2).sum() / n), concept_shift_gamma_G(fed), atol=1e-12)
    whole = concept_shift_gamma_G(concept_shift(n_users=n, dim=d, size=size, shift=1.0, n_classes=k, seed=seed))
    assert np.isclose(concept_shift_gamma_G(fed), shift * whole, atol=1e-12)


def test_concept_shift_without_shift_is_one_user_many_times():
    fed = concept_shift(n_users=3, shift=0.0, n_classes=3)
    assert all(np.array_equal(fed[0].weights, user.weights) for user in fed)
    assert concept_shift_gamma_G(fed) == pytest.approx(0.0, abs=1e-15)


def test_concept_shift_refuses():
    with pytest.raises(InputError, match="shift = 1.5: must be a number from 0 to 1"):
        concept_shift(shift=1.5)
    with pytest.raises(InputError, match="n_classes = 1: must be a whole number >= 2"):
        concept_shift(n_classes=1)
    with pytest.raises(InputError, match="must be probabilities"):
        concept_shift_from_laws([1.0], [[1.5]])
    with pytest.raises(InputError, match="must sum to 1 over the classes"):
        concept_shift_from_laws([1.0], [[[0.5, 0.4]]])
    with pytest.raises(InputError, match=r"laws of shape \(1, 2\) for 1 features; give \(n, 1\)"):
        concept_shift_from_laws([1.0], [[0.5, 0.4]])
    with pytest.raises(InputError, match="weights sum to 2, not 1"):
        concept_shift_from_laws([1.0], [[0.5]], weights=[2.0])
    with pytest.raises(InputError, match="users give a feature probabilities that differ by 0.5"):
        concept_shift_gamma_G(Federation.from_arrays([[1.0, 2.0], [1.0, 1.0]], [[0, 1], [0, 1]]))
    with pytest.raises(InputError, match="no class labels"):
        concept_shift_gamma_G(location())
    with pytest.raises(InputError, match="labels run from 0 to 1; must be 0 to 0|n_classes = 1"):
        concept_shift_gamma_G(concept_shift(), n_classes=1)


# -- finite support ----------------------------------------------------------------------------------------------------


@few
@given(
    n=st.integers(1, 6),
    points=st.integers(1, 8),
    k=st.none() | st.integers(1, 3),
    weights=st.sampled_from(["random", "uniform"]),
    data=st.data(),
)
def test_finite_support(n, points, k, weights, data):
    most = data.draw(st.none() | st.integers(1, points))
    fed = finite_support(n_users=n, n_points=points, n_classes=k, max_size=most, weights=weights, seed=n)
    assert fed.sizes.max() <= (most or points)
    distinct, which = np.unique(fed.x, axis=0, return_inverse=True)
    assert len(distinct) <= points
    for i in range(n):
        assert len(np.unique(fed[i].points, axis=0)) == fed.sizes[i]  # each point once
        if weights == "uniform":
            assert np.array_equal(fed[i].weights, np.full(fed.sizes[i], 1 / fed.sizes[i]))
    if k is None:
        assert fed.y is None
    else:
        assert len({(int(p), int(label)) for p, label in zip(which.reshape(-1), fed.y, strict=True)}) == len(
            distinct
        )  # one label a point
        assert fed.y.max() < k


def test_finite_support_refuses():
    with pytest.raises(InputError, match="max_size = 7: must be at most n_points = 6"):
        finite_support(max_size=7)
    with pytest.raises(InputError, match="weights = 'equal': unknown; choose one of 'random', 'uniform'"):
        finite_support(weights="equal")
