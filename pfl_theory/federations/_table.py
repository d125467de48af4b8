"""Users from a table in a file, CSV or Parquet: text allowed for users and labels, and what is left out is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from .federation import Federation

ENDINGS = (".csv", ".tsv", ".parquet", ".pq")
SHOWN = 12  # names in a message
MANY = 50  # classes; more are rather targets


def from_table(
    path: str | os.PathLike[str], *, user: str, label: str | None = None, target: str | None = None, law: str = "sample"
) -> Federation:
    """A federation from a table with one row a datum: features are the numeric columns that are left.

    `info` holds the names of the users, the class of each label number, the features, and what was left out and why.
    """
    frame, name = _frame(Path(path)), Path(path).name
    require(
        label is None or target is None,
        f"{name}: label {label!r} and target {target!r}; a loss reads one of them, give only that",
    )
    for what, column in (("user", user), ("label", label), ("target", target)):
        if column is not None:
            columns = [str(c) for c in frame.columns]
            require(column in columns, f"{name}: no column {column!r} ({what}); it has {_listed(columns)}")
    users = frame[user]
    require(
        not users.isna().any(),
        f"{name}: the user of {int(users.isna().sum())} rows is missing in column {user!r}; drop those rows, or name "
        "the user",
    )
    require(len(frame) > 0, f"{name}: no rows")
    require(
        users.nunique() >= 2,
        f"{name}: column {user!r} names one user only ({users.iloc[0]!r}); give rows of two or more users",
    )
    y, classes = _read_y(frame, name, label, target)
    x, features, left_out = _features(frame, name, [c for c in (user, label, target) if c is not None])
    info = {"features": ", ".join(features), "left_out": left_out, "classes": classes}
    names = users.to_numpy() if users.dtype.kind in "iu" else users.astype(str).to_numpy(dtype=str)
    return Federation.from_arrays(x, y, groups=names, law=law, name=name, info=info)


def _frame(path: Path) -> Any:
    import pandas as pd

    require(path.is_file(), f"{path}: no such file; give a table ({', '.join(ENDINGS)}) or what Federation.save wrote")
    ending = path.suffix.lower()
    require(ending in ENDINGS, f"{path}: a table ends in {', '.join(ENDINGS)}; save it as one of these")
    try:
        if ending in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if ending == ".tsv" else ",")
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow, which is not installed; install it, or save a CSV") from error
    except (ValueError, OSError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not a readable table ({type(error).__name__}: {reason})") from error


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _read_y(frame: Any, name: str, label: str | None, target: str | None) -> tuple[NDArray | None, dict[str, str]]:
    """Classes as 0, 1, ... in sorted order, or targets as they are."""
    column = label if target is None else target
    if column is None:
        return None, {}
    values = frame[column]
    gone = int(values.isna().sum())
    require(gone == 0, f"{name}: {gone} rows have no value in column {column!r}; drop those rows, or fill them in")
    if target is not None:
        require(values.dtype.kind in "iufb", f"{name}: target {target!r} is no number; give classes as label")
        return values.to_numpy(dtype=np.float64), {}
    kinds = values if values.dtype.kind in "iufb" else values.astype(str)
    found, codes = np.unique(kinds.to_numpy(), return_inverse=True)
    require(
        len(found) >= 2,
        f"{name}: label column {label!r} has one class only ({found[0]!r}); a classifier needs two: name another "
        "column, or leave --label out",
    )
    real = kinds.dtype.kind == "f" and bool((found != np.rint(found)).any())
    require(
        not real or len(found) <= MANY,
        f"{name}: label column {label!r} has {len(found)} different real numbers; give real targets as target",
    )
    return codes.reshape(-1).astype(np.int64), {str(k): str(value) for k, value in enumerate(found.tolist())}


def _features(frame: Any, name: str, taken: list[str]) -> tuple[NDArray, list[str], dict[str, str]]:
    """The numeric columns that are left, as float64, and why each of the others is not among them."""
    columns, features, left_out = [], [], {}
    for k, column in enumerate(frame.columns):
        values = frame.iloc[:, k]
        if column in taken:
            continue
        if values.dtype.kind not in "iufb":
            left_out[str(column)] = "not a number"
        elif values.isna().any():
            left_out[str(column)] = f"{int(values.isna().sum())} values are missing"
        elif not np.isfinite(values.to_numpy(dtype=np.float64)).all():
            left_out[str(column)] = "a value is infinite"
        elif str(column).startswith("Unnamed: "):
            left_out[str(column)] = "a column without a name: row numbers"
        else:
            columns.append(values.to_numpy(dtype=np.float64))
            features.append(str(column))
    why = "; ".join(f"{column}: {reason}" for column, reason in left_out.items())
    require(len(columns) > 0, f"{name}: no numeric column is left for features{f' ({why})' if why else ''}")
    return np.column_stack(columns), features, left_out
