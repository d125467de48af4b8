"""Expectations of a run in 50 digits: every set of users and every batch written out, or moments of quadratic users."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any, NamedTuple

from ..real import ONE, ZERO, Real, average, mean, minus, mp, real, reals, times
from . import rows as on_rows
from .batches import batches, factor, shape_slope
from .lines import Line, lines_of

MOST = 6000  # outcomes of a round that are written out


class Run(NamedTuple):
    """Averages of a run: of ||grad F||^2 over w_k and over wbar_{k+1,t}; F at its start and E F at its end; spread,
    variance and squared bias.
    """

    X2: Real
    M2: Real
    first: Real
    last: Real
    gamma2: Real
    gamma2_steps: Real
    v2: Real
    b2: Real


class Steps(NamedTuple):
    """The numbers of a run's algorithm."""

    beta: Real
    tau: int
    n: int
    m: int
    K: int


def steps_of(instance: Any) -> Steps:
    """beta, tau, n, m = r n and K."""
    algorithm, n = instance.algorithm, instance.problem.n_users
    share = algorithm.participation
    m = share if isinstance(share, int) and not isinstance(share, bool) else round(share * n)
    return Steps(real(algorithm.beta), int(algorithm.local_steps), n, int(m), int(instance.rounds))


def participation(n: int, m: int) -> Real:
    """p = (n - m) / (m (n - 1))."""
    return real(n - m) / (m * (n - 1)) if n > 1 else ZERO


def is_run(instance: Any) -> str:
    """Empty for a run of K rounds with the alpha of F, else what is missing."""
    if type(instance.algorithm).__name__ not in ("PerFedAvg", "FedAvg"):
        return "no run of Per-FedAvg or FedAvg"
    if instance.rounds is None:
        return "no number of rounds"
    if getattr(instance.algorithm, "alpha", instance.alpha) != instance.alpha:
        return "the algorithm has another alpha"
    return ""


def exact_run(instance: Any) -> Run | None:
    """The run, or None where this referee cannot write it out."""
    steps = steps_of(instance)
    if math.comb(steps.n, steps.m) * steps.tau > MOST:
        return None
    users = quadratic_users(instance)
    if users is not None:
        return moments(users, instance)
    return written_out(instance) if instance.problem.kind == "curves" else None


# -- every batch ---------------------------------------------------------------------------------------------------

Law = list[tuple[Real, list[Real]]]  # probability, and the mean coefficients of the noise of a batch


def _law(noise: Any, size: int | None, *, replace: bool) -> Law:
    if noise is None or size is None:
        return [(ONE, [])]
    p = reals(noise.weights)
    total = mp.fsum(p)
    every = [reals(c) for c in noise.coefficients]
    return [
        (chance, mean([every[k] for k, _ in shares], [s for _, s in shares]))
        for chance, shares in batches(size, [v / total for v in p], replace=replace)
    ]


def _noise(noise: Any, coefficients: list[Real], w: Real, which: int) -> Real:
    if not coefficients:
        return ZERO
    return mp.fsum(c * shape_slope(s, w)[which] for c, s in zip(coefficients, noise.shapes, strict=True))


def directions(line: Line, noise: Any, algorithm: Any, w: Real) -> list[tuple[Real, Real]]:
    """A local step's direction at w: probability and value of every outcome."""
    replace = bool(algorithm.replace)
    if type(algorithm).__name__ == "FedAvg":
        law = _law(noise, algorithm.batch, replace=replace)
        return [(p, line.first(w) + _noise(noise, c, w, 0)) for p, c in law]
    inner, outer, hessian = (
        _law(noise, size, replace=replace)
        for size in (algorithm.batch_inner, algorithm.batch_outer, algorithm.batch_hessian)
    )
    alpha, delta, found = real(algorithm.alpha), real(algorithm.difference_step), []
    for p, c in inner:
        there = w - alpha * (line.first(w) + _noise(noise, c, w, 0))
        for q, c1 in outer:
            v = line.first(there) + _noise(noise, c1, there, 0)
            if algorithm.variant == "first-order":
                found.append((p * q, v))
                continue
            for r, c2 in hessian:
                if algorithm.variant == "exact":
                    product = (line.second(w) + _noise(noise, c2, w, 1)) * v
                else:
                    ahead, behind = w + delta * v, w - delta * v
                    rise = line.first(ahead) + _noise(noise, c2, ahead, 0)
                    rise -= line.first(behind) + _noise(noise, c2, behind, 0)
                    product = rise / (2 * delta)
                found.append((p * q * r, v - alpha * product))
    return found


