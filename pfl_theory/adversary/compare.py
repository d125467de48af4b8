"""Where a verdict of the package and a ruling of the referee do not agree."""

from __future__ import annotations

from typing import Any

from ..judging.claim import SMALL, TINY, Verdict
from .real import Real, mp, real
from .ruling import Pair, Ruling

GUARD = "is beyond what floats can judge"  # the guard of sizes says so, and settles nothing
UNSEEN = mp.mpf(10) ** -45  # below it a side that vanishes is rounding of the referee: numbers of size 1 at 50 digits
SHARE = 1e-6  # how far below the worst ratio the pair may lie that the package calls the worst


def disagreements(verdict: Verdict, ruling: Ruling) -> list[str]:
    """One line for each thing that a verdict says and the referee denies."""
    if verdict.outcome == "INCONCLUSIVE" and GUARD in verdict.reason:
        return []
    if ruling.applies is False:
        said = verdict.outcome == "NOT_APPLICABLE"
        return [] if said else [f"{verdict.outcome}, but a hypothesis fails: {ruling.why} ({verdict.reason})"]
    if verdict.outcome == "NOT_APPLICABLE":
        return [] if ruling.applies is None else [f"NOT_APPLICABLE, but every hypothesis holds ({verdict.reason})"]
    found = unsaid_width(verdict)
    return found if not ruling.pairs else [*found, *_outcome(verdict, ruling), *_sides(verdict, ruling)]


def unsaid_width(verdict: Verdict) -> list[str]:
    """A verdict that holds on sides wider than it says."""
    if verdict.outcome != "HOLDS" or verdict.lhs is None or verdict.rhs is None:
        return []
    lhs, rhs = verdict.lhs, verdict.rhs
    if lhs.upper <= rhs.lower:
        said = f"{lhs.upper:.9g}" in verdict.reason and f"{rhs.lower:.9g}" in verdict.reason
        return [] if said else [f"HOLDS, and its reason does not say how far the sides are known: {verdict.reason}"]
    if rhs.lower == 0.0 and "rounding of numbers of size" in verdict.reason:
        said = rhs.upper == 0.0 or f"at most {rhs.upper:.3g}" in verdict.reason
        return [] if said else ["HOLDS at a right side that is not said"]
    if rhs.lower == rhs.upper == 0.0:
        return ["HOLDS at a right side 0, unexplained"]
    widest = max(lhs.width, rhs.width)
    return [] if widest <= SMALL * abs(rhs.middle) else [f"HOLDS on sides known to {widest:.3g} only"]


def _outcome(verdict: Verdict, ruling: Ruling) -> list[str]:
    if ruling.applies is None:  # a hypothesis holds within rounding, and so does what follows from it
        return []
    worst = max(ruling.pairs, key=lambda pair: pair.ratio)
    sides = f"left side {mp.nstr(worst.lhs, 20)}, right side {mp.nstr(worst.rhs, 20)} in 50 digits"
    if verdict.outcome == "HOLDS" and ruling.open_constant:
        return ["HOLDS, but the statement leaves a constant open"]
    if verdict.outcome == "HOLDS" and not all(pair.holds or _nothing(pair, verdict) for pair in ruling.pairs):
        return [f"false HOLDS: {sides}"]
    if verdict.outcome == "VIOLATED" and all(pair.holds for pair in ruling.pairs):
        return [f"false VIOLATED: {sides}"]
    return []


def _nothing(pair: Pair, verdict: Verdict) -> bool:
    """Both sides vanish: what is left of the left one is rounding of the instance's own numbers, weights that do not
    quite sum to 1, say.
    """
    return bool(pair.rhs == 0 and verdict.lhs is not None and pair.lhs <= verdict.lhs.upper)


def _sides(verdict: Verdict, ruling: Ruling) -> list[str]:
    """Certified ends hold what they certify, at the pair that is worst."""
    lhs, rhs = verdict.lhs, verdict.rhs
    assert lhs is not None
    assert rhs is not None
    slack = mp.mpf(10) ** -12 if ruling.applies is None else mp.mpf(10) ** -35
    inside = [pair for pair in ruling.pairs if _in(pair.lhs, lhs, slack, pair.unsure) and _in_right(pair, rhs, slack)]
    if not inside:
        near = min(ruling.pairs, key=lambda p: abs(p.lhs - lhs.middle) + abs(p.rhs - rhs.middle))
        return [
            f"ends exclude the truth: left [{lhs.lower!r}, {lhs.upper!r}] against {mp.nstr(near.lhs, 25)}, right "
            f"[{rhs.lower!r}, {rhs.upper!r}] against {mp.nstr(near.rhs, 25)}"
        ]
    if verdict.outcome == "INCONCLUSIVE":  # one that settles nothing comes before a larger ratio that holds
        return []
    most, said = max(p.ratio for p in ruling.pairs), max(p.ratio for p in inside)
    loose = max(p.loose for p in ruling.pairs)
    room = SHARE + 2 * loose + (lhs.width + rhs.width) / max(abs(rhs.middle), 1e-300)
    if 0 < most < float("inf") and said < most * (1 - room) - room and not verdict.attained:
        return [f"not the worst pair: its ratio is {said:.9g}, another has {most:.9g}"]
    return []


def _in(value: Real, ends: Any, slack: Real, unsure: Real = 0) -> bool:
    """Within the ends; what is 0 but for the referee's own 50 digits is 0."""
    if 0 < value < UNSEEN and ends.lower <= 0:
        return True
    room = slack * abs(value) + unsure
    return bool(real(ends.lower) - room <= value <= real(ends.upper) + room)


def _in_right(pair: Pair, ends: Any, slack: Real) -> bool:
    room = slack * abs(pair.rhs)
    if pair.loose and not 0 < pair.rhs < UNSEEN:
        return bool(real(ends.upper) + room >= pair.rhs and real(ends.lower) <= pair.rhs * (1 + real(pair.loose)))
    return _in(pair.rhs, ends, slack)


__all__ = ["GUARD", "TINY", "disagreements", "unsaid_width"]
