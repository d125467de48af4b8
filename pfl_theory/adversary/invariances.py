"""Changes of an instance that say the same thing in other words: the outcome must not change.

- users permuted: every statement, for all are about sums over users;
- rows split (a row of weight p into two of p/2) and rows merged: every statement about laws, not those about
  batches without replacement, which count rows;
- weights rescaled by a factor within what the package takes for 1: statements divide weights by their sums;
- data and points shifted together, where no digit is lost: location families (quadratic, log-cosh, cosine), whose
  losses see w - z;
- another unit of w: curves (x, points, w_0 by 2^k, slopes with them, alpha and f'' as they are) at alpha L fixed, by
  which both sides of every statement scale alike;
- labels renamed: 0 and 1 swapped, with features turned about 0 (logistic).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import InputError
from ..federations.federation import Federation
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem

RUNS = ("theorem-4.5", "theorem-4.5-full", "corollary-4.6")
BATCHES = ("lemma-4.3-bias", "lemma-4.3-error")
Change = Callable[[Any, np.random.Generator], Any]


def broken(claim: Any, at: Any, verdict: Any, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Every change that applies: its name, and what became different, empty where nothing did."""
    for name, change, fits in CHANGES:
        if not fits(claim, at):
            continue
        changed = change(at, rng)
        if changed is None:
            continue
        try:
            again = claim.judge(changed)
        except InputError as error:
            yield name, f"{verdict.outcome} became InputError: {error}"
            continue
        yield name, _difference(verdict, again)


def _difference(a: Any, b: Any) -> str:
    """Outcomes must agree; one that settles nothing may turn into one that does, and back, for roundings are others."""
    if a.outcome == b.outcome or "INCONCLUSIVE" in (a.outcome, b.outcome):
        return ""
    near = "NOT_APPLICABLE" in (a.outcome, b.outcome) and _at_a_limit(a if a.outcome == "NOT_APPLICABLE" else b)
    return "" if near else f"{a.outcome} became {b.outcome}: {a.reason} / {b.reason}"


def _at_a_limit(verdict: Any) -> bool:
    """A hypothesis that fails by rounding: the reason names a number that is its limit to six digits."""
    return (
        " is 1 times" in verdict.reason
        or "it is 0.1." in verdict.reason
        or "it is 0.99." in verdict.reason
        or "outside the ball" in verdict.reason
        or "must stand still" in verdict.reason
    )


def _rows(claim: Any, at: Any) -> bool:
    return bool(at.problem.kind == "rows")


def _curves(claim: Any, at: Any) -> bool:
    return bool(at.problem.kind == "curves")


def _law(claim: Any, at: Any) -> bool:
    """Only the users' laws matter: no batch is counted in rows."""
    drawn = at.algorithm is not None and not getattr(at.algorithm, "replace", True)
    return _rows(claim, at) and not drawn


def _location(claim: Any, at: Any) -> bool:
    return (
        _rows(claim, at)
        and (at.problem.loss.name in ("Quadratic", "Cosine") or getattr(at.problem.loss, "kind", "") == "location")
        and at.ball is None
    )


def _binary(claim: Any, at: Any) -> bool:
    return _rows(claim, at) and at.problem.loss.name == "Logistic"


def permuted(at: Any, rng: np.random.Generator) -> Any:
    """Users in another order."""
    n = at.problem.n_users
    order = rng.permutation(n)
    if at.problem.kind == "curves":
        family = at.problem.family
        return _with(at, Problem.from_curves(Piecewise([family.curves[i] for i in order], family.noise)))
    loss = at.problem.loss
    if loss.name == "Quadratic" and len(loss.A) > 1:
        loss = type(loss)(loss.A[order])
    return _with(at, Problem(loss, at.problem.federation.select(order)))


def split(at: Any, rng: np.random.Generator) -> Any:
    """Every row twice, each with half its weight."""
    fed = at.problem.federation
    rows = np.repeat(np.arange(len(fed.x)), 2)
    return _with(at, Problem(at.problem.loss, _of_rows(fed, rows, fed.weights[rows] / 2, fed.offsets * 2)))


