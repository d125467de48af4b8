"""Constants of a problem: the loss's, reduced over users, and the heterogeneity constants gamma_G, gamma_H."""

from __future__ import annotations

import numpy as np

from ..constants import Constant
from ..federations.federation import Federation
from ..losses.loss import Loss
from ..losses.row_moments import user_rows
from ..rigour.norms import root_mean_square


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
    if loss.canonical_link and shared_features(fed):
        moments = [
            np.einsum("k,kc,kj->cj", pi, one_hot(y, fed), z)
            for z, pi, y in (user_rows(fed, i) for i in range(fed.n_users))
        ]
        away = np.stack(moments) - np.mean(moments, axis=0)
        if away.shape[1] == 2 and loss.dim(fed) == fed.n_features:  # logistic: only the moment of class 1 counts
            away = away[:, 1:]
        return {
            "gamma_G": Constant.exact(
                root_mean_square(away),
                "shared features: r.m.s. of ||E[(eta_i - eta) x]||, every w [theory 5.9]",
            ),
            "gamma_H": Constant.exact(0.0, "shared features: Hessians agree [theory 5.9]"),
        }
    b, curvature = c["B"], c["L"]
    gamma_g = (
        Constant.upper(np.sqrt((b.values**2).mean()), "law of total variance: at most the r.m.s. of B_i ")
        if b.usable
        else Constant.none(1, f"needs B ({b.reason})")
    )
    mean = curvature.values.mean()
    differences = np.maximum(curvature.values, mean) if loss.convex else curvature.values + mean
    return {
        "gamma_G": gamma_g,
        "gamma_H": Constant.upper(
            np.sqrt((differences**2).mean()), "from L_i" + (", convex users" if loss.convex else "")
        ),
    }


PER_USER = ("B", "L", "rho", "sigma_G", "sigma_H", "B_datum", "L_datum", "lip_gradient_z", "lip_hessian_z")
NAMES = {**dict.fromkeys(PER_USER, True), "gamma_G": False, "gamma_H": False}  # and whether there is one a user
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


def shared_features(fed: Federation) -> bool:
    """Whether all users have the same distribution of features, to the last digit (up to the order of rows)."""
    if fed.n_users * fed.n_features > 10_000_000 or fed.sizes.max() > 100_000:
        return False

    def features(i: int):  # type: ignore[no-untyped-def]
        x, pi, _ = user_rows(fed, i)
        points, where = np.unique(x, axis=0, return_inverse=True)
        return points, np.bincount(where.ravel(), pi)

    first, mass = features(0)
    for i in range(1, fed.n_users):
        if fed.sizes[i] < len(first):
            return False
        points, other = features(i)
        if not np.array_equal(points, first) or not np.array_equal(other, mass):
            return False
    return True
