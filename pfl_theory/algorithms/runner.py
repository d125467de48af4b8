"""Run an algorithm for some rounds and record what was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import require
from ..kernels.philox import stream_key
from ..problems.problem import Problem
from ..runs.run import Run
from .algorithm import Algorithm, Round, as_dict, participants
from .checkpoints import Checkpoint, Progress, fingerprint
from .local_steps import local_steps, plain_plan
from .records import Moment, meta_gradient_norm2, names_of, quantities, traces_local_steps


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
    record: Sequence[str | Callable[[Moment], Any]] | str | Callable[[Moment], Any] | None = None,
    every: int = 1,
    alpha: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
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
    record : sequence of str or callable, optional
        Any of ``meta_value`` (F(w_k)), ``meta_gradient`` (||grad F(w_k)||^2), ``local_gradient``
        (||grad F(wbar_{k+1,t})||^2, t < tau), ``loss`` and ``accuracy``
        (per user, before and after one exact step of size alpha on the user's training data).
        A function of one's own gets a :class:`~pfl_theory.algorithms.records.Moment` and returns a number, or one a
        user. What the algorithm itself tells of a round (its diagnostics) is recorded with the others.
    every : int
        Record at rounds 0, every, 2 every, ... and after the last.
    alpha : float, optional
        Inner step of F and of personalisation; the algorithm's own when absent, 0 if it has none.
    checkpoint : path-like, optional
        An ``.npz`` file in which the run is kept while it is under way, written at least every minute (or after a round
        that takes longer): the same call after a kill goes on from there, with the same bits. Gone when the run ends.

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
    wanted, trace = quantities(record), traces_local_steps(record)
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
    first = start.astype(problem.oracle.dtype)
    progress = Progress(0, algorithm.init(trained, first), [], {})
    facts = {**as_dict(algorithm), "seed": int(seed), "rounds_asked": int(rounds), "n_users": problem.n_users}
    facts["dim"] = problem.dim
    kept = None
    if checkpoint is not None:
        tests = None if test is None else fingerprint(test, first)
        asked = {"record": names_of(record), "every": int(every), "alpha": inner}
        data = {"problem": fingerprint(problem, first), "test": tests, "w0": first.tolist()}
        kept = Checkpoint(checkpoint, {**facts, **asked, **data})
        progress = kept.load(type(progress.state)) or progress

    def measured(state: Any) -> dict[str, Any] | None:
        """What was asked for, or None where a quantity is not finite: the run has diverged, no such row is kept."""
        model = state.w if state.w_users is None else state.w_users
        at = Moment(problem, test or problem, model, inner)
        found = {name: value for quantity in wanted for name, value in quantity(at).items()}
        return found if all(np.isfinite(value).all() for value in found.values()) else None

    def traced(path: NDArray) -> NDArray:
        return np.array([meta_gradient_norm2(problem, w, inner) for w in path[:-1]])

    round_, state, at, records = progress
    diverged_at = None
    with np.errstate(all="ignore"):  # a run that overflows says so in its status
        for k in range(round_, int(rounds)):
            if kept is not None and kept.due():
                kept.write(Progress(k, state, at, records))
            due = k % every == 0 and record is not None
            row = measured(state) if due else {}
            if row is None:
                diverged_at = k
                break
            after = Round(*algorithm.round(trained, state, seed=seed, round_=k, trace=due and trace))
            if due:
                row |= after.diagnostics
                if trace:
                    row["local_gradient_norm2"] = traced(after.path)
                if trace and not np.isfinite(row["local_gradient_norm2"]).all():  # the round in which it diverges
                    diverged_at = k
                    break
                if row:
                    at.append(k)
                for name, value in row.items():
                    records.setdefault(name, []).append(value)
            if not np.isfinite(after.state.w).all():
                diverged_at = k
                break
            state = after.state
        else:
            row = measured(state) if record is not None else {}
            if row is None:
                diverged_at = int(rounds)
            elif row or records:
                at.append(int(rounds))
                for name, value in row.items():
                    records.setdefault(name, []).append(value)
                # the last record is after all rounds: no local step and no diagnostics follow it
                for values in records.values():
                    if len(values) < len(at):
                        values.append(np.full_like(np.asarray(values[0], dtype=np.float64), np.nan))
    if kept is not None:
        kept.remove()
    arrays = {name: np.array(values) for name, values in records.items()}
    status = "finished" if diverged_at is None else "diverged"
    return Run(state.w, state.w_users, status, np.array(at), arrays, facts, diverged_at)