def merged(at: Any, rng: np.random.Generator) -> Any:
    """Equal rows of a user as one."""
    fed, kept, weights, offsets = at.problem.federation, [], [], [0]  # type: ignore[var-annotated]
    for i in range(fed.n_users):
        first: dict[tuple[float, ...], int] = {}
        for k in range(fed.offsets[i], fed.offsets[i + 1]):
            key = (*map(float, fed.x[k]), 0.0 if fed.y is None else float(fed.y[k]))
            if key in first:
                weights[first[key]] += float(fed.weights[k])
            else:
                first[key] = len(kept)
                kept.append(k)
                weights.append(float(fed.weights[k]))
        offsets.append(len(kept))
    if len(kept) == len(fed.x):
        return None
    return _with(at, Problem(at.problem.loss, _of_rows(fed, np.array(kept), np.array(weights), np.array(offsets))))


def rescaled(at: Any, rng: np.random.Generator) -> Any:
    """Weights that sum to 1 + 5e-10."""
    fed = at.problem.federation
    rows = np.arange(len(fed.x))
    return _with(at, Problem(at.problem.loss, _of_rows(fed, rows, fed.weights * (1 + 5e-10), fed.offsets)))


def shifted(at: Any, rng: np.random.Generator) -> Any:
    """Data and points moved together, by a power of two of their size."""
    fed = at.problem.federation
    if at.points is None and at.w0 is None:
        return None
    size = 2.0 ** np.ceil(np.log2(np.abs(fed.x).max() + 1e-300))
    by = rng.choice([-1.0, 1.0], fed.n_features) * size
    numbers = [fed.x * fed.scale, *(v for v in (at.points, at.w0) if v is not None)]
    if not all(bool(((v + by) - by == v).all()) for v in numbers):
        return None  # what would be lost in rounding is another instance
    moved = Federation(fed.x * fed.scale + by, fed.y, fed.weights, fed.offsets, 1.0, fed.law, fed.name)
    points = None if at.points is None else at.points + by
    w0 = None if at.w0 is None else at.w0 + by
    return dataclasses.replace(_with(at, Problem(at.problem.loss, moved)), points=points, w0=w0)


def other_unit(at: Any, rng: np.random.Generator) -> Any:
    """w in a unit of 2^k: f(w) -> c^2 f(w / c), so slopes gain c, f'' nothing."""
    if at.algorithm is not None and getattr(at.algorithm, "variant", "") == "hessian-free":
        return None  # delta has a unit of its own
    family = at.problem.family
    if family.noise is not None or at.epsilon is not None:
        return None
    c = 2.0 ** int(rng.integers(-3, 4))
    users = [Curve(u.x * c, u.h, u.anchor * c, u.slope * c) for u in family.curves]
    ball = None if at.ball is None else (at.ball[0] * c, None if at.ball[1] is None else np.asarray(at.ball[1]) * c)
    points = None if at.points is None else at.points * c
    w0 = None if at.w0 is None else at.w0 * c
    return dataclasses.replace(_with(at, Problem.from_curves(Piecewise(users))), points=points, w0=w0, ball=ball)


def renamed(at: Any, rng: np.random.Generator) -> Any:
    """Labels 0 and 1 swapped, features and their weights kept: w -> -w turns one loss into the other."""
    fed = at.problem.federation
    other = Federation(-fed.x, 1 - fed.y, fed.weights, fed.offsets, fed.scale, fed.law, fed.name)
    return _with(at, Problem(at.problem.loss, other))


def _of_rows(fed: Federation, rows: Any, weights: Any, offsets: Any) -> Federation:
    y = None if fed.y is None else fed.y[rows]
    return Federation(fed.x[rows], y, weights, offsets, fed.scale, fed.law, fed.name)


def _with(at: Any, problem: Problem) -> Any:
    return dataclasses.replace(at, problem=problem)


def _any(claim: Any, at: Any) -> bool:
    return at.problem.kind in ("curves", "rows")


CHANGES: tuple[tuple[str, Change, Callable[[Any, Any], bool]], ...] = (
    ("users permuted", permuted, _any),
    ("rows split", split, _law),
    ("rows merged", merged, _law),
    ("weights rescaled", rescaled, _law),
    ("data shifted", shifted, _location),
    ("another unit of w", other_unit, _curves),
    ("labels swapped", renamed, _binary),
)
