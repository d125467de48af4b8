"""Label shares drawn from a Dirichlet law: one number from nearly one class per user to nearly equal users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, one_of, require
from ._labels import assembled, dealt, shuffled_classes
from ._making import real, stream, whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset

# Draws before giving up: a split that fails so often is not the one that was asked for, conditioned a little, but
# another.
MAX_DRAWS = 100


def dirichlet(
    dataset: Dataset,
    *,
    n_users: int = 10,
    concentration: float = 0.5,
    size: int | None = None,
    over: str = "users",
    min_size: int = 1,
    seed: int = 0,
) -> Federation:
    """Users whose label shares come from a Dirichlet law.

    Two conventions of the literature share this name; say which one a number belongs to.

    - ``over="users"`` (Yurochkin et al. 2019; NIID-Bench): each *class* is shared out among the users by one draw from
      Dir(concentration, ..., concentration) over users. Users differ in labels and in size. The variant that stops
      giving to users who already have their share is not used. Redrawn until every user has `min_size` images.
    - ``over="classes"`` (Hsu et al. 2019): each *user* draws its class shares from Dir(concentration, ...,
      concentration) over classes and then `size` images by them. Users have equal size. When a class is used up, the
      user's other shares are scaled up, so that late users lean towards what is left.

    No image serves two users.

    Parameters
    ----------
    dataset : Dataset
    n_users : int
    concentration : float
        From 1e-6 to 1e6; small means unlike users.
    size : int, optional
        Images per user: the mean over users with ``over="users"``, each user's with ``over="classes"``. As many as
        there are when absent.
    over : {"users", "classes"}
    min_size : int
        Smallest number of images of a user.
    seed : int

    Returns
    -------
    Federation

    Raises
    ------
    InputError
        Too few images, or no draw gave every user `min_size` images.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> fed = dirichlet(digits(), n_users=5, concentration=0.5)
    >>> fed.n_users, int(fed.sizes.sum())
    (5, 4200)
    >>> dirichlet(digits(), n_users=3, concentration=0.1, size=100, over="classes").sizes.tolist()
    [100, 100, 100]
    """
    n, least = whole("n_users", n_users, 1), whole("min_size", min_size, 1)
    alpha = real("concentration", concentration, 1e-6, 1e6)
    one_of("over", over, ("users", "classes"))
    available = len(dataset)
    each = max(1, available // n) if size is None else whole("size", size, 1)
    require(
        n * each <= available,
        f"n_users = {n} times size = {each} is {n * each:,} images; {dataset.title} has {available:,}; use fewer "
        "users or a smaller size",
    )
    require(
        each >= least,
        f"min_size = {least}: must be at most {each}, the images per user; use more images or fewer users",
    )
    classes = shuffled_classes(dataset, seed, "dirichlet/order")
    if over == "users":
        kept = np.array([len(rows) for rows in classes])
        if size is not None:
            # The images that take part, so that together they are n * size; none is preferred.
            kept = stream(seed, "dirichlet/kept").multivariate_hypergeometric(kept, n * each)
        counts = _share_out_classes(kept, n, alpha, least, seed)
    else:
        counts = _fill_users(np.array([len(rows) for rows in classes]), n, alpha, each, seed)
    info = {
        "split": "dirichlet",
        "concentration": alpha,
        "over": over,
        "size": None if size is None else each,
        "seed": int(seed),
    }
    return assembled(dataset, dealt(classes, counts), f"Dirichlet({alpha:g}) over {over}, n={n}", info)


def _share_out_classes(kept: NDArray, n: int, alpha: float, least: int, seed: int) -> NDArray:
    """Counts (n, classes): each class cut at the cumulative shares of one draw over users."""
    for attempt in range(MAX_DRAWS):
        counts = np.zeros((n, len(kept)), dtype=np.int64)
        for c, m in enumerate(kept):
            shares = stream(seed, "dirichlet/users", attempt, c).dirichlet(np.full(n, alpha))
            cuts = np.concatenate([[0], (np.cumsum(shares)[:-1] * m).astype(np.int64), [m]])
            counts[:, c] = np.diff(np.minimum(cuts, m))
        if counts.sum(axis=1).min() >= least:
            return counts
    raise InputError(
        f"concentration = {alpha:g}: none of {MAX_DRAWS} draws gave each of {n} users {least} images; "
        "use fewer users, a larger concentration or over='classes'"
    )


def _fill_users(left: NDArray, n: int, alpha: float, each: int, seed: int) -> NDArray:
    """Counts (n, classes): each user draws `each` images by its own class shares, from what the users before it
    left.
    """
    left = left.copy()
    present = left > 0
    counts = np.zeros((n, len(left)), dtype=np.int64)
    for i in range(n):
        generator = stream(seed, "dirichlet/classes", i)
        shares = np.zeros(len(left))
        shares[present] = generator.dirichlet(np.full(int(present.sum()), alpha))
        missing = each
        while missing:  # every turn ends the user or empties a class, so it ends
            weights = np.where(left > 0, shares, 0.0)
            if weights.sum() <= 0:  # all the user's classes are used up: take what is left, in proportion
                weights = left.astype(np.float64)
            taken = np.minimum(generator.multinomial(missing, weights / weights.sum()), left)
            counts[i] += taken
            left -= taken
            missing -= int(taken.sum())
    return counts