def written_out(instance: Any) -> Run | None:
    """Curves: every set of users, every batch, every round."""
    lines, noise, alpha = lines_of(instance.problem), instance.problem.family.noise, real(instance.alpha)
    beta, tau, n, m, K = steps_of(instance)
    start = ZERO if instance.w0 is None else real(instance.w0[0])
    outcomes = len(directions(lines[0], noise, instance.algorithm, start))
    subsets = list(itertools.combinations(range(n), m))
    points: dict[Real, Real] = {start: ONE}
    bias, variance = [ZERO] * n, [ZERO] * n
    x2 = m2 = gamma2 = ZERO
    spread_at = [ZERO] * tau

    def slopes(w: Real) -> tuple[Real, Real]:
        each = [line.meta_first(w, alpha) for line in lines]
        middle = average(each)
        return middle**2, average([(s - middle) ** 2 for s in each])

    for _ in range(K):
        if len(points) * len(subsets) * outcomes ** (tau * m) * n > MOST:
            return None
        after: dict[Real, Real] = defaultdict(lambda: ZERO)
        for w, chance in points.items():
            paths = []  # of every user: t -> [(probability, point)]
            for i, line in enumerate(lines):
                path = [[(ONE, w)]]
                for _t in range(tau):
                    ahead = []
                    for p, here in path[-1]:
                        found = directions(line, noise, instance.algorithm, here)
                        middle = mp.fsum(q * g for q, g in found)
                        bias[i] = max(bias[i], abs(middle - line.meta_first(here, alpha)))
                        variance[i] = max(variance[i], mp.fsum(q * (g - middle) ** 2 for q, g in found))
                        ahead += [(p * q, here - beta * g) for q, g in found]
                    path.append(ahead)
                paths.append(path)
            for chosen in subsets:
                for t in range(tau + 1):
                    for together in itertools.product(*(paths[i][t] for i in chosen)):
                        p = chance * mp.fprod(q for q, _ in together) / len(subsets)
                        middle = mp.fsum(v for _, v in together) / m
                        if t == tau:
                            after[middle] += p
                            continue
                        square, spread = slopes(middle)
                        m2, spread_at[t] = m2 + p * square, spread_at[t] + p * spread
                        if t == 0:
                            x2, gamma2 = x2 + p * square, gamma2 + p * spread
        points = after

    def value(w: Real) -> Real:
        return average([line.meta_value(w, alpha) for line in lines])

    last = mp.fsum(p * value(w) for w, p in points.items())
    b2 = average([b**2 for b in bias])
    return Run(x2 / K, m2 / (K * tau), value(start), last, gamma2 / K, max(spread_at) / K, average(variance), b2)


# -- quadratic users -----------------------------------------------------------------------------------------------


class Quadratics(NamedTuple):
    """A, c and the covariances of the mean gradients of batches D and D', user by user."""

    A: list[Any]
    c: list[list[Real]]
    inner: list[Any]
    outer: list[Any]


def quadratic_users(instance: Any) -> Quadratics | None:
    """Rows under a quadratic, or curves that are quadratics wherever a run can come; else None."""
    if instance.problem.kind == "rows":
        return _from_rows(instance) if on_rows.name_of(instance.problem.loss) == "Quadratic" else None
    return _from_lines(instance) if instance.problem.kind == "curves" else None


def _sizes(algorithm: Any) -> tuple[int | None, int | None]:
    if type(algorithm).__name__ == "FedAvg":
        return None, algorithm.batch
    return algorithm.batch_inner, algorithm.batch_outer


