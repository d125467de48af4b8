"""The page of a statement: what it says, when, how tight, on what, and every verdict."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .rows import Row, command, on_witness, ratio_text, rows_of
from .templates import filled
from .text import code, escaped, number, shortened, table
from .wrap import wrapped

if TYPE_CHECKING:
    from ..judging.claim import Claim
    from ..judging.instance import Instance

SHOWN = ("L", "B", "rho", "sigma_G", "sigma_H")  # constants of a witness


def page(name: str, claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """The page of a statement: every version and form with its hypotheses, witness and verdicts.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> print(page("lemma-4.4", all_claims(), []).splitlines()[2])
    # lemma-4.4: Heterogeneity of the meta-gradients
    """
    mine = [claim for claim in claims if claim.name == name]
    sections = "\n\n".join(section(claim, rows) for claim in mine)
    return filled("statement.md", "page", name=escaped(name), title=escaped(mine[0].title), sections=sections) + "\n"


def section(claim: Claim, rows: Sequence[Row]) -> str:
    """One version and form: what it says, when, where from, how tight, on what, and its verdicts."""
    outcome, ratio = on_witness(claim, rows)
    remarks = [line for line in (refuted(claim, outcome, ratio), left_open(claim)) if line]
    made = filled(
        "statement.md",
        "section",
        heading=heading(claim),
        title=escaped(claim.title),
        statement=escaped(claim.statement),
        remarks="".join(f"{line}\n\n" for line in remarks),
        hypotheses="; ".join(escaped(h.text) for h in claim.hypotheses),
        source=linked(escaped(claim.source)),
        tight=tightness(claim, ratio),
        witness=witness_text(claim),
        command=code(command(claim, "witness")),
        verdicts=verdicts(rows_of(claim, rows)),
    )
    return wrapped(made)


def heading(claim: Claim) -> str:
    """Version and form in words."""
    return f"Version {claim.version}" + (f", form {claim.form}" if claim.form else "")


def linked(text: str) -> str:
    """Places of the theory as links, as seen from a page.

    Examples
    --------
    >>> linked("Theorem 2, docs/theory/theorem-4-5.md#9-5-4-theorem-2")
    'Theorem 2, [theorem-4-5.md#9-5-4-theorem-2](../theory/theorem-4-5.md#9-5-4-theorem-2)'
    """
    return re.sub(r"docs/theory/([\w-]+\.md#[\w-]+)", r"[\1](../theory/\1)", text)


def tightness(claim: Claim, ratio: float) -> str:
    """Whether a smaller right side would do, and what the witness reaches."""
    if claim.expected == "VIOLATED":
        return f"does not apply; the witness reaches {number(ratio)} of the right side"
    reached = (
        "the witness attains it" if number(ratio) == "1" else f"the witness reaches {number(ratio)} of the right side"
    )
    return f"{'yes' if claim.tight else 'no, or not known'}; {reached}"


def refuted(claim: Claim, outcome: str, ratio: float) -> str:
    """A line for a statement that its witness refutes, else nothing."""
    if claim.expected != "VIOLATED":
        return ""
    at = f" with {claim.open_constant} = 1" if claim.open_constant else ""
    return filled("statement.md", "refuted", at=at, ratio=number(ratio), outcome=outcome)


def left_open(claim: Claim) -> str:
    """What ratio and outcome mean where the statement leaves a constant open, else nothing."""
    return filled("statement.md", "open constant", name=claim.open_constant) if claim.open_constant else ""


def witness_text(claim: Claim) -> str:
    """Name, description and numbers of the witness."""
    at = claim.witness()
    name = "" if at.name == "witness" else f"{at.name}."  # a name that says nothing
    words = [escaped(name), escaped(described_by(claim.witness)), f"({numbers_of(at)})"]
    return " ".join(word for word in words if word)


def described_by(make: Callable[..., Instance]) -> str:
    """First paragraph of what makes the witness; of the function that a lambda calls.

    Examples
    --------
    >>> from pfl_theory.claims import lemma_4_2
    >>> described_by(lambda: lemma_4_2.witness()), described_by(lemma_4_2.witness)
    ('', 'One user with the extremal function.')
    """
    if getattr(make, "__name__", "") == "<lambda>":
        called = [f for f in inspect.getclosurevars(make).globals.values() if inspect.isfunction(f)]
        if len(called) != 1:
            return ""
        make = called[0]
    return " ".join((inspect.getdoc(make) or "").split("\n\n")[0].split())


def numbers_of(instance: Instance) -> str:
    """Users, dimension, step and the constants that are stated, finite and not 0."""
    n, d = instance.problem.n_users, instance.problem.dim
    parts = [f"{n} user{'s' if n > 1 else ''}", f"d = {d}", f"alpha = {number(instance.alpha)}"]
    if instance.rounds is not None:
        parts.append(f"K = {number(float(instance.rounds))}")
    for name in SHOWN:
        constant = instance.constants.get(name)
        if constant is not None and constant.usable and math.isfinite(constant.max()) and constant.max() > 0:
            parts.append(f"{name} = {number(constant.max())}")
    return ", ".join(parts)


def verdicts(rows: Sequence[Row]) -> str:
    """The rows of one form as a table, each with the command that judges it again."""
    if not rows:
        return filled("statement.md", "not judged")
    head = ("instance", "scope", "right side", "outcome", "ratio", "level", "reason", "judge it again")
    body = table(head, map(_verdict, rows))
    if any(row["scale"] == "full" for row in rows):
        return body
    return filled("statement.md", "quick rows", table=body)


def _verdict(row: Row) -> list[str]:
    factor = float(row["control"] or 1.0)
    surprise = "" if row["outcome"] == row["expected"] else f" (expected {row['expected']})"
    return [
        escaped(row["instance"]),
        row["scope"],
        "" if factor == 1.0 else f"times {number(factor)}",
        row["outcome"] + (", vacuous" if row.get("vacuous") == "True" else "") + surprise,
        ratio_text(row),
        number(row["level"]),
        escaped(shortened(row["reason"])),
        code(row["command"]),
    ]
