"""Matching split, the same users on other images: each user's label shares applied to a second data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ._labels import assembled, check_enough, dealt, shuffled_classes
from ._making import real
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset


def like(federation: Federation, dataset: Dataset, *, size: float | None = None, seed: int = 0) -> Federation:
    """Matching split, the test federation of a training federation: user i has the label shares of user i, on images
    of `dataset`.

    A user with m images gets ``round(size * m)`` of the second data set, at least one, its label shares rounded to
    whole images by largest remainders. No image serves two users.

    Parameters
    ----------
    federation : Federation
        With class labels.
    dataset : Dataset
        Where the images come from: usually the test split.
    size : float, optional
        Images per image of `federation`: 0.1 gives 50 to a user with 500. About the largest that fits when absent.
    seed : int
        Which images of a class are drawn.

    Returns
    -------
    Federation

    Raises
    ------
    InputError
        No labels, labels that `dataset` lacks, or a class runs out.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> from pfl_theory.federations import shards
    >>> train = shards(digits("train"), n_users=10)
    >>> test = like(train, digits("test"), size=0.1)
    >>> test.sizes.tolist() == [42] * 10, set(test[3].labels) == set(train[3].labels)
    (True, True)
    """
    y = federation.y
    require(
        y is not None and y.dtype.kind == "i",
        f"like: {federation.name} has no class labels; it needs a federation made from labelled data",
    )
    assert y is not None
    high = int(y.max())
    require(
        int(y.min()) >= 0 and high < dataset.n_classes,
        f"like: label {high} of {federation.name} is no class of {dataset.title}, 0 to {dataset.n_classes - 1}",
    )
    wanted = np.zeros((federation.n_users, dataset.n_classes))  # images per user and class at size 1
    np.add.at(wanted, (federation.owner, y), federation.weights * np.repeat(federation.sizes, federation.sizes))
    asked = wanted.sum(axis=0)
    lacking = np.flatnonzero((asked > 0) & (dataset.counts == 0))
    require(
        not len(lacking),
        f"like: {dataset.title} has no image of class {lacking[0] if len(lacking) else ''}, which {federation.name} "
        "has",
    )
    largest = float((dataset.counts[asked > 0] / asked[asked > 0]).min())
    if size is not None:
        factor = real("size", size, 0.0, 1e6)
        require(factor > 0, f"size = {size!r}: must be positive; {largest:.3g} is about the largest that fits")
        counts = _rounded(wanted, factor)
    else:
        # Rounding may ask for an image too many at exactly the largest factor: step down until it fits.
        candidates = (largest * 0.97**step for step in range(100))
        factor, counts = next(
            ((f, c) for f in candidates if ((c := _rounded(wanted, f)).sum(axis=0) <= dataset.counts).all()),
            (largest, _rounded(wanted, largest)),
        )
    check_enough(dataset, counts.sum(axis=0), f"size = {largest:.3g} is about the largest that fits")
    rows = dealt(shuffled_classes(dataset, seed, "like"), counts)
    info = {**federation.info, "like": federation.name, "size": factor, "seed": int(seed)}
    return assembled(dataset, rows, f"label shares of [{federation.name}]", info)


def _rounded(wanted: NDArray, factor: float) -> NDArray:
    """`factor * wanted` in whole images: row sums rounded, at least 1, shared by largest remainders."""
    exact = wanted * factor
    totals = np.maximum(1, np.rint(exact.sum(axis=1))).astype(np.int64)
    exact *= (totals / exact.sum(axis=1))[:, None]
    # The nudge keeps 41.99999999 from counting as 41 with the largest remainder of all.
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(counts - exact, axis=1, kind="stable")
    for i, missing in enumerate(totals - counts.sum(axis=1)):
        counts[i, order[i, : max(0, missing)]] += 1
    return counts