def _from_rows(instance: Any) -> Quadratics:
    problem, d = instance.problem, instance.problem.dim
    sizes, replace = _sizes(instance.algorithm), bool(instance.algorithm.replace)
    A, c, inner, outer = [], [], [], []
    for i, rows in enumerate(on_rows.users_of(problem)):
        a = on_rows.matrix_of(problem.loss, i, d)
        centre = mean([r.x for r in rows], [r.weight for r in rows])
        away = [times(a, minus(r.x, centre)) for r in rows]
        cov = mp.matrix(d, d)
        for r, g in zip(rows, away, strict=True):
            for j in range(d):
                for k in range(d):
                    cov[j, k] += r.weight * g[j] * g[k]
        A.append(mp.matrix(a))
        c.append(centre)
        inner.append(cov * factor(sizes[0], len(rows), replace=replace))
        outer.append(cov * factor(sizes[1], len(rows), replace=replace))
    return Quadratics(A, c, inner, outer)


def _from_lines(instance: Any) -> Quadratics | None:
    """f'' = h_i > 0 on the hull of w_0, all c_i and what the noise adds; alpha h_i <= 1, beta lam_i <= 1."""
    algorithm, alpha = instance.algorithm, real(instance.alpha)
    plain = type(algorithm).__name__ == "FedAvg"
    if (plain and alpha != 0) or (not plain and algorithm.variant != "exact"):
        return None
    noise, lines = instance.problem.family.noise, lines_of(instance.problem)
    if noise is not None and any(type(s).__name__ != "Flat" for s in noise.shapes):
        return None
    w0, beta = (ZERO if instance.w0 is None else real(instance.w0[0])), real(algorithm.beta)
    h = [line.second(w0) for line in lines]
    lam = [v * (1 - alpha * v) ** 2 for v in h]
    if min(h) <= 0 or max(alpha * v for v in h) > 1 or max(beta * v for v in lam) > 1:
        return None
    sizes = _sizes(algorithm)
    top = ZERO if noise is None else max(abs(mp.fsum(reals(c))) for c in noise.coefficients)
    kicks = [top if size is not None else ZERO for size in sizes]
    kick = max((1 - alpha * v) * (alpha * v * kicks[0] + kicks[1]) for v in h)
    if kick and min(lam) == 0:
        return None
    centres = [w0 - line.first(w0) / v for line, v in zip(lines, h, strict=True)]
    slack = (kick / min(lam) if kick else ZERO) + alpha * kicks[0]
    low, high = min(w0, *centres) - slack, max(w0, *centres) + slack
    for line, v in zip(lines, h, strict=True):
        nodes = [x for x in line.x if low < x < high]
        if line.outside(low) or line.outside(high) or any(line.second(x) != v for x in (low, *nodes, high)):
            return None
    variances = []
    for size in sizes:
        law = _law(noise, size, replace=bool(algorithm.replace))
        variances.append(mp.fsum(p * mp.fsum(c) ** 2 for p, c in law))
    n = len(lines)
    one = [mp.matrix([[v]]) for v in h]
    return Quadratics(one, [[v] for v in centres], [mp.matrix([[variances[0]]])] * n, [mp.matrix([[variances[1]]])] * n)


