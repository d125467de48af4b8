"""Claims, one file per statement: both sides of it computed and judged. A new file in this folder that defines
``CLAIMS`` is found by itself.
"""

from __future__ import annotations

from ..discovery import modules
from ..errors import InputError
from ..judging.claim import OUTCOMES, Case, Claim, Hypothesis, Sides, Verdict
from ..judging.instance import Instance
from ..judging.table import COLUMNS, judge_random, judged_rows
from ..problems.best_kappa import BestKappa, best_kappa
from ..rigour.interval import Interval


def all_claims() -> list[Claim]:
    """Every claim in every version and form, in order of file and place."""
    return [claim for module in modules(__name__, __path__) for claim in getattr(module, "CLAIMS", ())]


def names() -> list[str]:
    """Names of the statements.

    Examples
    --------
    >>> "lemma-4.2" in names()
    True
    """
    return list(dict.fromkeys(claim.name for claim in all_claims()))


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
    found = [c for c in all_claims() if c.name == name]
    if not found:
        raise InputError(f"claim {name!r}: unknown; choose one of {', '.join(map(repr, names()))}")
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
    "get",
    "judge_random",
    "judged_rows",
    "names",
]
