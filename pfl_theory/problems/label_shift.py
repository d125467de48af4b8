"""Label shift: gamma_G when users differ in how often they see each class, and in nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ..federations.classes import by_class
from .problem import Problem


def class_gradients(problem: Problem, w: ArrayLike) -> NDArray:
    """Mean gradient of each class at w over all users, shape (C, d): users are regrouped by label.

    Parameters
    ----------
    problem : Problem
        From a federation with class labels.
    w : array_like, shape (d,)

    Returns
    -------
    ndarray, shape (C, d)
        G_y = E grad l(w; z) given label y under the mixture of all users: under pure label shift the class's own.
        Classes in the order of :func:`~pfl_theory.federations.by_class`.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0], [2.0]], [[3.0]]], [[0, 1], [1]])
    >>> class_gradients(pfl.Problem(pfl.losses.Logistic(), fed), [0.0]).ravel().round(6).tolist()
    [0.5, -1.333333]
    """
    fed = problem.federation
    point = np.asarray(w, dtype=np.float64)
    require(point.shape == (problem.dim,), f"w has shape {point.shape}; give one common point, ({problem.dim},)")
    require(
        problem.loss.poolable(),
        f"class_gradients: users have a {problem.loss.name} of their own; it needs one loss for all users",
    )
    classes, _ = by_class(fed)
    return Problem(problem.loss, classes, problem.oracle.dtype).gradient(point)


def gamma_G_by_label_shift(class_gradients: ArrayLike, label_laws: ArrayLike) -> float:  # noqa: N802 - the paper's symbol
    """gamma_G(w) of users p_i = sum_y pi_i(y) q_y that share the laws q_y of the classes, exact: gamma_G^2 = <S, K>
    [theory 5.13].

    S = (1/n) sum (pi_i - pi)(pi_i - pi)^T is the covariance of the label laws over users, K the Gram matrix of the
    class gradients.

    Parameters
    ----------
    class_gradients : array_like, shape (C, d)
        G_y = E_{q_y} grad l(w; z).
    label_laws : array_like, shape (n, C)
        pi_i, rows that sum to 1: from :func:`~pfl_theory.federations.by_class`.

    Returns
    -------
    float
        gamma_G(w), not its square.

    Examples
    --------
    >>> round(gamma_G_by_label_shift([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]) ** 2, 12)
    0.5
    """
    gradients, laws = _checked_shift(class_gradients, label_laws)
    # rows of pi_i - pi sum to 0: taking out the mean gradient changes nothing and keeps digits
    away = (laws - laws.mean(0)) @ (gradients - gradients.mean(0))
    return float(np.sqrt((away**2).sum(1).mean()))


def label_shift_bound(class_gradients: ArrayLike, label_laws: ArrayLike) -> float:
    """Upper bound of gamma_G(w) under label shift: max ||G_y - G_y'|| times the r.m.s. of TV(pi_i, pi) [theory 5.13].

    Parameters
    ----------
    class_gradients, label_laws : array_like, shapes (C, d) and (n, C)
        As for :func:`gamma_G_by_label_shift`.

    Returns
    -------
    float

    Examples
    --------
    >>> label_shift_bound([[3.0], [-1.0]], [[1.0, 0.0], [0.0, 1.0]])  # two classes: attained
    2.0
    """
    gradients, laws = _checked_shift(class_gradients, label_laws)
    variation = np.abs(laws - laws.mean(0)).sum(1) / 2
    diameter = max(float(np.linalg.norm(gradients - g, axis=1).max()) for g in gradients)
    return diameter * float(np.sqrt((variation**2).mean()))


def _checked_shift(class_gradients: ArrayLike, label_laws: ArrayLike) -> tuple[NDArray, NDArray]:
    gradients, laws = np.asarray(class_gradients, dtype=np.float64), np.asarray(label_laws, dtype=np.float64)
    shapes = f"class_gradients has shape {gradients.shape} and label_laws {laws.shape}; give (C, d) and (n, C)"
    require(gradients.ndim == laws.ndim == 2 and laws.shape[1] == len(gradients) and laws.size > 0, shapes)
    require(bool(np.isfinite(gradients).all()), "class_gradients contain NaN or infinity")
    fine = bool((laws >= 0).all() and np.abs(laws.sum(1) - 1).max() <= 1e-9)
    require(fine, "label_laws: every row must be nonnegative and sum to 1")
    return gradients, laws
