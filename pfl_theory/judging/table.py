"""The table of verdicts: one row a judgement, with the command that rejudges it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..errors import DataMissingError, InputError
from ..seeds import generator
from .claim import Case, Claim, Verdict

COLUMNS = (
    "claim", "version", "form", "instance", "scope", "scale", "control", "expected", "outcome", "vacuous",
    "lhs_lower", "lhs_upper", "rhs_lower", "rhs_upper", "ratio", "level", "reason", "command",
)  # fmt: skip


def command(claim: Claim, case: str, *, control: bool = False, seed: int = 0) -> str:
    """What to type to judge this row again."""
    words = ["pfl-theory judge", claim.name, f"--version {claim.version}"]
    if claim.form:
        words.append(f"--form {claim.form}")
    if case != "witness":
        words.append(f"--instance {case}")
    if case.startswith("random") and seed:
        words.append(f"--seed {seed}")
    if control:
        words.append("--control")
    return " ".join(words)


def judged_rows(claim: Claim, *, seed: int = 0, random: int = 100) -> list[dict[str, Any]]:
    """Rows of a claim: witness, control, named instances, and the worst of `random` random instances."""
    rows = [
        _row(claim.judge(), "witness", claim.expected, command(claim, "witness")),
        _row(claim.control(), "witness", "VIOLATED", command(claim, "witness", control=True)),
    ]
    for case in claim.cases:
        rows.append(_judged_case(claim, case))
        if case.ratio is not None:
            rows.append(_judged_case(claim, case, control=True))
    if random and claim.random_instance is not None:
        worst = judge_random(claim, random, seed)
        rows.append(_row(worst, "random", _on_random(claim), command(claim, f"random:{random}", seed=seed)))
    return rows


def judge_random(claim: Claim, count: int, seed: int = 0) -> Verdict:
    """The verdict with the largest ratio among `count` random instances; any that does not hold comes first."""
    if claim.random_instance is None:
        raise InputError(
            f"{claim.name} ({claim.version}): its witness refutes it, so no random instances are drawn; judge a "
            "named instance"
        )
    rng = generator(seed, "random instances", claim.name, claim.version, claim.form)
    verdicts = [claim.judge(claim.random_instance(rng)) for _ in range(count)]
    good = _on_random(claim)
    worst = max(
        verdicts, key=lambda v: (v.outcome != good, -math.inf if math.isnan(v.ratio) else v.ratio)
    )  # 0 against 0 has no ratio
    so_many = f"{sum(v.outcome == good for v in verdicts)} of {count} {'hold' if good == 'HOLDS' else 'are ' + good}"
    return dataclasses.replace(
        worst, instance=f"worst of {count} random", reason=f"{so_many}; the worst: {worst.reason}"
    )


def _on_random(claim: Claim) -> str:
    """What is expected of every random instance."""
    return "INCONCLUSIVE" if claim.open_constant else "HOLDS"


def _judged_case(claim: Claim, case: Case, *, control: bool = False) -> dict[str, Any]:
    typed = command(claim, case.name, control=control)
    try:
        if control:
            return _row(claim.control(case), case.name, "VIOLATED", typed)
        return _row(claim.judge(case.make()), case.name, case.expected, typed)
    except DataMissingError as error:
        skipped = Verdict(claim.name, claim.version, claim.form, case.name, "SKIPPED", f"skipped: {error}")
        return _row(skipped, case.name, "SKIPPED", typed)


def _row(verdict: Verdict, case: str, expected: str, typed: str) -> dict[str, Any]:
    return {"case": case, **verdict.row(), "expected": expected, "command": typed}
