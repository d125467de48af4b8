"""Claims: one statement a file, both sides of it computed and judged. A new file in this folder that defines ``CLAIMS``
is found by itself; its name is the statement's.
"""

from __future__ import annotations

import re

from ..discovery import files, load
from ..errors import InputError
from ..judging.claim import OUTCOMES, Case, Claim, Hypothesis, Sides, Verdict
from ..judging.instance import Instance
from ..judging.table import COLUMNS, judge_random, judged_rows
from ..judging.verdicts import Verdicts, judged_on
from ..problems.best_kappa import BestKappa, best_kappa
from ..rigour.interval import Interval


def all_claims() -> list[Claim]:
    """Every claim in every version and form, in order of file and place."""
    return [claim for name in names() for claim in forms(name)]


def names() -> list[str]:
    """Names of the statements, read off the names of their files.

    Examples
    --------
    >>> "lemma-4.3-bias" in names()
    True
    """
    return [re.sub(r"(?<=\d)_(?=\d)", ".", file).replace("_", "-") for file in files(__path__)]


def forms(name: str) -> list[Claim]:
    """A statement in every version and form. Its own file is loaded, and no other statement's but those it imports.

    Raises
    ------
    InputError
        No such statement; the message lists what there is.

    Examples
    --------
    >>> [(claim.version, claim.form) for claim in forms("lemma-4.4")]
    [('paper', ''), ('sharp', ''), ('sharp', 'convex')]
    """
    if name not in names():
        raise InputError(f"claim {name!r}: unknown; choose one of {', '.join(map(repr, names()))}")
    module = load(f"{__name__}.{re.sub('[-.]', '_', name)}")
    return list(getattr(module, "CLAIMS", ()))


def get(name: str, version: str = "paper", form: str = "") -> Claim:
    """A claim by name, version and form.

    Raises
    ------
    InputError
        No such claim; the message lists what there is.

    Examples
    --------
    >>> get("lemma-4.2", version="sharp", form="one-dimensional").judge().attained
    True
    """
    found = forms(name)
    for claim in found:
        if (claim.version, claim.form) == (version, form):
            return claim
    have = ", ".join(f"version={c.version!r}" + (f", form={c.form!r}" if c.form else "") for c in found)
    raise InputError(f"claim {name!r}: no version={version!r}, form={form!r}; there is {have}")


def judge_all(instance: Instance, *, name: str | None = None) -> Verdicts:
    """Which statements apply to an instance, and what they say: one row a statement, version and form.

    Parameters
    ----------
    instance : Instance
        A problem, a step; points where statements about points are wanted, an algorithm and rounds (and `runs`) where
        statements about runs are.
    name : str, optional
        Only this statement, in all its forms.

    Returns
    -------
    Verdicts
        A sequence of verdicts, with ``frame()``; prints as a table. What an instance lacks for a statement
        (points, an algorithm) makes it NOT_APPLICABLE there, and the reason says so.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0], [2.0]], [[-1.0], [0.5]]], [[0, 1], [1, 1]])
    >>> found = judge_all(Instance(pfl.Problem(pfl.losses.Logistic(), fed), 0.1, np.array([[0.0], [0.3]])))
    >>> len(found) == len(all_claims()), {v.outcome for v in found} == {"HOLDS", "NOT_APPLICABLE"}
    (True, True)
    """
    return judged_on(all_claims() if name is None else forms(name), instance)


__all__ = [
    "COLUMNS",
    "OUTCOMES",
    "BestKappa",
    "Case",
    "Claim",
    "Hypothesis",
    "Instance",
    "Interval",
    "Sides",
    "Verdict",
    "Verdicts",
    "all_claims",
    "best_kappa",
    "forms",
    "get",
    "judge_all",
    "judge_random",
    "judged_on",
    "judged_rows",
    "names",
]
