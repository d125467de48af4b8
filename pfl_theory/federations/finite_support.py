"""Random finite supports: users of unequal sizes on common points, for tests and searches."""

from __future__ import annotations

import numpy as np

from ..errors import one_of, require
from ._making import stream, whole
from .federation import Federation


def finite_support(
    *,
    n_users: int = 4,
    n_points: int = 6,
    dim: int = 2,
    n_classes: int | None = None,
    max_size: int | None = None,
    weights: str = "random",
    seed: int = 0,
) -> Federation:
    """Users on random subsets of common points, with random weights.

    User i has a random number, 1 to `max_size`, of the common points, each once. Supports of two users may overlap,
    contain each other or be disjoint: what distances between users have to cope with.

    Parameters
    ----------
    n_users : int
    n_points, dim : int
        Common points, standard normal.
    n_classes : int, optional
        Each common point has one label, drawn from 0 to ``n_classes - 1``. No labels when absent.
    max_size : int, optional
        Most points of a user; `n_points` when absent.
    weights : {"random", "uniform"}
        Drawn uniformly from the simplex, or equal.
    seed : int
        User i does not depend on `n_users`.

    Returns
    -------
    Federation
        The rows are the users' laws (``law="exact"``).

    Raises
    ------
    InputError
        Numbers out of range.

    Examples
    --------
    >>> fed = finite_support(n_users=3, n_points=5, dim=1, n_classes=2)
    >>> fed.n_users, bool((fed.sizes <= 5).all()), [round(float(user.weights.sum()), 9) for user in fed]
    (3, True, [1.0, 1.0, 1.0])
    """
    n, points, d = whole("n_users", n_users, 1), whole("n_points", n_points, 1), whole("dim", dim, 1)
    most = points if max_size is None else whole("max_size", max_size, 1)
    require(most <= points, f"max_size = {most}: must be at most n_points = {points}")
    k = None if n_classes is None else whole("n_classes", n_classes, 1)
    one_of("weights", weights, ("random", "uniform"))
    x = stream(seed, "finite_support/points").standard_normal((points, d))
    y = None if k is None else stream(seed, "finite_support/labels").integers(k, size=points)
    chosen, masses = [], []
    for i in range(n):
        generator = stream(seed, "finite_support/user", i)
        size = int(generator.integers(1, most + 1))
        chosen.append(generator.choice(points, size, replace=False))
        masses.append(generator.dirichlet(np.ones(size)) if weights == "random" else np.full(size, 1.0 / size))
    rows = np.concatenate(chosen)
    return Federation(
        x[rows],
        None if y is None else y[rows],
        np.concatenate(masses),
        np.concatenate([[0], np.cumsum([len(c) for c in chosen])]),
        law="exact",
        name=f"finite support n={n} points={points} d={d}",
        info={"n_points": points, "max_size": most, "weights": weights, "n_classes": k, "seed": int(seed)},
    )
