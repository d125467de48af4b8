"""FedFomo's weights in 50 digits: base and candidates are the instance's points."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..real import Real, minus, mp, norm, real, reals
from ..ruling import Ruling, refused, unsettled
from .models import Model, models_of

CLOSE = mp.mpf(2) ** -30  # of the sizes of values: a decrease below it may be rounding
MOST = 12


class Choice(NamedTuple):
    """A user, its winners, and what they weigh."""

    user: Model
    base: list[Real]
    candidates: list[list[Real]]
    losses: list[Real]
    base_loss: Real
    away: list[list[Real]]  # of the winners from here on
    far: list[Real]
    gain: list[Real]
    loss: list[Real]
    weight: list[Real]
    scale: Real

    @property
    def move(self) -> list[Real]:
        """s."""
        return [mp.fsum(w * v[j] for w, v in zip(self.weight, self.away, strict=True)) for j in range(len(self.base))]

    @property
    def spread(self) -> Real:
        """V."""
        squares = mp.fsum(w * d * d for w, d in zip(self.weight, self.far, strict=True))
        return mp.mpf(0) if len(self.far) == 1 else max(mp.mpf(0), squares - norm(self.move) ** 2)

    @property
    def mean_loss(self) -> Real:
        """sum w_n l_n."""
        return mp.fsum(w * v for w, v in zip(self.weight, self.loss, strict=True))

    def loss_at(self, t: Real) -> Real:
        """l(theta + t s)."""
        return self.user.value([b + t * s for b, s in zip(self.base, self.move, strict=True)])

    def seen(self, value: Real) -> Real:
        """A difference of losses; 0 where nothing but 50 digits is left of it."""
        return mp.mpf(0) if abs(value) < mp.mpf(10) ** -40 * self.scale else value


def norm_and_eps(instance: Any) -> tuple[str, Real]:
    """How the instance measures distances."""
    fomo = instance.algorithm
    if type(fomo).__name__ != "FedFomo":
        return "l2", mp.mpf(0)
    return fomo.norm, real(fomo.eps)


def choices(instance: Any, least: int = 1) -> list[Choice] | Ruling:
    """Users whom candidates help, or why the statement does not apply."""
    problem = instance.problem
    if problem.kind == "functions":
        stated = all(name in instance.constants and instance.constants[name].usable for name in ("L", "rounding"))
        return unsettled("functions") if stated else refused("values are not known up to rounding")
    users = models_of(problem)
    if users is None:
        return refused("users are neither piecewise nor quadratic")
    if instance.points is None or not 1 <= len(instance.points) - 1 <= MOST:
        return refused("no candidates, or too many")
    points = [reals(w) for w in instance.points]
    found = []
    for user in users:
        choice = _choice(user, points, *norm_and_eps(instance))
        if choice is None:
            return unsettled("a candidate is as good as the base within rounding")
        if choice.far:
            found.append(choice)
    if max((len(c.far) for c in found), default=0) < least:
        return refused(f"fewer than {least} candidates help")
    return found


def _choice(user: Model, points: list[list[Real]], kind: str, eps: Real) -> Choice | None:
    base, candidates = points[0], points[1:]
    losses, base_loss = [user.value(w) for w in candidates], user.value(base)
    scale = max(user.scale(w) for w in points)
    away, far, gain, loss = [], [], [], []
    for w, value in zip(candidates, losses, strict=True):
        if w == base:
            continue
        if abs(base_loss - value) <= CLOSE * scale:
            return None
        if value < base_loss:
            away.append(minus(w, base))
            far.append(norm(away[-1]))
            gain.append(base_loss - value)
            loss.append(value)
    by = far
    if kind == "l1":
        by = [mp.fsum(abs(v) for v in d) for d in away]
    elif kind == "squared l2":
        by = [d * d for d in far]
    u = [g / (d + eps) for g, d in zip(gain, by, strict=True)]
    weight = [v / mp.fsum(u) for v in u]
    return Choice(user, base, candidates, losses, base_loss, away, far, gain, loss, weight, scale)
