"""W1 of one user to the average of fifty: MNIST, the paper's split (a = 196), 980 or 490 images against about 36,000,
in 784 dimensions.

Contenders: ours (`between`, certified, with merging of points, costs and certificate), and what POT offers for the same
problem, given what is left when the user's own images are taken out of the average, with integer masses and costs of
mean 1 (its defaults would stop early): dense `ot.emd2` with its cost matrix; the same started from potentials (its own:
the most that a warm start can give; or those of the next user of the kind, made feasible); `ot.emd` with a sparse cost
matrix of the nearest points; and `ot.emd2_lazy`, which computes distances as it needs them. None of POT's gives a
certificate: what is kept of each is how far its value lies from ours.

One user at a time, so that memory holds one dense problem; a kind's ratio is the median over three users.
`ot.emd2_lazy` takes longer than 10 minutes for a single user: it runs on every twentieth point of the average, against
ours there.
"""

from __future__ import annotations

import resource
import statistics
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfl_theory import Measure
from pfl_theory.distances.between_users import shared
from pfl_theory.distances.support import Pair, pair
from pfl_theory.distances.wasserstein import between
from pfl_theory.federations import paper_pair
from pfl_theory.kernels.jit import one_blas_thread

from .alternate import alternate, report

USERS = {"980 images (five classes)": (0, 9, 18), "490 images (two classes)": (25, 33, 41)}
NEAREST = (10, 50, 200)  # points that a row or column of the sparse costs keeps at least
EVERY = 20  # point of the average that the lazy solver is given
MOST = 10**9  # iterations

Potentials = tuple[NDArray, NDArray]


class Given(NamedTuple):
    """A transport problem as POT takes it; `unit` turns its value into W1, `sinks` are the numbers of its columns."""

    x: NDArray
    y: NDArray
    a: NDArray
    b: NDArray
    unit: float
    sinks: NDArray


def given(problem: Pair) -> Given:
    """Points and masses in float64."""
    x, y = (problem.points[z].astype(np.float64) for z in (problem.sources, problem.sinks))
    a, b = problem.excess.astype(np.float64), problem.deficit.astype(np.float64)
    return Given(x, y, a, b, problem.scale / problem.total, problem.sinks)


def costs(at: Given) -> tuple[NDArray, float]:
    """All distances over their mean, and the mean: POT's tolerances are absolute."""
    import ot

    c = ot.dist(at.x, at.y, metric="euclidean")
    mean = float(c.mean())
    c /= mean
    return c, mean


def solved(at: Given) -> tuple[float, Potentials]:
    """What a user would call, with POT's traps avoided: the value, and potentials in units of the points."""
    import ot

    c, mean = costs(at)
    value, log = ot.emd2(at.a, at.b, c, numItermax=MOST, log=True)
    return float(value) * mean * at.unit, (log["u"] * mean, log["v"] * mean)


def dense(at: Given) -> float:
    """The same without potentials."""
    import ot

    c, mean = costs(at)
    return float(ot.emd2(at.a, at.b, c, numItermax=MOST)) * mean * at.unit


def warm(at: Given, potentials: Potentials) -> float:
    """Dense, started from the potentials of this very problem."""
    import ot

    c, mean = costs(at)
    start = (potentials[0] / mean, potentials[1] / mean)
    return float(ot.emd2(at.a, at.b, c, numItermax=MOST, potentials_init=start)) * mean * at.unit


def from_neighbour(at: Given, other: Given, potentials: Potentials) -> float:
    """Dense, started from another user's potentials at the points of the average that both have, made feasible."""
    import ot

    c, mean = costs(at)
    known = np.full(max(at.sinks.max(), other.sinks.max()) + 1, -np.inf)
    known[other.sinks] = potentials[1] / mean
    v = known[at.sinks]
    u = (c - v).min(1)
    start = (u, (c - u[:, None]).min(0))
    return float(ot.emd2(at.a, at.b, c, numItermax=MOST, potentials_init=start)) * mean * at.unit


def sparse(at: Given, nearest: int) -> float | None:
    """Arcs to the nearest columns of every row and the nearest rows of every column only: an upper bound of W1; None
    where these carry no plan. By `ot.emd`: `ot.emd2` would also keep a dictionary of all arcs, for gradients.
    """
    import ot
    from scipy.sparse import coo_matrix

    c, mean = costs(at)
    keep = np.zeros(c.shape, bool)
    np.put_along_axis(keep, np.argpartition(c, nearest, axis=1)[:, :nearest], True, 1)
    np.put_along_axis(keep, np.argpartition(c, nearest, axis=0)[:nearest], True, 0)
    arcs = np.nonzero(keep)
    few = coo_matrix((c[arcs], arcs), shape=c.shape)
    del c, keep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no plan exists is read from the log
        _, log = ot.emd(at.a, at.b, few, numItermax=MOST, log=True)
    return float(log["cost"]) * mean * at.unit if log["warning"] is None else None


