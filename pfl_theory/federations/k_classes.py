"""Every user sees exactly k classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ._labels import assembled, check_enough, dealt, shuffled_classes
from ._making import stream, whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset


def k_classes(dataset: Dataset, *, n_users: int = 10, k: int = 2, size: int | None = None, seed: int = 0) -> Federation:
    """Users with images of exactly `k` classes each.

    Classes are dealt so that all serve the same number of users, or one more. No image serves two users.

    Parameters
    ----------
    dataset : Dataset
    n_users : int
    k : int
        Classes per user.
    size : int, optional
        Images per user, the same number of each class (the user's lower classes have one more where `k` does not divide
        it). When absent, each class is shared out evenly among its users, to the last image.
    seed : int
        Who gets which classes and images.

    Returns
    -------
    Federation
        ``info["classes"]`` lists each user's classes.

    Raises
    ------
    InputError
        More classes asked for than there are, or a class runs out.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> fed = k_classes(digits(), n_users=10, k=2, size=50)
    >>> [len(np.unique(user.labels)) for user in fed] == [2] * 10, set(fed.sizes.tolist())
    (True, {50})
    """
    n, k = whole("n_users", n_users, 1), whole("k", k, 1)
    present = np.flatnonzero(dataset.counts)
    require(
        k <= len(present), f"k = {k}: {dataset.title} has images of {len(present)} classes; use k <= {len(present)}"
    )
    serves = _dealt_classes(n, k, present, dataset.n_classes, seed)
    users_of = serves.sum(axis=0)
    # rank[i, c]: how many users before i have class c
    rank = np.cumsum(serves, axis=0) - serves
    if size is None:
        check_enough(dataset, users_of, f"each of its users needs one; use fewer than {n} users or a smaller k")
        parts = np.maximum(users_of, 1)
        counts = np.where(serves, dataset.counts // parts + (rank < dataset.counts % parts), 0)
    else:
        each = whole("size", size, k)
        place = np.cumsum(serves, axis=1) - 1  # of class c among the classes of user i
        counts = np.where(serves, each // k + (place < each % k), 0)
        fits = k * int((dataset.counts[present] // np.maximum(users_of[present], 1)).min())
        check_enough(dataset, counts.sum(axis=0), f"size = {fits} fits" if fits else "use fewer users")
    info = {
        "split": "k_classes",
        "k": k,
        "size": size,
        "classes": [np.flatnonzero(row).tolist() for row in serves],
        "seed": int(seed),
    }
    return assembled(
        dataset, dealt(shuffled_classes(dataset, seed, "k_classes/order"), counts), f"{k} classes a user, n={n}", info
    )


def _dealt_classes(n: int, k: int, present: NDArray, n_classes: int, seed: int) -> NDArray:
    """Which classes user i has, shape (n, n_classes): each user takes those that serve fewest so far, ties broken at
    random.
    """
    serves = np.zeros((n, n_classes), dtype=bool)
    used = np.zeros(len(present), dtype=np.int64)
    for i in range(n):
        shuffled = stream(seed, "k_classes", i).permutation(len(present))
        chosen = shuffled[np.argsort(used[shuffled], kind="stable")[:k]]
        used[chosen] += 1
        serves[i, present[chosen]] = True
    return serves
