"""The record of a run, as arrays and as a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """What was recorded.

    Attributes
    ----------
    w : ndarray, shape (d,)
        Last common model (last finite one of a run that diverged).
    w_users : ndarray, shape (n, d), or None
        One model a user, where the algorithm keeps them.
    status : str
        ``finished``, or ``diverged`` with the round in `diverged_at`.
    rounds : ndarray of int, shape (records,)
        Rounds k at which there is a record; w_k is the model before round k.
    records : dict of str to ndarray
        One array a quantity: (records,), or (records, n) for quantities per user, or (records, tau) for
        `local_gradient_norm2`.
    facts : dict
        Algorithm, seed and sizes, as plain data.
    """

    w: NDArray
    w_users: NDArray | None
    status: str
    rounds: NDArray
    records: dict[str, NDArray]
    facts: dict[str, Any] = field(default_factory=dict)
    diverged_at: int | None = None

    def frame(self) -> Any:
        """One row a record; quantities per user become their mean over users (all users count equally), per-step ones
        their mean over steps. Matrices of users by users are left out: they are in `records`.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        columns: dict[str, Any] = {"round": self.rounds}
        for name, values in self.records.items():
            if values.ndim <= 2:
                columns[name] = values if values.ndim == 1 else values.mean(1)
        return pd.DataFrame(columns)

    def user_frame(self) -> Any:
        """The last record per user, one row a user.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        last = {
            name: values[-1]
            for name, values in self.records.items()
            if values.ndim == 2 and name != "local_gradient_norm2"
        }
        n = len(next(iter(last.values()))) if last else 0
        return pd.DataFrame({"user": np.arange(n), **last})
