"""FedFomo: every user weighs the models of others by how much they lower its own validation loss, and how far they are.

Zhang, Sapra, Fidler, Yeung and Alvarez (2021), arXiv 2012.08565; what is known of its text, and where public codes
differ: docs/theory/relatives.md#10-1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, one_of, require
from ..kernels.philox import choose_users
from ..problems.problem import Problem
from ..seeds import checked_seed, generator
from .algorithm import Algorithm, Round, State, checked_epochs, checked_steps, participants
from .candidates import losses_of_pairs
from .checkpoints import fingerprint
from .local_steps import LocalPlan, local_steps, plain_plan

NORMS = ("l2", "l1", "squared l2")
UNHELPED = ("base", "trained")
AFFINITIES = ("raw", "clipped", "divided")
STARTS = ("own", "equal")
OWN_AFFINITY = 0.1  # of a user for itself, where the others start at 0


# --- the formulas ---


def moves(base: ArrayLike, candidates: ArrayLike) -> NDArray:
    """Candidates less the base, refused where they are not of one shape."""
    base, candidates = np.asarray(base), np.asarray(candidates)
    require(
        candidates.ndim == 2 and base.shape == candidates.shape[1:],
        f"FedFomo: candidates have shape {candidates.shape}, the base {base.shape}; give (m, d) candidates of the same "
        "network as the (d,) base",
    )
    return np.asarray(candidates - base)


def distances(base: NDArray, candidates: NDArray, norm: str = "l2") -> NDArray:
    """How far each candidate lies from the base.

    Parameters
    ----------
    norm : {"l2", "l1", "squared l2"}
        The formula's norm is not certain; the authors' code takes the l1 norm by default and the squared l2 norm on
        request.

    Examples
    --------
    >>> import numpy as np
    >>> [float(distances(np.zeros(2), np.array([[3.0, 4.0]]), norm)[0]) for norm in NORMS]
    [5.0, 7.0, 25.0]
    """
    one_of("FedFomo: norm", norm, NORMS)
    away = moves(base, candidates).astype(np.float64)
    if norm == "l1":
        return np.asarray(np.abs(away).sum(1))
    square = np.einsum("md,md->m", away, away)
    return np.asarray(square if norm == "squared l2" else np.sqrt(square))


def unnormalised(
    l0: float, losses: ArrayLike, dists: ArrayLike, power: float = 1, eps: float = 0.0, *, clip: bool = True
) -> NDArray:
    """(l0 - losses) / (dists^power + eps), what is negative set to 0 unless `clip` is off.

    A candidate at the base, or one whose loss is not finite, counts 0.
    """
    loss, far = np.asarray(losses, dtype=np.float64), np.asarray(dists, dtype=np.float64)
    require(
        loss.shape == far.shape and loss.ndim == 1,
        f"FedFomo: {loss.shape} losses and {far.shape} distances; give one of each a candidate",
    )
    require(bool(np.isfinite(eps) and eps >= 0), f"FedFomo: eps = {eps}; must be a finite number >= 0")
    counts = np.isfinite(loss) & (far > 0)
    gain = np.where(counts, l0 - np.where(counts, loss, 0.0), 0.0)
    if clip:
        gain = np.maximum(gain, 0.0)
    return np.divide(gain, far**power + eps, out=np.zeros_like(gain), where=counts)


def weights(l0: float, losses: ArrayLike, dists: ArrayLike, power: float = 1, eps: float = 0.0) -> NDArray:
    """Weights of the candidates: in the simplex, or all 0 where no candidate has a smaller loss than the base.

    Parameters
    ----------
    l0 : float
        Validation loss of the base.
    losses, dists : array_like, shape (m,)
        Validation loss of every candidate, and its distance from the base.
    power : float
        Of the distance; 1 is the formula's, 2 the gradient's in the coordinates along the unit directions.
    eps : float
        Added to the distance, as public codes do; moves the weights by at most (1 - sqrt r) / (1 + sqrt r) in total
        variation, r = D_min / (D_min + eps).

    Examples
    --------
    >>> weights(1.0, [0.5, 0.0, 2.0], [1.0, 2.0, 1.0]).tolist()
    [0.5, 0.5, 0.0]
    """
    u = unnormalised(l0, losses, dists, power, eps)
    largest = u.max(initial=0.0)
    if not largest > 0:
        return np.zeros_like(u)
    u = u / largest  # no sum overflows
    return np.asarray(u / u.sum())


def step(base: NDArray, candidates: NDArray, weights: NDArray, t: float = 1.0) -> NDArray:
    """base + t sum w_n (theta_n - base).

    Examples
    --------
    >>> import numpy as np
    >>> step(np.zeros(1), np.array([[1.0], [3.0]]), np.array([0.5, 0.5])).tolist()
    [2.0]
    """
    away = moves(base, candidates)
    given = np.shape(weights)
    require(given == away.shape[:1], f"FedFomo: {given} weights of {len(away)} candidates; give one each")
    return np.asarray(base + t * (weights @ away))


def select(row: NDArray, models: int, epsilon: float, rng: np.random.Generator) -> NDArray:
    """Which of the candidates to download: each of the slots at random with probability epsilon, else the best
    affinity that is left; ties are broken at random.

    Parameters
    ----------
    row : ndarray, shape (m,)
        Affinities of the candidates.
    models : int
        Slots; fewer where there are fewer candidates.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.array([0.1, 3.0, 2.0]), 2, 0.0, np.random.default_rng(0)).tolist()
    [1, 2]
    """
    require(bool(np.isfinite(epsilon) and 0 <= epsilon <= 1), f"FedFomo: epsilon = {epsilon}; must lie in [0, 1]")
    order = rng.permutation(len(row))
    left = list(order[np.argsort(-np.asarray(row)[order], kind="stable")])
    chosen = []
    for _ in range(min(models, len(left))):
        at = int(rng.integers(len(left))) if rng.random() < epsilon else 0
        chosen.append(left.pop(at))
    return np.array(chosen, dtype=np.int64)


def update_affinity(affinity: NDArray, user: int, ids: NDArray, raw: NDArray, rule: str = "raw") -> NDArray:
    """A new matrix in which `user` thinks better, or worse, of those it has seen.

    Parameters
    ----------
    raw : ndarray, shape (m,)
        Weights of `ids`, neither clipped nor normalised.
    rule : {"raw", "clipped", "divided"}
        Add them as they are; what is positive of them (never falls); or divided by the absolute value of their sum, as
        the authors' code does (a sum near 0 blows up).

    Examples
    --------
    >>> import numpy as np
    >>> update_affinity(np.zeros((2, 2)), 0, np.array([1]), np.array([-0.5]))[0].tolist()
    [0.0, -0.5]
    """
    one_of("FedFomo: affinity", rule, AFFINITIES)
    total = abs(float(raw.sum()))
    if rule == "clipped":
        raw = np.maximum(raw, 0.0)
    elif rule == "divided":
        raw = raw / total if total > 0 else np.zeros_like(raw)
    after = affinity.copy()
    after[user, ids] += raw
    return after


# --- the algorithm ---


@dataclass(frozen=True)
class FomoState(State):
    """One model a user as last uploaded, what it was before that training, who helped whom, and who has uploaded."""

    bases: NDArray | None = None
    affinity: NDArray | None = None
    uploaded: NDArray | None = None


class Splits(NamedTuple):
    """What users train on, and what they weigh models on."""

    train: Problem
    validation: Problem


@dataclass(frozen=True)
class FedFomo(Algorithm):
    """FedFomo: a user downloads models of others, moves to a weighted average of those that lower its validation loss,
    trains, and uploads.

    The first round of a user is local training alone. From then on, with theta the user's model before its last local
    training: w_n is (loss of theta - loss of theta_n), what is negative set to 0, over the distance, normalised; the
    user goes on from theta + sum w_n (theta_n - theta). Its own trained model is always one of the theta_n.

    Parameters
    ----------
    beta, local_steps, participation, batch, replace, local_epochs
        Local training, as in :class:`~pfl_theory.algorithms.baselines.FedAvg`.
    models : int
        Models that a user weighs a round, its own included: M >= 1, at most the number of users.
    epsilon, epsilon_drop : float
        Share of downloads that are random in the first round, and what it loses a round, down to 0.
    norm : {"l2", "l1", "squared l2"}
        The distance of two models.
    eps : float
        Added to it.
    unhelped : {"base", "trained"}
        Where a user goes on whom no model helps: back to the base, which drops its local training, or its own trained
        model.
    affinity : {"raw", "clipped", "divided"}
        What is added to the affinities: see :func:`update_affinity`.
    affinity_start : {"own", "equal"}
        0 but 0.1 for oneself (authors' code), or all equal (a reader's account).
    validation : float
        Share of a user's rows that it weighs models on and never trains on, drawn once.
    split_seed : int
        Root seed of that split.
    targets : str
        Names the users' validation data where they were given by :meth:`towards`; leave it empty.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> rng = np.random.default_rng(0)
    >>> fed = pfl.Federation.from_arrays([rng.normal(m, 1, (20, 1)) for m in (0.0, 0.0, 5.0, 5.0)])
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), fed)
    >>> run = pfl.run(pfl.FedFomo(beta=0.1, local_steps=5, models=4), problem, rounds=10, record="loss", seed=1)
    >>> run.records["weights"].shape
    (11, 4, 4)
    >>> bool(abs(run.w_users[0] - run.w_users[2])[0] > 3)
    True
    """

    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None
    models: int = 5
    epsilon: float = 0.3
    epsilon_drop: float = 0.05
    norm: str = "l2"
    eps: float = 0.0
    unhelped: str = "base"
    affinity: str = "raw"
    affinity_start: str = "own"
    validation: float = 0.2
    split_seed: int = 0
    targets: str = ""

    def __post_init__(self) -> None:
        checked_steps("FedFomo", beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs("FedFomo", self.local_epochs, self.local_steps, self.batch)
        whole = isinstance(self.models, (int, np.integer)) and not isinstance(self.models, bool)
        require(whole and self.models >= 1, f"FedFomo: models = {self.models!r}; must be an integer >= 1")
        for name in ("epsilon", "epsilon_drop"):
            value = getattr(self, name)
            require(bool(np.isfinite(value) and 0 <= value <= 1), f"FedFomo: {name} = {value}; must lie in [0, 1]")
        require(
            bool(np.isfinite(self.validation) and 0 < self.validation < 1),
            f"FedFomo: validation = {self.validation}; must lie strictly between 0 and 1",
        )
        require(bool(np.isfinite(self.eps) and self.eps >= 0), f"FedFomo: eps = {self.eps}; must be a number >= 0")
        one_of("FedFomo: norm", self.norm, NORMS)
        one_of("FedFomo: unhelped", self.unhelped, UNHELPED)
        one_of("FedFomo: affinity", self.affinity, AFFINITIES)
        one_of("FedFomo: affinity_start", self.affinity_start, STARTS)
        checked_seed(self.split_seed)

    @property
    def label(self) -> str:
        return "FedFomo"

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)

    def towards(self, validation: Problem) -> FedFomo:
        """The same with models weighed on these data: user i's target distribution, which need not be its own.

        Then no row of the training data is held out.

        Examples
        --------
        >>> import pfl_theory as pfl
        >>> users = [pfl.Federation.from_arrays([[[a]], [[b]]]) for a, b in ((0.0, 2.0), (2.0, 0.0))]
        >>> here, there = (pfl.Problem(pfl.losses.Quadratic(), fed) for fed in users)
        >>> swapped = FedFomo(beta=0.5, local_steps=9, models=2).towards(there)
        >>> w = pfl.run(swapped, here, rounds=2).w_users.ravel()  # each trains on its own data after all
        >>> [round(float(v), 1) for v in w]
        [0.0, 2.0]
        """
        require(isinstance(validation, Problem), f"FedFomo: towards got {type(validation).__name__}; give a Problem")
        named = replace(self, targets=fingerprint(validation, np.zeros(validation.dim)))
        object.__setattr__(named, "_targets", validation)
        return named

    def prepare(self, problem: Problem) -> Splits:
        n = problem.n_users
        require(self.models <= n, f"FedFomo: models = {self.models}, own included, of {n} users; must be 1 to {n}")
        if not self.targets:
            return split(problem, self.validation, self.split_seed)
        given: Problem | None = getattr(self, "_targets", None)
        if given is None:
            raise InputError("FedFomo: its target data are not in this process; call towards(validation) again")
        require(
            given.n_users == n and given.dim == problem.dim,
            f"FedFomo: target data of {given.n_users} users and dimension {given.dim} for {n} users and dimension "
            f"{problem.dim}; give one target a user, of the same network",
        )
        return Splits(problem, given)

    def init(self, problem: Splits, w0: NDArray) -> FomoState:
        n = problem.train.n_users
        affinity = np.zeros((n, n)) if self.affinity_start == "equal" else OWN_AFFINITY * np.eye(n)
        models = np.tile(w0, (n, 1))
        return FomoState(w0, models, models, affinity, np.zeros(n, dtype=bool))

    def round(self, problem: Splits, state: FomoState, *, seed: int, round_: int, trace: bool = False) -> Round:
        assert state.w_users is not None
        assert state.bases is not None
        assert state.affinity is not None
        assert state.uploaded is not None
        n = problem.train.n_users
        users = choose_users(n, participants(self.participation, n), seed, round_)
        starts, affinity, seen = state.w_users.copy(), state.affinity, np.zeros((n, n))
        epsilon = max(0.0, self.epsilon - self.epsilon_drop * round_)
        chosen = {int(i): self._downloads(state, int(i), epsilon, seed, round_) for i in users if state.uploaded[i]}
        losses = _losses(problem.validation, state, chosen) if chosen else {}
        for i, ids in chosen.items():
            base, candidates, (before, *loss) = state.bases[i], state.w_users[ids], losses[i]
            far = distances(base, candidates, self.norm)
            w = weights(before, loss, far, eps=self.eps)
            raw = unnormalised(before, loss, far, eps=self.eps, clip=False)
            if w.any() or self.unhelped == "base":
                starts[i] = step(base, candidates, w.astype(base.dtype))
            affinity = update_affinity(affinity, i, ids, raw, self.affinity)
            seen[i, ids] = w
        path, ends = local_steps(
            problem.train, users, starts, self.plan, seed=seed, round_=round_, trace=trace, keep=True
        )
        models, bases, uploaded = state.w_users.copy(), state.bases.copy(), state.uploaded.copy()
        models[users], bases[users], uploaded[users] = ends, starts[users], True
        after = FomoState(models.mean(0), models, bases, affinity, uploaded)
        return Round(after, path, {"weights": seen, "affinity": affinity})

    def _downloads(self, state: FomoState, user: int, epsilon: float, seed: int, round_: int) -> NDArray:
        """Whose models a user weighs: those it downloads of what was uploaded, and its own."""
        assert state.affinity is not None
        assert state.uploaded is not None
        others = np.flatnonzero(state.uploaded)
        others = others[others != user]
        rng = generator(seed, "FedFomo downloads", round_, user)
        return np.append(others[select(state.affinity[user, others], self.models - 1, epsilon, rng)], user)


def _losses(validation: Problem, state: FomoState, chosen: dict[int, NDArray]) -> dict[int, NDArray]:
    """Validation losses of each of these users: of its base, then of its candidates."""
    assert state.w_users is not None
    assert state.bases is not None
    n, users = len(state.bases), list(chosen)
    weighed = [np.append(i, n + ids) for i, ids in chosen.items()]
    sizes = [len(some) for some in weighed]
    models, which = np.unique(np.concatenate(weighed), return_inverse=True)
    points = np.stack([state.bases[k] if k < n else state.w_users[k - n] for k in models])
    found = losses_of_pairs(validation, points, np.repeat(users, sizes), which)
    return dict(zip(users, np.split(found, np.cumsum(sizes)[:-1]), strict=True))


def split(problem: Problem, share: float, seed: int) -> Splits:
    """Every user's rows cut once into those it trains on and those it weighs models on.

    Raises
    ------
    InputError
        A user has so few rows that one part would be empty, or the problem has no rows.
    """
    require(
        problem.kind == "rows",
        f"FedFomo: a problem from {problem.kind} has no rows to hold out; use towards(validation) to give the users' "
        "validation losses",
    )
    parts = problem.federation.split(share, seed=seed)
    train, held_out = (Problem(problem.loss, part, problem.oracle.dtype) for part in parts)
    return Splits(train, held_out)
