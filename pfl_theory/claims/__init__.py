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
    "all_claims",
    "best_kappa",
    "forms",
    "get",
    "judge_random",
    "judged_rows",
    "names",
]
