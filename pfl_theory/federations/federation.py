"""The users' distributions, stored flat: rows of all users one after the other, with offsets."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, require
from ._making import real, stream
from ._users import chosen_users, codes_of_users, of_users, pooled_users
from .measure import Measure, checked_labels, checked_rows, checked_weights, given_array, missing

LAWS = ("exact", "sample")
FORMAT = 1  # of files
FIELDS = {"scale", "law", "name", "info"}


@dataclass(frozen=True, eq=False)
class Federation:
    """n users, each with a finite distribution over its own rows.

    Build one with :meth:`from_arrays`, :meth:`from_frame` or a maker of this package (``paper_split``, ``dirichlet``,
    ...).

    Attributes
    ----------
    x : ndarray, shape (N, p)
        Rows of all users in the dtype they came with; the value of a feature is ``x * scale``.
    y : ndarray, shape (N,), or None
        Labels (integers) or targets (floats).
    weights : ndarray, shape (N,)
        Probability of each row inside its user: each user's weights sum to 1.
    offsets : ndarray, shape (n_users + 1,)
        User i owns rows ``offsets[i]:offsets[i + 1]``.
    scale : float
        Factor from stored to real features (1/255 for 8-bit pixels).
    law : {"exact", "sample"}
        Whether the rows *are* the user's distribution or a sample of it. Expectations are exact sums over the rows
        either way; distances read differently.
    name : str
        Where the rows come from; stands in titles and tables.
    info : dict
        Plain facts about the making (split, a, kinds of user ...), JSON-able. A list with one entry a user, under any
        key, follows the users through `select` and `pooled`.

    Examples
    --------
    >>> fed = Federation.from_arrays([[[0.0], [1.0]], [[2.0]]])
    >>> fed.n_users, fed.sizes.tolist(), float(fed.mixture().mean()[0])
    (2, [2, 1], 1.25)
    """

    x: NDArray
    y: NDArray | None
    weights: NDArray
    offsets: NDArray
    scale: float = 1.0
    law: str = "exact"
    name: str = "arrays"
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        x = checked_rows(self.x, "Federation")
        n_rows = len(x)
        offsets = np.ascontiguousarray(self.offsets, dtype=np.int64)
        require(offsets.ndim == 1 and len(offsets) >= 2, "Federation: no users; give at least one")
        require(
            offsets[0] == 0 and offsets[-1] == n_rows,
            f"Federation: offsets run from {offsets[0]} to {offsets[-1]} but there are {n_rows} rows",
        )
        sizes = np.diff(offsets)
        empty = np.flatnonzero(sizes <= 0)
        require(
            not len(empty),
            f"Federation: user {empty[0] if len(empty) else ''} has no data ({len(empty)} of {len(sizes)} users are "
            "empty); drop them",
        )
        weights = np.asarray(given_array(self.weights, "Federation: weights"), dtype=np.float64)
        require(
            weights.shape == (n_rows,),
            f"Federation: {n_rows} rows but weights of shape {weights.shape}; give one weight a row",
        )
        sums = np.add.reduceat(weights, offsets[:-1])
        worst = int(np.argmax(np.abs(sums - 1.0)))
        require(bool(np.isfinite(sums).all()), "Federation: weights contain NaN or infinity; drop those rows")
        require(
            abs(sums[worst] - 1.0) <= 1e-9,
            f"Federation: the weights of user {worst} sum to {sums[worst]:.12g}, not 1; divide them by their sum",
        )
        require(
            bool((weights >= 0).all()), f"Federation: the smallest weight is {weights.min():g}; weights must be >= 0"
        )
        require(
            np.isfinite(self.scale) and self.scale > 0, f"Federation: scale = {self.scale}; must be a positive number"
        )
        require(self.law in LAWS, f"Federation: law = {self.law!r}; choose one of {', '.join(map(repr, LAWS))}")
        y = self.y
        if y is not None:
            y = checked_labels(y, "Federation")
            require(
                y.shape == (n_rows,), f"Federation: {n_rows} rows but labels of shape {y.shape}; give one label a row"
            )
            require(
                y.dtype.kind in "uifb",
                f"Federation: labels have dtype {y.dtype}; give integers (classes) or floats (targets)",
            )
            if y.dtype.kind == "f":
                require(bool(np.isfinite(y).all()), "Federation: labels contain NaN or infinity; drop those rows")
            else:
                y = y.astype(np.int64)
        for key, value in (
            ("x", x),
            ("y", y),
            ("weights", np.ascontiguousarray(weights)),
            ("offsets", offsets),
            ("scale", float(self.scale)),
        ):
            object.__setattr__(self, key, value)

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def n_users(self) -> int:
        """Number of users n."""
        return len(self.offsets) - 1

    @property
    def n_features(self) -> int:
        """Number of features p of a row."""
        return int(self.x.shape[1])

    @property
    def sizes(self) -> NDArray:
        """Rows per user, shape (n_users,)."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> NDArray:
        """User of each row, shape (N,)."""
        return np.repeat(np.arange(self.n_users), self.sizes)

    def __len__(self) -> int:
        return self.n_users

    def rows(self, i: int) -> slice:
        """The rows of user `i`."""
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def __getitem__(self, i: int) -> Measure:
        n = self.n_users
        require(
            isinstance(i, (int, np.integer)) and not isinstance(i, (bool, np.bool_)),
            f"federation[{i!r}]: give the number of one user, 0 to {n - 1}; several users by select",
        )
        if not -n <= i < n:
            raise IndexError(f"user {i}: this federation has users 0 to {n - 1}")
        rows = self.rows(i % n)
        return Measure(
            self.x[rows] * self.scale if self.scale != 1.0 else self.x[rows],
            None if self.y is None else self.y[rows],
            self.weights[rows],
        )

    def __iter__(self) -> Iterator[Measure]:
        return (self[i] for i in range(self.n_users))

    def mixture(self) -> Measure:
        """The average p = (1/n) sum_i p_i, one point a row (equal points are not merged)."""
        return Measure(self.x * self.scale if self.scale != 1.0 else self.x, self.y, self.weights / self.n_users)

    def pooled(self) -> Federation:
        """One user whose distribution is the mixture: what centralised training sees. What `info` says of each user
        stands there as one list.
        """
        return replace(
            self,
            weights=self.weights / self.n_users,
            offsets=np.array([0, len(self.x)]),
            name=f"{self.name}, pooled",
            info=pooled_users(self.info, self.n_users),
        )

    def select(self, users: Sequence[int] | NDArray) -> Federation:
        """The federation of these users, in this order, and what `info` says of them.

        Parameters
        ----------
        users : sequence of int, or one truth value a user

        Examples
        --------
        >>> fed = Federation.from_arrays([1.0, 2.0, 5.0], groups=["ann", "bob", "cyd"])
        >>> fed.select([2, 0]).info["users"], fed.select([False, True, False]).info["users"]
        (['cyd', 'ann'], ['bob'])
        """
        chosen = chosen_users(users, self.n_users, "select: users")
        rows = np.concatenate([np.arange(self.offsets[i], self.offsets[i + 1]) for i in chosen])
        offsets = np.concatenate([[0], np.cumsum(self.sizes[chosen])])
        return replace(
            self,
            x=self.x[rows],
            y=None if self.y is None else self.y[rows],
            weights=self.weights[rows],
            offsets=offsets,
            info=of_users(self.info, self.n_users, chosen),
        )

    def split(self, test: float = 0.2, *, seed: int = 0) -> tuple[Federation, Federation]:
        """Every user's rows cut at random in two: what it trains on, and the share `test` of them, held out.

        Parameters
        ----------
        test : float
            Share of a user's rows, rounded to whole rows; strictly between 0 and 1.
        seed : int
            Which rows.

        Returns
        -------
        tuple of Federation
            The same users twice, rows in their order here; weights keep their ratios and sum to 1 again. Either part
            is a sample of the user's distribution (``law``).

        Raises
        ------
        InputError
            A user has so few rows that one part would be empty, or have no weight.

        Examples
        --------
        >>> fed = Federation.from_arrays([np.arange(10.0), np.arange(5.0)])
        >>> train, test = fed.split(test=0.2)
        >>> train.sizes.tolist(), test.sizes.tolist()
        ([8, 4], [2, 1])
        """
        share = real("split: test", test)
        require(0 < share < 1, f"split: test = {test!r}: must be strictly between 0 and 1")
        held = np.round(share * self.sizes).astype(np.int64)
        few = int(np.argmin(np.minimum(held, self.sizes - held)))
        require(
            1 <= held[few] < self.sizes[few],
            f"split: user {few} has {self.sizes[few]} rows, of which {share:g} are {held[few]}; each user needs at "
            "least one row in either part: give it more, or another share",
        )
        cut = np.ones(len(self.x), dtype=bool)  # which rows stay
        for i in range(self.n_users):
            cut[self.offsets[i] + stream(seed, "split", i).permutation(self.sizes[i])[: held[i]]] = False
        return self._where(cut), self._where(~cut)

    def _where(self, kept: NDArray) -> Federation:
        """Some rows of every user, their weights divided by their sum."""
        sizes = np.add.reduceat(kept, self.offsets[:-1])
        total = np.add.reduceat(np.where(kept, self.weights, 0.0), self.offsets[:-1])
        require(
            bool((total > 0).all()),
            f"split: all rows of user {int(np.argmin(total))} in one part have weight 0; drop rows of weight 0 first",
        )
        return replace(
            self,
            x=self.x[kept],
            y=None if self.y is None else self.y[kept],
            weights=self.weights[kept] / np.repeat(total, sizes),
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            law="sample",
        )

    # -- making ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike | Sequence[ArrayLike],
        y: ArrayLike | Sequence[ArrayLike] | None = None,
        *,
        sample_weight: ArrayLike | Sequence[ArrayLike] | None = None,
        groups: ArrayLike | None = None,
        scale: float = 1.0,
        law: str = "exact",
        name: str = "arrays",
        info: dict[str, Any] | None = None,
    ) -> Federation:
        """A federation from one array per user, or from one array with `groups` naming each row's user.

        Parameters
        ----------
        X : list of array_like, each (m_i, p) or (m_i,); or one array (N, p) with `groups`
            Features.
        y : list of array_like, each (m_i,); or one array (N,), optional
            Labels 0, 1, ... or real targets.
        sample_weight : list of array_like, each (m_i,); or one array (N,), optional
            Probabilities that sum to 1 inside every user; uniform when absent.
        groups : array_like, shape (N,), optional
            User of each row; users are numbered by the sorted order of the distinct values.

        Raises
        ------
        InputError
            Empty users, NaN or infinite data, lengths that differ, weights that do not sum to 1.

        Examples
        --------
        >>> fed = Federation.from_arrays([[1.0], [2.0], [5.0]], [0, 1, 1], groups=["ann", "bob", "ann"])
        >>> fed.sizes.tolist(), fed.info["users"]
        ([2, 1], ['ann', 'bob'])
        """
        info = dict(info or {})
        if groups is not None:
            x = checked_rows(X, "from_arrays")  # type: ignore[arg-type]
            names, codes = codes_of_users(groups, len(x))
            order = np.argsort(codes, kind="stable")
            cuts = np.cumsum(np.bincount(codes))[:-1]

            def cut(values: Any, what: str) -> list[NDArray] | None:
                if values is None:
                    return None
                v = given_array(values, f"from_arrays: {what}")
                require(v.shape == (len(x),), f"from_arrays: {len(x)} rows but {what} of shape {v.shape}")
                return np.split(v[order], cuts)

            info.setdefault("users", names)
            return cls.from_arrays(
                np.split(x[order], cuts),
                cut(y, "y"),
                sample_weight=cut(sample_weight, "sample_weight"),
                scale=scale,
                law=law,
                name=name,
                info=info,
            )

        table = hasattr(X, "columns") or (isinstance(X, np.ndarray) and X.dtype != object and X.ndim <= 2)
        require(
            not table,
            f"from_arrays: one array of shape {getattr(X, 'shape', None)} and no groups; give groups=, the user of "
            "each row, or a list with one array per user",
        )
        require(np.iterable(X), f"from_arrays: {type(X).__name__}; give a list with one array per user")
        require(not _hides(X), "from_arrays: some values are masked; drop those rows, or fill them in")
        users = [checked_rows(u, f"from_arrays: user {i}") for i, u in enumerate(X)]  # type: ignore[arg-type]
        require(len(users) > 0, "from_arrays: no users; give a list with one array per user, or one array with groups=")
        for i, u in enumerate(users):
            require(len(u) > 0, f"from_arrays: user {i} has no data; drop it")
            require(
                u.shape[1] == users[0].shape[1],
                f"from_arrays: user {i} has {u.shape[1]} features, user 0 has {users[0].shape[1]}; they must agree",
            )

        def joined(values: Any, what: str) -> NDArray | None:
            if values is None:
                return None
            parts = [given_array(v, f"from_arrays: {what}") for v in values]
            require(
                len(parts) == len(users),
                f"from_arrays: {len(users)} users but {what} for {len(parts)}; give one array per user",
            )
            for i, (u, v) in enumerate(zip(users, parts, strict=True)):
                require(v.shape == (len(u),), f"from_arrays: user {i} has {len(u)} rows but {what} of shape {v.shape}")
            if all(v.dtype.kind in "uib" for v in parts):  # classes stay whole numbers, whatever their dtypes
                parts = [v.astype(np.int64) for v in parts]
            return np.concatenate(parts)

        weights = joined(sample_weight, "sample_weight")
        if weights is None:
            weights = np.concatenate([np.full(len(u), 1.0 / len(u)) for u in users])
        else:
            start = 0
            for i, u in enumerate(users):
                checked_weights(weights[start : start + len(u)], f"from_arrays: user {i}")
                start += len(u)
        offsets = np.concatenate([[0], np.cumsum([len(u) for u in users])])
        return cls(np.concatenate(users), joined(y, "y"), weights, offsets, scale, law, name, info)

    @classmethod
    def from_frame(
        cls, frame: Any, *, user: str, label: str | None = None, features: Sequence[str] | None = None, **keywords: Any
    ) -> Federation:
        """A federation from a data frame with one row a datum.

        Parameters
        ----------
        frame : pandas.DataFrame
        user : str
            Column that names the user.
        label : str, optional
            Column of labels or targets.
        features : sequence of str, optional
            Feature columns; all others when absent.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"who": ["a", "a", "b"], "height": [1.0, 2.0, 3.0], "sick": [0, 1, 1]})
        >>> Federation.from_frame(frame, user="who", label="sick").sizes.tolist()
        [2, 1]
        """
        names = list(frame.columns)
        wanted = None if features is None else [features] if isinstance(features, str) else list(features)
        for column in [user, *([] if label is None else [label]), *(wanted or [])]:
            require(column in names, f"from_frame: no column {column!r}; the frame has {', '.join(map(repr, names))}")
            require(
                names.count(column) == 1,
                f"from_frame: {names.count(column)} columns are named {column!r}; rename them, or drop all but one",
            )
        taken = (user,) if label is None else (user, label)
        chosen = (
            [k for k, c in enumerate(names) if c not in taken] if wanted is None else list(map(names.index, wanted))
        )
        require(len(chosen) > 0, "from_frame: no feature column is left; give features=")
        require(
            len(set(chosen)) == len(chosen), f"from_frame: a feature is named twice in {wanted}; name each column once"
        )
        # column by column: a frame of mixed columns rounds large whole numbers when it becomes one array
        columns = [_numbers(frame.iloc[:, k], f"from_frame: column {names[k]!r}") for k in chosen]
        return cls.from_arrays(
            np.column_stack(columns),
            None if label is None else _numbers(frame[label], f"from_frame: column {label!r}"),
            groups=frame[user].to_numpy(),
            **keywords,
        )

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str,
        label: str | None = None,
        target: str | None = None,
        law: str = "sample",
    ) -> Federation:
        """A federation from a table in a file (.csv, .tsv; .parquet where pyarrow is installed), one row a datum.

        Parameters
        ----------
        path : path-like
        user : str
            Column that names the user: numbers or text.
        label : str, optional
            Column of classes: numbers or text; they become 0, 1, ... in sorted order (``info["classes"]``).
        target : str, optional
            Column of real targets, instead of classes.
        law : {"sample", "exact"}
            Whether rows are a sample of the user's law, or the law itself.

        Returns
        -------
        Federation
            Features are the numeric columns that are left; ``info["left_out"]`` says which were not, and why.

        Raises
        ------
        InputError
            No such file or column, one user only, one class only, no numeric column.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "users.csv"
        ...     _ = path.write_text("who,height,note,sick\\nann,1.5,a,no\\nbob,2.0,b,yes\\nann,1.0,c,no\\n")
        ...     fed = Federation.from_csv(path, user="who", label="sick")
        >>> fed.sizes.tolist(), fed.y.tolist(), fed.info["classes"], fed.info["left_out"]
        ([2, 1], [0, 0, 1], {'0': 'no', '1': 'yes'}, {'note': 'not a number'})
        """
        from ._table import from_table

        return from_table(path, user=user, label=label, target=target, law=law)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to an npz file without pickles; the file appears whole or not at all. Returns its path."""
        from ..sweeps.files import atomic_write, canonical_json

        arrays = {"x": self.x, "weights": self.weights, "offsets": self.offsets}
        if self.y is not None:
            arrays["y"] = self.y
        facts = canonical_json(
            {"format": FORMAT, "scale": self.scale, "law": self.law, "name": self.name, "info": self.info}
        )
        arrays["facts"] = np.frombuffer(facts.encode(), dtype=np.uint8)
        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        with atomic_write(target, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Federation:
        """Read what :meth:`save` wrote. Nothing is unpickled.

        Raises
        ------
        InputError
            The file is absent, truncated, or not a federation.
        """
        import json

        target = Path(path)
        require(target.is_file(), f"{target}: no such file; write one with Federation.save")
        try:
            with np.load(target, allow_pickle=False) as z:
                missing = {"x", "weights", "offsets", "facts"} - set(z.files)
                require(
                    not missing,
                    f"{target}: not a saved federation (no {', '.join(sorted(missing))}); write one with "
                    "Federation.save",
                )
                facts = json.loads(z["facts"].tobytes().decode())
                known_fields(facts, FIELDS, FORMAT, str(target))
                unknown = sorted(set(z.files) - {"x", "y", "weights", "offsets", "facts"})
                require(
                    not unknown,
                    f"{target}: unknown array {', '.join(unknown)}; a later version wrote it, or something else",
                )
                return cls(
                    z["x"],
                    z["y"] if "y" in z.files else None,
                    z["weights"],
                    z["offsets"],
                    facts["scale"],
                    facts["law"],
                    facts["name"],
                    facts["info"],
                )
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            KeyError,
            ValueError,
            TypeError,
            NotImplementedError,
            RuntimeError,
        ) as error:  # what a damaged zip can raise
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{target}: not a readable federation ({type(error).__name__}); expected an npz file written by "
                "Federation.save"
            ) from error


def known_fields(given: Any, known: set[str], latest: int, where: str) -> None:
    """Refuse what this version would read in part only: a later format, or fields that it does not know."""
    require(isinstance(given, dict), f"{where}: {type(given).__name__} where fields were expected")
    found = given.get("format", latest)
    good = isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= latest
    require(good, f"{where}: format {found!r}; this version reads formats up to {latest}: upgrade it, or save again")
    unknown = sorted(set(given) - known - {"format"})
    require(
        not unknown,
        f"{where}: unknown field {', '.join(map(repr, unknown))}; a later version wrote it, or the name is misspelt "
        f"(known: {', '.join(sorted(known))})",
    )


def _hides(X: Any) -> bool:
    """Whether a masked array of several users hides values."""
    return isinstance(X, np.ma.MaskedArray) and bool(np.ma.getmaskarray(X).any())


def _numbers(column: Any, what: str) -> NDArray:
    """A column of a frame as numbers; pandas' own integers with missing values are objects."""
    values = given_array(column.to_numpy(), what)
    if values.dtype.kind == "O":
        require(not any(missing(v) for v in values), f"{what}: a value is missing; drop or repair those rows")
        values = given_array(values.tolist(), what)
    require(values.dtype.kind in "uifb", f"{what}: dtype {values.dtype}; give numbers, or leave it out with features=")
    return values
