"""Run an algorithm for some rounds and record what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, require
from ..kernels.philox import stream_key
from ..problems.problem import Problem
from ..runs.run import Run
from .algorithm import Algorithm, as_dict, participants, plain_plan
from .local_steps import local_steps

RECORDS = ("meta_value", "meta_gradient", "local_gradient", "loss", "accuracy")


def adapt(
    problem: Problem,
    w: ArrayLike,
    *,
    alpha: float,
    steps: int = 1,
    batch: int | None = None,
    seed: int = 0,
    replace: bool = True,
) -> NDArray:
    """Personalise: `steps` gradient steps of size `alpha` from w on every user's own data.

    Parameters
    ----------
    problem : Problem
        The users' training data.
    w : array_like, shape (d,) or (n, d)
    alpha : float
        Step, >= 0.
    steps : int
        Number of steps, >= 1.
    batch : int or None
        Batch size; None takes the exact gradient.
    seed : int
        Root seed of the batches.

    Returns
    -------
    ndarray, shape (n, d)
        One model a user; `w` is not changed.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> adapt(problem, [1.0], alpha=0.5).ravel().tolist()
    [0.5, 1.5]
    """
    require(bool(np.isfinite(alpha) and alpha >= 0), f"adapt: alpha = {alpha}; must be a finite number >= 0")
    whole = isinstance(batch, (int, np.integer)) and not isinstance(batch, bool)
    require(
        batch is None or (whole and batch >= 1),
        f"adapt: batch = {batch!r}; must be an integer >= 1, or None for the exact gradient",
    )  # type: ignore[operator]
    require(isinstance(steps, (int, np.integer)) and steps >= 1, f"adapt: steps = {steps!r}; must be an integer >= 1")
    start = problem.points(w)
    require(bool(np.isfinite(start).all()), "adapt: w contains NaN or infinity")
    _, final = local_steps(
        problem,
        np.arange(problem.n_users),
        start,
        plain_plan(alpha, steps, batch, replace),
        seed=seed,
        round_=2**31,
        keep=True,
    )
    return final


def run(
    algorithm: Algorithm,
    problem: Problem,
    *,
    rounds: int,
    w0: ArrayLike | None = None,
    seed: int = 0,
    test: Problem | None = None,
    record: Sequence[str] | str | None = None,
    every: int = 1,
    alpha: float | None = None,
) -> Run:
    """Run `algorithm` on `problem`.

    Parameters
    ----------
    algorithm : Algorithm
    problem : Problem
        Training data (or functions) of the users.
    rounds : int
        K >= 1.
    w0 : array_like, shape (d,), optional
        First model; 0 when absent.
    seed : int
        Root seed: same seed, same bits, for any number of threads.
    test : Problem, optional
        The same users' test data; `loss` and `accuracy` are scored there (on the training data when absent).
    record : sequence of str, optional
        Any of ``meta_value`` (F(w_k)), ``meta_gradient`` (||grad F(w_k)||^2), ``local_gradient``
        (||grad F(wbar_{k+1,t})||^2, t < tau), ``loss`` and ``accuracy``
        (per user, before and after one exact step of size alpha on the user's training data).
    every : int
        Record at rounds 0, every, 2 every, ... and after the last.
    alpha : float, optional
        Inner step of F and of personalisation; the algorithm's own when absent, 0 if it has none.

    Returns
    -------
    Run
        A run that meets NaN or infinity stops with status ``diverged``.

    Raises
    ------
    InputError
        Bad hyperparameters, unknown records, more users a round than there are.
    """
    require(
        isinstance(algorithm, Algorithm),
        f"run: algorithm is {type(algorithm).__name__}; give PerFedAvg, FedAvg, LocalTraining or Centralized",
    )
    require(isinstance(rounds, (int, np.integer)) and rounds >= 1, f"run: rounds = {rounds!r}; must be an integer >= 1")
    require(isinstance(every, (int, np.integer)) and every >= 1, f"run: every = {every!r}; must be an integer >= 1")
    wanted = (record,) if isinstance(record, str) else tuple(record or ())
    for name in wanted:
        require(name in RECORDS, f"run: record {name!r}; choose from {', '.join(map(repr, RECORDS))}")
    require(
        test is None or isinstance(test, Problem),
        f"run: test is {type(test).__name__}; give a Problem on the users' test data",
    )
    stream_key(seed, "")  # refuses a bad seed even where nothing is drawn
    require(
        test is None or (test.dim == problem.dim and test.n_users == problem.n_users),
        "run: test has other users or another dimension than problem; give the same users' test data",
    )
    inner = float(getattr(algorithm, "alpha", 0.0)) if alpha is None else float(alpha)
    require(bool(np.isfinite(inner) and inner >= 0), f"run: alpha = {inner}; must be a finite number >= 0")
    if hasattr(algorithm, "participation"):
        participants(algorithm.participation, problem.n_users)
    start = np.zeros(problem.dim) if w0 is None else np.asarray(w0)
    require(start.shape == (problem.dim,), f"run: w0 has shape {start.shape}; must be ({problem.dim},)")
    require(bool(np.isfinite(start).all()), "run: w0 contains NaN or infinity")

    trained = algorithm.prepare(problem)
    state = algorithm.init(trained, start.astype(problem.oracle.dtype))
    at: list[int] = []
    records: dict[str, list[Any]] = {}

    def note(k: int) -> bool:
        """Record round k, unless a quantity is not finite: then the run has diverged, and no such row is kept."""
        model = state.w if state.w_users is None else state.w_users
        found = _measure(problem, test or problem, model, inner, wanted)
        if not all(np.isfinite(value).all() for value in found.values()):
            return False
        at.append(k)
        for name, value in found.items():
            records.setdefault(name, []).append(value)
        return True

    diverged_at = None
    with np.errstate(all="ignore"):  # a run that overflows says so in its status
        for k in range(int(rounds)):
            due = k % every == 0
            if due and wanted and not note(k):
                diverged_at = k
                break
            after, path = algorithm.round(trained, state, seed=seed, round_=k, trace=due and "local_gradient" in wanted)
            if due and "local_gradient" in wanted:
                squares = [_meta_gradient_norm2(problem, w, inner) for w in path[:-1]]
                if not np.isfinite(squares).all():  # the local steps of a round about to diverge: its row is not kept
                    at.pop()
                    diverged_at = k
                    break
                records.setdefault("local_gradient_norm2", []).append(np.array(squares))
            if not np.isfinite(after.w).all():
                diverged_at = k
                break
            state = after
        else:
            if wanted and not note(int(rounds)):
                diverged_at = int(rounds)
    n_records = len(at)
    if (
        "local_gradient_norm2" in records and diverged_at is None
    ):  # the last record is after all rounds: no local step follows it
        records["local_gradient_norm2"].append(np.full_like(records["local_gradient_norm2"][0], np.nan))
    arrays = {name: np.array(values[:n_records]) for name, values in records.items()}
    facts = {
        **as_dict(algorithm),
        "seed": int(seed),
        "rounds_asked": int(rounds),
        "n_users": problem.n_users,
        "dim": problem.dim,
    }
    return Run(
        state.w,
        state.w_users,
        "finished" if diverged_at is None else "diverged",
        np.array(at),
        arrays,
        facts,
        diverged_at,
    )


def _meta_gradient_norm2(problem: Problem, w: NDArray, alpha: float) -> float:
    mean = problem.meta_gradient(w, alpha).mean(0)
    return float(mean @ mean)


def _measure(problem: Problem, test: Problem, w: NDArray, alpha: float, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The asked quantities at w (d,) or (n, d); evaluation never moves the model."""
    found: dict[str, Any] = {}
    if "meta_value" in wanted:
        found["meta_value"] = float(problem.meta_value(w, alpha).mean())
    if "meta_gradient" in wanted:
        if w.ndim == 2:
            raise InputError("record 'meta_gradient' needs one common model; local-only training keeps one a user")
        found["gradient_norm2"] = _meta_gradient_norm2(problem, w, alpha)
    if "loss" in wanted or "accuracy" in wanted:
        personal = problem.adapted(w, alpha)
        for name, score in (("loss", test.value), ("accuracy", test.accuracy)):
            if name in wanted:
                found[f"{name}_before"], found[f"{name}_after"] = score(w), score(personal)
    return found
