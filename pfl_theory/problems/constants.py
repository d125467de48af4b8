"""Constants of a problem: the loss's, reduced over users, and the heterogeneity constants gamma_G, gamma_H."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..federations.federation import Federation
from ..losses.loss import Loss
from ..losses.row_moments import user_rows
from ..rigour.norms import norms, root_mean_square
from ..rigour.rounding import UNIT


def heterogeneity(loss: Loss, fed: Federation, c: dict[str, Constant]) -> dict[str, Constant]:
    """gamma_G and gamma_H: exact where known in closed form, else proved upper bounds from B and L.

    - What the loss itself knows (:meth:`~pfl_theory.losses.loss.Loss.heterogeneity`).
    - A canonical link (logistic, softmax) on features all users share: gradient differences do not depend on w and
      Hessians agree [theory 5.9].
    - Else: the mean is the best centre, so (1/n) sum ||g_i - g||^2 <= (1/n) sum ||g_i||^2 <= (1/n) sum B_i^2; and a
      Hessian difference is at most max(L_i, mean L) in norm for convex users, L_i + mean L in general.
    """
    known = loss.heterogeneity(fed)
    if known:
        return known
    apart = unshared_mass(fed) if loss.canonical_link else None
    if apart is not None and apart <= ROUNDED_MASS:
        moments = [
            np.einsum("k,kc,kj->cj", pi, one_hot(y, fed), z)
            for z, pi, y in (user_rows(fed, i) for i in range(fed.n_users))
        ]
        away = np.stack(moments) - np.mean(moments, axis=0)
        if away.shape[1] == 2 and loss.dim(fed) == fed.n_features:  # logistic: only the moment of class 1 counts
            away = away[:, 1:]
        spread, labels = root_mean_square(away), "shared features: r.m.s. of ||E[(eta_i - eta) x]||, every w"
        if apart == 0:
            return {
                "gamma_G": Constant.exact(spread, f"{labels} [theory 5.9]"),
                "gamma_H": Constant.exact(0.0, "shared features: Hessians agree [theory 5.9]"),
            }
        largest = fed.scale * float(norms(fed.x).max())
        how = f"and their masses, which differ by {apart:.2g} [theory 5.9]"
        return {
            "gamma_G": Constant.upper(spread + apart * largest, f"{labels}, {how}"),
            "gamma_H": Constant.upper(apart * largest**2 / 2, f"shared features: Hessians agree, {how}"),
        }
    b, curvature = c["B"], c["L"]
    gamma_g, gamma_h = trivial_heterogeneity(b.values, curvature.values, convex=loss.convex)
    return {
        "gamma_G": Constant.upper(gamma_g, "law of total variance: at most the r.m.s. of B_i ")
        if b.usable
        else Constant.none(1, f"needs B ({b.reason})"),
        "gamma_H": Constant.upper(gamma_h, "from L_i" + (", convex users" if loss.convex else "")),
    }


def trivial_heterogeneity(B: NDArray, L: NDArray, *, convex: bool) -> tuple[float, float]:
    """Upper bounds of gamma_G and gamma_H from the users' B_i and L_i alone, shapes (n,).

    Examples
    --------
    >>> trivial_heterogeneity(np.array([3.0, 3.0]), np.array([1.0, 1.0]), convex=True)
    (3.0, 1.0)
    """
    mean = L.mean()
    differences = np.maximum(L, mean) if convex else L + mean
    return float(np.sqrt((B**2).mean())), float(np.sqrt((differences**2).mean()))


PER_USER = ("B", "L", "rho", "sigma_G", "sigma_H", "B_datum", "L_datum", "lip_gradient_z", "lip_hessian_z")
NAMES = {**dict.fromkeys(PER_USER, True), "gamma_G": False, "gamma_H": False}  # and whether there is one a user
ROUNDED_MASS = 1e-12  # what normalising and adding weights may put between masses that were meant to be equal
LEAST, MOST = 2.0**-250, 2.0**250  # of a user's largest number: fourth powers of it stay normal


def beyond_squares(fed: Federation) -> str | None:
    """Why no constant of these data can be trusted, or None: fourth powers of a user's rows underflow or overflow."""
    largest = [fed.scale * float(np.abs(fed.x[fed.rows(i)]).max()) for i in range(fed.n_users)]
    for i, size in enumerate(largest):
        if size and not LEAST <= size <= MOST:
            return f"rows of user {i} reach {size:.3g}, whose fourth power floats do not hold: use another unit of data"
    return None


def one_hot(y, fed: Federation):  # type: ignore[no-untyped-def]
    """Labels as unit vectors over the federation's classes."""
    assert fed.y is not None
    return np.eye(int(fed.y.max()) + 1 if fed.y.max() > 0 else 2)[y.astype(np.int64)]


def unshared_mass(fed: Federation) -> float | None:
    """By how much the users' laws of features differ, where all have the same points: the largest sum over points of
    what a user's mass is away from the average. None where points differ, or where there are too many to compare.
    """
    if fed.n_users * fed.n_features > 10_000_000 or fed.sizes.max() > 100_000:
        return None
    masses, first = [], None
    for i in range(fed.n_users):
        x, pi, _ = user_rows(fed, i)
        if first is not None and len(x) < len(first):
            return None
        points, where = np.unique(x, axis=0, return_inverse=True)
        first = points if first is None else first
        if not np.array_equal(points, first):
            return None
        masses.append(np.bincount(where.ravel(), pi))
    if all(np.array_equal(mass, masses[0]) for mass in masses):
        return 0.0  # the mean of equal numbers may be off by a rounding
    away = np.abs(np.stack(masses) - np.mean(masses, axis=0)).sum(1).max()
    return float(away) + (len(masses) + 8) * UNIT
