"""A constant of the theory: its value per user, and how it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError, require

HOW = ("exact", "upper", "lower", "none")


@dataclass(frozen=True)
class Constant:
    """A constant per user with its standing.

    Attributes
    ----------
    values : ndarray, shape (n_users,)
        One value a user; infinite where there is none.
    how : {"exact", "upper", "lower", "none"}
        ``exact``: the supremum itself (attained or not); ``upper``: a proved upper bound; ``lower``: found by search;
        ``none``: no finite value, `reason` says why. Only ``exact`` and ``upper`` may enter a right-hand side or a
        hypothesis.
    reason : str
        Which formula, from where; for ``none`` why, and what to give to get one.

    Examples
    --------
    >>> Constant.exact([1.0, 3.0], "largest eigenvalue").max()
    3.0
    >>> Constant.none(2, "grows linearly; give radius=").usable
    False
    """

    values: NDArray
    how: str
    reason: str

    @classmethod
    def exact(cls, values: ArrayLike, reason: str) -> Constant:
        """The supremum itself."""
        return cls(np.atleast_1d(np.asarray(values, dtype=np.float64)), "exact", reason)

    @classmethod
    def upper(cls, values: ArrayLike, reason: str) -> Constant:
        """A proved upper bound."""
        return cls(np.atleast_1d(np.asarray(values, dtype=np.float64)), "upper", reason)

    @classmethod
    def lower(cls, values: ArrayLike, reason: str) -> Constant:
        """A value found by search: the constant is at least this."""
        return cls(np.atleast_1d(np.asarray(values, dtype=np.float64)), "lower", reason)

    @classmethod
    def none(cls, n_users: int, reason: str) -> Constant:
        """No finite value."""
        return cls(np.full(n_users, np.inf), "none", reason)

    def __post_init__(self) -> None:
        require(self.how in HOW, f"Constant: how = {self.how!r}; choose one of {', '.join(map(repr, HOW))}")
        require(not np.isnan(self.values).any(), "Constant: a value is NaN")

    @property
    def usable(self) -> bool:
        """Whether a bound may use it: exact or a proved upper bound, and finite."""
        return self.how in ("exact", "upper") and bool(np.isfinite(self.values).all())

    def max(self) -> float:
        """Largest value over users."""
        return float(self.values.max())

    def bound(self, name: str) -> float:
        """Largest value over users, for use in a bound; an error if it may not be used there."""
        if not self.usable:
            raise InputError(
                f"{name} is not known from above ({self.how}: {self.reason}); a bound needs an exact value or a "
                "proved upper bound"
            )
        return self.max()

    def on_ball(self, radius: float) -> Constant:
        """This constant of the whole space, read on a ball: what is exact there is an upper bound, 0 apart."""
        if self.how != "exact" or not self.values.any():
            return self
        return Constant(self.values, "upper", f"{self.reason}; that is for all w: an upper bound on a ball")

    def plus(self, other: ArrayLike, reason: str, how: str | None = None) -> Constant:
        """This constant with `other` added, e.g. a penalty's share."""
        return Constant(self.values + np.asarray(other, dtype=np.float64), how or self.how, f"{self.reason}; {reason}")
