"""How far apart the users' data are: TV and W1 where they can be afforded, and what sampling alone would show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..distances.noise import noise_floor
from ..distances.total_variation import between_label_laws
from ..errors import InputError, one_of
from ..federations.federation import Federation
from ..judging.on_data import on_points, w1_pairs, w1_to_average
from ..problems.problem import Problem
from ..sweeps.progress import span
from .bound import MOST_MASSES

AFFORDABLE = 5.0  # seconds of W1 that a report takes without being asked
A_PAIR = 3e-7  # seconds a pair of rows: 60 to 700 nanoseconds were seen on two cores
AN_ENTRY = 3e-5  # seconds a pair of users, whatever their rows
WIDE = 400  # features at which distances between rows cost as much as transport (8-bit images are faster)
LONG = 1500  # rows of the smaller side at which the network simplex takes twice as long a pair
FLOOR = {"users": 20, "rows": 50, "deals": 39}  # of the noise floor: a second
HOW_MUCH = ("affordable", "all", "none")


class Floor(NamedTuple):
    """W1 between equal samples of users, and what dealing their rows at random leaves of it."""

    users: int
    rows: int
    observed: float
    floor: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Users:
    """Distances between users, exact or certified.

    Attributes
    ----------
    names : list
        Of the users, or their numbers.
    rows : ndarray of int, shape (n,)
    tv : ndarray, shape (n,), or None
        Total variation of each user to the average.
    tv_mean_square : float or None
        M of total variation, from above.
    labels : ndarray, shape (n,), or None
        The same of the label laws alone.
    w1 : ndarray, shape (n,), or None
        W1 of the features of each user to the average, upper ends.
    M, P : float or None
        (1/n) sum W1(p_i, p)^2 and (1/(2 n^2)) sum W1(p_i, p_j)^2, upper ends.
    floor : Floor or None
        Where rows are samples.
    left_out : tuple of str
        What was not computed, and why.
    """

    names: list[object]
    rows: NDArray
    tv: NDArray | None
    tv_mean_square: float | None
    labels: NDArray | None
    w1: NDArray | None
    M: float | None
    P: float | None
    floor: Floor | None
    left_out: tuple[str, ...]


def too_dear(problem: Problem, how_much: str) -> str | None:
    """Why W1 between all users is not computed, or None."""
    one_of("distances", how_much, HOW_MUCH)
    if how_much == "none":
        return "left out: distances='none'"
    seconds = expected_seconds(problem.federation) * (2 if problem.loss.reads_labels else 1)  # with labels, and without
    if how_much == "all" or seconds <= AFFORDABLE:
        return None
    return f"left out: it takes about {span(seconds)}; distances='all' measures it"


def expected_seconds(fed: Federation) -> float:
    """Roughly what W1 of all pairs of users and of each to the average takes: from above more often than not.

    Examples
    --------
    >>> fed = Federation.from_arrays(np.zeros((4, 100, 2)))
    >>> 0.01 < expected_seconds(fed) < 0.1
    True
    """
    sizes = fed.sizes.astype(float)
    slower = float((sizes * (1 + (sizes / LONG) ** 3)).sum())
    wide = 1.0 if fed.x.dtype == np.uint8 else 1 + fed.n_features / WIDE
    return 1.5 * A_PAIR * float(sizes.sum()) * slower * wide + AN_ENTRY * fed.n_users**2 / 2


def users_of(problem: Problem, how_much: str, tell: Callable[[str], None] | None = None) -> Users | None:
    """Distances between the users of a problem made from rows; None for functions, which have no data."""
    if problem.kind != "rows":
        return None
    fed, left_out = problem.federation, []
    say = tell or (lambda _: None)
    tv = tv_square = w1 = M = P = None
    if fed.n_users * len(fed.x) <= MOST_MASSES:
        say("total variation of each user to the average")
        points = on_points(problem)
        tv, tv_square = points.tv_to_average, float(points.mean_square().upper)
    else:
        left_out.append(f"TV: {fed.n_users} users on {len(fed.x)} points are too many masses to hold")
    dear = too_dear(problem, how_much)
    if dear is None:
        say("W1 of each user to the average")
        average = w1_to_average(fed, None)
        say("W1 of all pairs of users")
        w1, M, P = average.average_upper, average.M[1], w1_pairs(fed, None).P[1]
    else:
        left_out.append(f"W1 {dear}")
    floor, why = None, None
    if fed.law == "sample" and how_much != "none":
        say("W1 that sampling alone would show")
        floor, why = _floor(fed)
    if why is not None:
        left_out.append(why)
    labels = _labels(problem)
    names = fed.info.get("users")
    known = names if isinstance(names, list) and len(names) == fed.n_users else list(range(fed.n_users))
    return Users(known, fed.sizes, tv, tv_square, labels, w1, M, P, floor, tuple(left_out))


def _labels(problem: Problem) -> NDArray | None:
    """TV of each user's label law to their average."""
    fed = problem.federation
    if not problem.loss.classifies or fed.y is None:
        return None
    y = fed.y.astype(np.int64)
    laws = np.stack(
        [np.bincount(y[fed.rows(i)], fed.weights[fed.rows(i)], int(y.max()) + 1) for i in range(fed.n_users)]
    )
    laws = laws / laws.sum(1, keepdims=True)
    return between_label_laws(np.vstack([laws, laws.mean(0)]))[-1, :-1]


def _floor(fed: Federation) -> tuple[Floor | None, str | None]:
    """Of some users, evenly spaced, and as many rows of each as all of them have."""
    rows = int(min(FLOOR["rows"], fed.sizes.min()))
    chosen = np.unique(np.linspace(0, fed.n_users - 1, min(FLOOR["users"], fed.n_users)).astype(int))
    if rows < 2 or len(chosen) < 2:
        return None, "noise floor: it needs two users of two rows each"
    try:
        found = noise_floor(fed.select(chosen), m=rows, permutations=FLOOR["deals"])
    except InputError as error:
        return None, str(error)
    apart = float(found.observed[np.triu_indices(len(chosen), 1)].mean())
    return Floor(len(chosen), rows, apart, found.floor, found.p_value), None
