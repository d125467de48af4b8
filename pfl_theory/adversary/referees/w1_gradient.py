"""gamma_G(w)^2 against L_Z^2 M, M of the 1-Wasserstein distance, and against L_Z(||w||)^2 min(M, P)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..mathematics import rows as on_rows
from ..mathematics import spread
from ..mathematics.distances import costs, mean_square_w1
from ..real import Real, mp, norm, real, reals
from ..ruling import Pair, Ruling, refused, unsettled
from .tv_gradient import hypotheses

KINDS = ("rows",)
GRID = 3e-6  # the package rounds the logistic L_x up by 1e-6, and it enters as a square


class Price(NamedTuple):
    """L_x, J and their quotient kappa: the metric ||x - x'|| + kappa [y != y'] in which L_Z = L_x."""

    features: Real
    kappa: Real | None


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point; the sharp form takes L_Z on the ball of radius ||w|| about 0."""
    problem = instance.problem
    if problem.kind == "rows" and on_rows.name_of(problem.loss) in ("LeastSquares", "LogCosh regression"):
        return refused("targets are real numbers: no price of a class")
    applies, stop = hypotheses(instance, ("L_datum",))
    if problem.kind == "rows" and on_rows.known(problem.loss) and _price(problem, instance.ball) is None:
        return refused("no L_Z without a ball")
    if stop is not None:
        return stop
    laws, scale = spread.laws(problem), real(problem.federation.scale)
    pairs = []
    for w in map(reals, instance.points):
        ball = instance.ball
        if version == "sharp" and on_rows.reads_labels(problem.loss):
            ball = (norm(w), None)
        price = _price(problem, ball)
        if price is None or price.features == 0:
            return unsettled("no price of a label at this point")
        m, p = mean_square_w1(laws, costs(laws, scale, price.kappa))
        loose = GRID if on_rows.name_of(problem.loss) == "Logistic" else 1e-8
        right = price.features**2 * (m if version == "paper" else min(m, p))
        pairs.append(Pair(spread.gradient_spread(problem, w), right, loose))
    return Ruling(applies, pairs=pairs)


def _price(problem: Any, ball: Any) -> Price | None:
    """The best price; None where L_Z does not exist."""
    loss, kind = problem.loss, on_rows.name_of(problem.loss)
    if not on_rows.reads_labels(loss):
        return Price(max(on_rows.constants(problem, None)["lip_gradient_z"]), None)  # type: ignore[arg-type]
    far = max(on_rows.farthest(rows) for rows in on_rows.users_of(problem))
    if kind == "Logistic" and problem.dim == 1 and not loss.l2 and not loss.nonconvex:
        return Price(_one_feature(), far / _one_feature())
    if ball is None:
        return None
    centre = mp.mpf(0) if ball[1] is None else norm(reals(ball[1]))
    s = (real(ball[0]) + centre) * far
    if kind == "Softmax":
        features = mp.sqrt(2) + s / 2
        return Price(features, mp.sqrt(2) * far / features)
    features = _logistic(s)
    return Price(features, far / features)


def _one_feature() -> Real:
    """sup |sigma(u) + u sigma'(u)|, at u tanh(u / 2) = 2."""
    u = mp.findroot(lambda v: v * mp.tanh(v / 2) - 2, mp.mpf("2.4"))
    s = 1 / (1 + mp.exp(-u))
    return s + u * s * (1 - s)


def _logistic(s: Real) -> Real:
    """sup over 0 <= u <= s of (b s + sqrt(b^2 s^2 + 4 a^2 + 4 a b u)) / 2, a = sigma(u), b = sigma'(u): by halving
    around the best of a grid.
    """

    def at(u: Real) -> Real:
        a = 1 / (1 + mp.exp(-u))
        b = a * (1 - a)
        return (b * s + mp.sqrt(b * b * s * s + 4 * a * a + 4 * a * b * u)) / 2

    low, high = mp.mpf(0), min(s, mp.mpf(60))
    for _ in range(12):
        step = (high - low) / 16
        best = max((at(low + k * step), k) for k in range(17))[1]
        low, high = low + max(best - 1, 0) * step, low + min(best + 1, 16) * step
    return max(at(low), at(high), at(s), at(mp.mpf(0)))