def moments(users: Quadratics, instance: Any) -> Run:
    """Moments (1, w, w w^T) of the model under one round, averaged over sets of users, and powers of that map."""
    alpha = real(instance.alpha)
    beta, tau, n, m, K = steps_of(instance)
    d = len(users.c[0])
    start = [ZERO] * d if instance.w0 is None else reals(instance.w0)
    eye = mp.eye(d)
    J = [eye - alpha * a for a in users.A]
    bend = [j * a * j for j, a in zip(J, users.A, strict=True)]  # Hessians of the F_i
    step_noise = [
        j * (e1 + alpha**2 * (a * e * a)) * j for j, a, e, e1 in zip(J, users.A, users.inner, users.outer, strict=True)
    ]
    column = [mp.matrix(c) for c in users.c]
    L = sum(bend[1:], bend[0]) / n
    l = sum((b * c for b, c in zip(bend[1:], column[1:], strict=True)), bend[0] * column[0]) / n
    # user i after t steps: P w + q, covariance S
    paths = []
    for b, c, e in zip(bend, column, step_noise, strict=True):
        P, q, S, path = eye, mp.matrix(d, 1), mp.matrix(d, d), []
        for _ in range(tau + 1):
            path.append((P, q, S))
            shrink = eye - beta * b
            P, q, S = shrink * P, shrink * q + beta * (b * c), shrink * S * shrink + beta**2 * e
        paths.append(path)
    size = 1 + d + d * d

    def square(G: Any, P: Any, q: Any, S: Any, g: Any) -> Any:
        """Functional of (1, w, w w^T) that gives E||G (P w + q + noise) - g||^2."""
        GP, rest, cov = G * P, G * q - g, G * S * G.T
        row = mp.matrix(1, size)
        row[0] = mp.fsum(v * v for v in rest) + mp.fsum(cov[k, k] for k in range(d))
        cross, inside = GP.T * rest, GP.T * GP
        for j in range(d):
            row[1 + j] = 2 * cross[j]
            for k in range(d):
                row[1 + d + j * d + k] = inside[j, k]
        return row

    T = mp.matrix(size, size)
    at = [mp.matrix(1, size) for _ in range(tau)]
    spread = [mp.matrix(1, size) for _ in range(tau)]
    subsets = list(itertools.combinations(range(n), m))
    for chosen in subsets:
        for t in range(tau + 1):
            P = sum((paths[i][t][0] for i in chosen[1:]), paths[chosen[0]][t][0]) / m
            q = sum((paths[i][t][1] for i in chosen[1:]), paths[chosen[0]][t][1]) / m
            S = sum((paths[i][t][2] for i in chosen[1:]), paths[chosen[0]][t][2]) / m**2
            if t < tau:
                at[t] += square(L, P, q, S, l) / len(subsets)
                for b, c in zip(bend, column, strict=True):
                    spread[t] += square(b - L, P, q, S, b * c - l) / (n * len(subsets))
                continue
            T += _transition(P, q, S, size) / len(subsets)
    value = (
        sum((_value(b, c, size) for b, c in zip(bend[1:], column[1:], strict=True)), _value(bend[0], column[0], size))
        / n
    )
    z = mp.matrix(size, 1)
    z[0] = ONE
    for j in range(d):
        z[1 + j] = start[j]
        for k in range(d):
            z[1 + d + j * d + k] = start[j] * start[k]
    power, total = _geometric(T, K)
    summed = total * z
    per = [(row * summed)[0] / K for row in at]
    apart = [(row * summed)[0] / K for row in spread]
    v2 = average([mp.fsum(e[k, k] for k in range(d)) for e in step_noise])
    first, last = (value * z)[0], (value * (power * z))[0]
    return Run(per[0], average(per), first, last, apart[0], max(apart), v2, ZERO)


def _transition(P: Any, q: Any, S: Any, size: int) -> Any:
    """(1, w, w w^T) -> the same of P w + q + noise of covariance S."""
    d = len(q)
    T = mp.matrix(size, size)
    T[0, 0] = ONE
    for j in range(d):
        T[1 + j, 0] = q[j]
        for k in range(d):
            T[1 + j, 1 + k] = P[j, k]
            row = 1 + d + j * d + k
            T[row, 0] = q[j] * q[k] + S[j, k]
            for a in range(d):
                T[row, 1 + a] += q[j] * P[k, a] + q[k] * P[j, a]
                for b in range(d):
                    T[row, 1 + d + a * d + b] = P[j, a] * P[k, b]
    return T


def _value(b: Any, c: Any, size: int) -> Any:
    """Functional of (w - c)^T b (w - c) / 2."""
    d, row = len(c), mp.matrix(1, size)
    bc = b * c
    row[0] = mp.fsum(bc[k] * c[k] for k in range(d)) / 2
    for j in range(d):
        row[1 + j] = -bc[j]
        for k in range(d):
            row[1 + d + j * d + k] = b[j, k] / 2
    return row


def _geometric(T: Any, K: int) -> tuple[Any, Any]:
    """T^K and I + T + ... + T^(K-1), digit by digit of K."""
    size = T.rows
    power, total = mp.eye(size), mp.matrix(size, size)
    for bit in bin(K)[2:]:
        total = total + power * total
        power = power * power
        if bit == "1":
            total = total + power
            power = power * T
    return power, total