def lazy(at: Given, potentials: Potentials | None = None) -> float:
    """Distances as the simplex asks for them, of points divided by their mean distance."""
    import ot

    mean = float(ot.dist(at.x, at.y[:: max(1, len(at.y) // 100)], metric="euclidean").mean())
    start = None if potentials is None else (potentials[0] / mean, potentials[1] / mean)
    kept = {"metric": "euclidean", "numItermax": MOST, "return_matrix": False, "potentials_init": start}
    return float(ot.emd2_lazy(at.x / mean, at.y / mean, at.a, at.b, **kept)) * mean * at.unit


def main(repeats: int = 1, peers: bool = True) -> dict[str, Any]:
    """Measure user by user, see how far the values lie apart, report each kind."""
    fed, _ = paper_pair("mnist")
    base = shared(fed, use_labels=False)
    between(base.with_average(3))  # compile
    kept: dict[str, Any] = {}
    for kind, users in USERS.items():
        kept[kind] = _kind(base, kind, users, repeats, peers)
        if peers:
            kept[f"{kind}, lazy"] = _lazy_kind(base, kind, users[0], repeats)
    return kept


def _kind(base: Any, kind: str, users: tuple[int, ...], repeats: int, peers: bool) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    off: dict[str, list[float | None]] = {}
    gaps, rounds = [], []
    neighbour = (given(base.with_average(users[-1])),) if peers else ()
    before = (*neighbour, solved(*neighbour)[1]) if peers else None  # the user before, in a ring
    for user in users:
        found = between(base.with_average(user))
        gaps.append(found.gap / found.upper)
        rounds.append(found.rounds)
        contenders: dict[str, Callable[[], Any]] = {"ours": lambda user=user: between(base.with_average(user)).upper}
        if before is not None:
            at = given(base.with_average(user))
            value, own = solved(at)
            assert abs(value - found.upper) <= 1e-9 * value, (value, found.upper)
            contenders |= _peers(at, own, before)
            before = (at, own)
        with one_blas_thread():
            _measure(contenders, found.upper, repeats, seconds, off)
    facts = {
        "name": f"wasserstein-{kind.split()[0]}",
        "users": users,
        "relative_gap": max(gaps),
        "rounds": rounds,
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    title = f"W1 of a user to the average of 50, {kind}; median of three users, {repeats} measurement(s) each"
    return report(title, seconds, "ours", facts, _notes(off))


def _peers(at: Given, own: Potentials, before: tuple[Given, Potentials]) -> dict[str, Callable[[], Any]]:
    """POT's ways, each with its own costs; potentials that a warm start begins with are there already."""
    return {
        "dense ot.emd2 + cost": lambda: dense(at),
        "dense, warm (its own solution)": lambda: warm(at, own),
        "dense, warm (another user's)": lambda: from_neighbour(at, *before),
        **{f"sparse, {k} nearest + cost": lambda k=k: sparse(at, k) for k in NEAREST},
    }


def _lazy_kind(base: Any, kind: str, user: int, repeats: int) -> dict[str, Any]:
    """One user against some points of the average, for the lazy solver: all of them take it over 10 minutes a user."""
    whole = base.with_average(user)
    some = slice(None, None, EVERY)
    p, q = (
        Measure(whole.points[z] * whole.scale, weights=m / m.sum())
        for z, m in ((whole.sources, whole.excess), (whole.sinks[some], whole.deficit[some]))
    )
    problem = pair(p, q, use_labels=False)
    at, found = given(problem), between(problem)
    own = solved(at)[1]
    contenders: dict[str, Callable[[], Any]] = {
        "ours": lambda: between(problem).upper,
        "dense ot.emd2 + cost": lambda: dense(at),
        "ot.emd2_lazy": lambda: lazy(at),
        "ot.emd2_lazy, warm (its own)": lambda: lazy(at, own),
    }
    seconds: dict[str, list[float]] = {}
    off: dict[str, list[float | None]] = {}
    with one_blas_thread():
        _measure(contenders, found.upper, repeats, seconds, off)
    facts = {
        "name": f"wasserstein-{kind.split()[0]}-lazy",
        "users": [user],
        "reduced": f"every {EVERY}th point of the average: with all, ot.emd2_lazy took more than 10 minutes a user",
        "sizes": [len(at.a), len(at.b)],
        "relative_gap": found.gap / found.upper,
        "rounds": [found.rounds],
    }
    title = f"W1 of {len(at.a)} images to {len(at.b)} (one user, every {EVERY}th point of the average)"
    return report(title, seconds, "ours", facts, _notes(off))


def _measure(
    contenders: dict[str, Callable[[], Any]],
    ours: float,
    repeats: int,
    seconds: dict[str, list[float]],
    off: dict[str, list[float | None]],
) -> None:
    """Seconds of each, and how far its value lies from ours: added to what other users gave."""
    values: dict[str, float | None] = {}

    def kept(name: str, call: Callable[[], Any]) -> Callable[[], None]:
        def measured() -> None:
            values[name] = call()

        return measured

    timed = alternate({name: kept(name, call) for name, call in contenders.items()}, repeats=repeats, warm=0)
    for name, each in timed.items():
        value = values[name]
        seconds.setdefault(name, []).append(statistics.median(each))
        off.setdefault(name, []).append(None if value is None else value / ours - 1)


def _notes(off: dict[str, list[float | None]]) -> dict[str, dict[str, Any]]:
    """Of each contender: whether it certifies its value, and the largest relative difference to ours."""
    notes: dict[str, dict[str, Any]] = {}
    for name, each in off.items():
        known = [value for value in each if value is not None]
        notes[name] = {"certificate": name == "ours", "relative_error": max(known, key=abs, default=None)}
        if len(known) < len(each):
            notes[name]["infeasible"] = len(each) - len(known)
    return notes


def memory() -> float:
    """Peak memory in MiB of a process that measures one user of 980 images and nothing else: run in a fresh process."""
    fed, _ = paper_pair("mnist")
    between(shared(fed, use_labels=False).with_average(0))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
