"""A location family with one knob: users are one law, moved."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import one_of
from ._making import real, stream, whole
from .federation import Federation

# Each has mean 0 and variance 1 per coordinate.
LAWS = {
    "gaussian": lambda generator, shape: generator.standard_normal(shape),
    "uniform": lambda generator, shape: generator.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape),
    "signs": lambda generator, shape: generator.choice([-1.0, 1.0], shape),
}


def location(
    *,
    n_users: int = 10,
    dim: int = 1,
    size: int = 20,
    heterogeneity: float = 1.0,
    noise: float = 1.0,
    laws: str = "gaussian",
    shared: bool = False,
    seed: int = 0,
) -> Federation:
    """Users ``z_ij = heterogeneity * c_i + noise * e_ij`` with centres c_i of mean 0 and mean square norm 1.

    The centres are not random: equally spaced on the line for ``dim = 1``, equally spaced on the unit circle of the
    first two coordinates otherwise, so that ``sum c_i = 0`` and ``(1/n) sum ||c_i||^2 = 1`` (a single user sits at 0).
    With ``shared=True`` all users have the same e_j: exact translations of each other, W1 between two users is
    ``heterogeneity * ||c_i - c_j||``, and gamma_G of the loss ``||w - z||^2 / 2`` is `heterogeneity`.

    Parameters
    ----------
    n_users, dim, size : int
        Users, dimension, points per user.
    heterogeneity : float
        The knob; 0 with ``shared=True`` gives identical users.
    noise : float
        Standard deviation of the noise per coordinate.
    laws : {"gaussian", "uniform", "signs"}
        Law of e_ij, with variance 1 per coordinate.
    shared : bool
        One noise sample for all users. The rows are then the users' laws (``law="exact"``), else samples of them.
    seed : int
        Of the noise; user i's does not depend on `n_users`.

    Returns
    -------
    Federation
        Without labels.

    Raises
    ------
    InputError
        Numbers out of range.

    Examples
    --------
    >>> fed = location(n_users=3, size=4, heterogeneity=2.0, shared=True)
    >>> [round(float(user.mean()[0] - fed[1].mean()[0]), 6) for user in fed]
    [-2.44949, 0.0, 2.44949]
    """
    n, d, m = whole("n_users", n_users, 1), whole("dim", dim, 1), whole("size", size, 1)
    knob, spread = real("heterogeneity", heterogeneity), real("noise", noise)
    one_of("laws", laws, tuple(LAWS))
    base = [LAWS[laws](stream(seed, "location", 0 if shared else 1 + i), (m, d)) for i in range(n)]
    x = np.concatenate([knob * centre + spread * e for centre, e in zip(_centres(n, d), base, strict=True)])
    info = {"heterogeneity": knob, "noise": spread, "laws": laws, "shared": bool(shared), "seed": int(seed)}
    return Federation(
        x,
        None,
        np.full(n * m, 1.0 / m),
        m * np.arange(n + 1),
        law="exact" if shared else "sample",
        name=f"location family n={n} d={d}, heterogeneity {knob:g}",
        info=info,
    )


def _centres(n: int, d: int) -> NDArray:
    """Centres, shape (n, d), of mean 0 and mean square norm 1."""
    centres = np.zeros((n, d))
    if n == 1:
        return centres
    if d == 1:
        centres[:, 0] = math.sqrt(3.0 / (n * n - 1.0)) * (2.0 * np.arange(n) - (n - 1))
    else:
        angle = 2.0 * np.pi * np.arange(n) / n
        centres[:, 0], centres[:, 1] = np.cos(angle), np.sin(angle)
    return centres
