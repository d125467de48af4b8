"""Concept shift: users see the same features and label them by different laws."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ._making import real, stream, whole
from .federation import Federation
from .measure import checked_rows, checked_weights


def concept_shift(
    *, n_users: int = 10, dim: int = 2, size: int = 20, shift: float = 0.5, n_classes: int = 2, seed: int = 0
) -> Federation:
    """Users with common features, drawn once, and label laws ``(1 - shift) * common + shift * own``.

    The common law and each user's own are drawn uniformly from the simplex, independently at each feature. Each user
    has ``size * n_classes`` rows: feature j with label y has weight ``P_i(y | x_j) / size``. gamma_G of the logistic
    and softmax losses is then the same at every w, proportional to `shift`, and known exactly
    (:func:`concept_shift_gamma_G`); gamma_H is 0.

    Parameters
    ----------
    n_users, dim : int
        Users, dimension of the features.
    size : int
        Number of common features, standard normal, equally likely.
    shift : float
        From 0 (identical users) to 1.
    n_classes : int
    seed : int
        User i's own law does not depend on `n_users`.

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
    >>> fed = concept_shift(n_users=4, dim=2, size=5, shift=0.5)
    >>> fed.sizes.tolist()
    [10, 10, 10, 10]
    >>> double = concept_shift_gamma_G(concept_shift(n_users=4, dim=2, size=5, shift=1.0))
    >>> bool(np.isclose(double, 2 * concept_shift_gamma_G(fed)))
    True
    """
    n, d, m, k = (
        whole("n_users", n_users, 1),
        whole("dim", dim, 1),
        whole("size", size, 1),
        whole("n_classes", n_classes, 2),
    )
    t = real("shift", shift, 0.0, 1.0)
    features = stream(seed, "concept_shift/features").standard_normal((m, d))
    common = stream(seed, "concept_shift/common").dirichlet(np.ones(k), m)
    own = np.stack([stream(seed, "concept_shift/own", i).dirichlet(np.ones(k), m) for i in range(n)])
    info = {"shift": t, "n_classes": k, "seed": int(seed)}
    name = f"concept shift n={n} d={d} classes={k}, shift {t:g}"
    return _federation(features, (1.0 - t) * common + t * own, np.full(m, 1.0 / m), name, info)


def concept_shift_from_laws(features: ArrayLike, laws: ArrayLike, *, weights: ArrayLike | None = None) -> Federation:
    """Users with these common features and these label laws.

    Parameters
    ----------
    features : array_like, shape (m, d) or (m,)
        Common features.
    laws : array_like, shape (n, m) or (n, m, n_classes)
        P_i(y = 1 | x_j), or P_i(y | x_j).
    weights : array_like, shape (m,), optional
        Probabilities of the features, uniform when absent.

    Returns
    -------
    Federation
        Rows in the order (feature, label), ``law="exact"``.

    Raises
    ------
    InputError
        Shapes that do not fit, laws that are not probabilities.

    Examples
    --------
    >>> fed = concept_shift_from_laws([[1.0, 0.0], [0.0, 2.0]], [[0.9, 0.2], [0.3, 0.6]])
    >>> round(concept_shift_gamma_G(fed), 12)
    0.25
    """
    x = checked_rows(features, "concept_shift_from_laws")  # type: ignore[arg-type]
    eta = np.asarray(laws, dtype=np.float64)
    if eta.ndim == 2:
        eta = np.stack([1.0 - eta, eta], axis=-1)
    m = len(x)
    require(
        eta.ndim == 3 and eta.shape[1] == m and eta.shape[0] >= 1 and eta.shape[2] >= 2,
        f"concept_shift_from_laws: laws of shape {np.shape(laws)} for {m} features; give (n, {m}) or (n, {m}, "
        "n_classes)",
    )
    require(bool((eta >= 0).all()), "concept_shift_from_laws: laws must be probabilities from 0 to 1")
    require(
        bool((np.abs(eta.sum(axis=2) - 1.0) <= 1e-9).all()),
        "concept_shift_from_laws: the laws of every user must sum to 1 over the classes at every feature",
    )
    mu = np.full(m, 1.0 / m) if weights is None else checked_weights(np.asarray(weights), "concept_shift_from_laws")
    require(
        mu.shape == (m,), f"concept_shift_from_laws: {m} features but weights of shape {mu.shape}; give one a feature"
    )
    return _federation(x, eta, mu, f"concept shift by given laws n={len(eta)}", {"n_classes": int(eta.shape[2])})


def _federation(features: NDArray, eta: NDArray, mu: NDArray, name: str, info: dict) -> Federation:
    n, m, k = eta.shape
    return Federation(
        np.tile(np.repeat(features, k, axis=0), (n, 1)),
        np.tile(np.arange(k), n * m),
        (mu[:, None] * eta).reshape(-1),
        m * k * np.arange(n + 1),
        law="exact",
        name=name,
        info=info,
    )


def concept_shift_gamma_G(fed: Federation, *, n_classes: int | None = None) -> float:  # noqa: N802 - the symbol of the paper
    """The constant gamma_G of the logistic (two classes) or softmax loss on users that differ by their label laws only:
    exact, the same at every w.

    ``gamma_G^2 = (1/n) sum_i ||E[(eta_i - eta)(x) x]||^2`` for the logistic loss; for softmax with the matrix
    ``E[(eta_i - eta)(x) x^T]`` and its Frobenius norm. Softmax with two classes is sqrt(2) times logistic.
    Regularisation does not enter.

    Parameters
    ----------
    fed : Federation
        Users with equal feature laws and labels 0, 1, ...
    n_classes : int, optional
        Number of classes; by default that of the maker, else one more than the largest label.

    Returns
    -------
    float

    Raises
    ------
    InputError
        No class labels, or users whose feature laws differ: gamma_G then depends on w.

    Examples
    --------
    >>> fed = concept_shift_from_laws([[2.0]], [[[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]])
    >>> round(concept_shift_gamma_G(fed), 10)
    0.9899494937
    """
    y = fed.y
    require(y is not None and y.dtype.kind == "i", f"{fed.name}: no class labels; concept shift needs labels 0, 1, ...")
    assert y is not None
    k = (
        whole("n_classes", n_classes, 2)
        if n_classes is not None
        else max(2, int(fed.info.get("n_classes", 0)), int(y.max()) + 1)
    )
    require(
        int(y.min()) >= 0 and int(y.max()) < k,
        f"{fed.name}: labels run from {y.min()} to {y.max()}; must be 0 to {k - 1}",
    )
    _require_equal_features(fed)
    x = fed.x.astype(np.float64) * fed.scale
    moments = np.zeros((fed.n_users, k, x.shape[1]))  # E_i[onehot(y) x^T]
    np.add.at(moments, (fed.owner, y), fed.weights[:, None] * x)
    if k == 2:
        moments = moments[:, 1:]
    deviations = moments - moments.mean(axis=0)
    return math.sqrt(float((deviations**2).sum(axis=(1, 2)).mean()))


def _require_equal_features(fed: Federation) -> None:
    """Refuse unless all users give every feature the same probability (labels apart)."""
    _, which = np.unique(fed.x, axis=0, return_inverse=True)
    which = which.reshape(-1)
    mass = np.zeros((fed.n_users, int(which.max()) + 1))
    np.add.at(mass, (fed.owner, which), fed.weights)
    gap = float(np.abs(mass - mass[0]).max())
    require(
        gap <= 1e-9,
        f"{fed.name}: users give a feature probabilities that differ by {gap:.3g}; gamma_G is constant in w for "
        "equal feature laws only",
    )
