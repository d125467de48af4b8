"""Which users: chosen by number or by a truth value each, named by a column, and what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from .measure import given_array, missing


def chosen_users(users: Any, n_users: int, what: str) -> NDArray:
    """Numbers of users, from numbers or from one truth value a user.

    Examples
    --------
    >>> chosen_users([True, False, True], 3, "users").tolist(), chosen_users([2, 0], 3, "users").tolist()
    ([0, 2], [2, 0])
    """
    advice = f"give a list of numbers 0 to {n_users - 1}, or {n_users} truth values"
    if not isinstance(users, np.ndarray) and np.iterable(users) and not isinstance(users, (str, bytes, dict)):
        users = list(users)
    chosen = given_array(users, what)
    require(
        chosen.ndim == 1,
        f"{what} = {users!r}; {advice}" if chosen.ndim == 0 else f"{what} of shape {chosen.shape}; {advice}",
    )
    require(chosen.size > 0, f"{what.split(':')[0]}: no users given")
    if chosen.dtype.kind == "b":
        require(len(chosen) == n_users, f"{what}: {len(chosen)} truth values for {n_users} users; {advice}")
        chosen = np.flatnonzero(chosen)
        require(chosen.size > 0, f"{what.split(':')[0]}: no users given")
    mixed = isinstance(users, list) and any(isinstance(u, (bool, np.bool_)) for u in users) and len(users) != n_users
    require(chosen.dtype.kind in "iu" and not mixed, f"{what} have dtype {chosen.dtype}; {advice}")
    chosen = chosen.astype(np.int64)
    require(
        bool(((chosen >= 0) & (chosen < n_users)).all()),
        f"{what} must be 0 to {n_users - 1}, got {chosen.min()} to {chosen.max()}",
    )
    return chosen


def codes_of_users(groups: Any, n_rows: int) -> tuple[list[Any], NDArray]:
    """Names of the users in sorted order, and the number of each row's user."""
    what = "from_arrays: groups"
    if not isinstance(groups, np.ndarray):  # text and NaN in one list would become the text "nan"
        entries = np.asarray(groups, dtype=object)
        require(
            not any(missing(v) for v in entries.ravel()),
            f"{what}: the user of a row is missing (None, NaN or NA); drop those rows, or name the user",
        )
        _one_kind(entries, what)
    given_array(groups if isinstance(groups, (np.ma.MaskedArray, list, tuple)) and not _whole(groups) else (), what)
    g = np.asarray(groups)
    require(g.shape == (n_rows,), f"from_arrays: {n_rows} rows but groups of shape {g.shape}; give one group a row")
    gone = (
        np.isnan(g)
        if g.dtype.kind in "fc"
        else np.isnat(g)
        if g.dtype.kind in "mM"
        else np.array([missing(v) for v in g], bool)
        if g.dtype.kind == "O"
        else np.zeros(len(g), bool)
    )
    require(
        not gone.any(),
        f"{what}: the user of row {int(np.argmax(gone))} is missing ({int(gone.sum())} rows in all); drop those rows, "
        "or name the user",
    )
    if g.dtype.kind == "O":
        _one_kind(g, what)
    try:
        names, codes = np.unique(g, return_inverse=True)
    except TypeError as error:
        raise InputError(f"{what}: names of users that have no order; make them all text or all numbers") from error
    return names.tolist(), codes.reshape(-1)


def _one_kind(names: NDArray, what: str) -> None:
    """Refuse text among other things: an array of both would make all of it text, and 1 the same user as "1"."""
    first: dict[type, Any] = {}
    for name in names.ravel():
        first.setdefault(next((kind for kind in (str, bytes) if isinstance(name, kind)), object), name)
    pair = list(first.values())[:2]
    require(
        len(first) < 2,
        f"{what}: names of users of several kinds, such as {' and '.join(map(repr, pair))}; make them all text or all "
        "numbers",
    )


def _whole(groups: Any) -> bool:
    """Whether all names are whole numbers: of any size, for they are only compared."""
    return all(isinstance(v, (int, np.integer)) for v in groups)


def of_users(info: Any, n_users: int, chosen: NDArray) -> Any:
    """What is known of the chosen users: every list with one entry a user, every table with one key a user."""
    names = info.get("users") if isinstance(info, dict) else None
    return _taken(info, n_users, chosen.tolist(), _keys(names, n_users))


def _keys(names: Any, n_users: int) -> list[Any] | None:
    good = isinstance(names, (list, tuple)) and len(names) == n_users and all(isinstance(v, (str, int)) for v in names)
    return list(names) if good and len(set(names)) == n_users else None


def _taken(value: Any, n_users: int, chosen: list[int], names: list[Any] | None) -> Any:
    if isinstance(value, dict):
        if names is not None and len(value) == n_users:
            for keys in (names, list(map(str, names))):
                if set(value) == set(keys):
                    return {keys[i]: value[keys[i]] for i in chosen}
        return {key: _taken(v, n_users, chosen, names) for key, v in value.items()}
    if isinstance(value, np.ndarray) and value.ndim and len(value) == n_users:
        return value[chosen]
    if isinstance(value, (list, tuple)) and len(value) == n_users:
        return type(value)([value[i] for i in chosen])
    return value


def pooled_users(info: Any, n_users: int) -> Any:
    """What is known of each user, as one entry: that of the one user who has all their rows."""
    if isinstance(info, dict):
        return {key: pooled_users(v, n_users) for key, v in info.items()}
    if isinstance(info, np.ndarray) and info.ndim and len(info) == n_users:
        return info[None]
    if isinstance(info, (list, tuple)) and len(info) == n_users:
        return [list(info)]
    return info
