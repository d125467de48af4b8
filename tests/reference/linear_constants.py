"""Constants of the linear form of Theorem 2 as functions of s, p and m: what `CERTIFIED` rounds up."""

from __future__ import annotations

from pfl_theory.errors import require
from pfl_theory.rigour.balls import Ball


def linear_constants(s: Ball, p: Ball, per_m: Ball, theta: float, statement: str) -> tuple[Ball, ...]:
    """c0, c1, c2v, c2g, c3, c4 of the linear form at (s, p, 1/m), with omega = sqrt(s), eta = sqrt(s)/2, mu = (1/4,
    1/2, 1/4).

    Parameters
    ----------
    s, p, per_m : Ball
    theta : float
        Young's parameter in (0, 1]: smaller trades c0 for drift and bias.
    statement : {"i", "ii"}

    Examples
    --------
    >>> [round(float(c), 4) for c in linear_constants(Ball(0.1), Ball(1.0), Ball(1.0), 1.0, "ii")]
    [2.4543, 2.3303, 4.1964, 2.0209, 1.9366, 4.8633]
    """
    require(statement in ("i", "ii"), f"statement = {statement!r}; choose 'i' or 'ii'")
    return linear_constants_of_root(s.sqrt(), p, per_m, theta, statement)


def linear_constants_of_root(z: Ball, p: Ball, per_m: Ball, theta: float, statement: str) -> tuple[Ball, ...]:
    """The same as rational functions of z = sqrt(s), without a singularity at 0."""
    mu1, mu2, mu3 = 0.25, 0.5, 0.25
    s = z * z
    ph, k2, ch = 1.0 / (2.0 * (1.0 - s / 3.0)), 1.0 / (1.0 - s), 1.0 / (1.0 - s / 2.0)
    half = z * (z + 1.0) / 2.0  # (s/2)(1 + 1/omega)
    E = (1.0 - s) / (2.0 * theta) + s / 2.0 + half * p
    A = 1.0 - s / 2.0 - (1.0 - s) * theta / 2.0 - E * ph * ph * s * s / mu1
    c0, c1 = 1.0 / A, (1.0 + z) * k2 / (2.0 * A)
    c2v, c2g = E * k2 / (2 * mu3 * A), E * ph * ph / (mu1 * A)
    c3, c4 = (1.0 + z) / (2.0 * A), ch * ch * (E / mu2 + half * per_m) / A
    if statement == "i":
        return c0, c1, c2v, c2g, c3, c4
    hs = s * z * (z + 2.0) / 3.0  # (1 + 1/eta) s^2/3
    both = z * z * (z + 1.0) * (z + 2.0) / 3.0  # (1 + 1/omega) hs
    aX = 1.0 + z / 2.0 + 2.0 * hs
    aY = 2.0 * hs + both * p
    a = aX + aY * ph * ph * s * s / mu1
    l1, l3 = (
        z * (z + 2.0) / 2.0 * (1.0 + z) * k2,
        z * (z + 2.0) / 3.0 * (1.0 + z),
    )  # (1 + 1/eta)(1 + omega) times s k2/2 and s/3
    l4 = both * ch * ch * per_m
    return (
        a * c0,
        a * c1 + l1,
        a * c2v + aY * k2 / (2 * mu3),
        a * c2g + aY * ph * ph / mu1,
        a * c3 + l3,
        a * c4 + aY * ch * ch / mu2 + l4,
    )
