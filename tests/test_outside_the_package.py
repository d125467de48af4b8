"""What a researcher defines outside the package works like what is in it: runs, saves, loads, is judged."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.algorithms import Algorithm, State
from pfl_theory.algorithms.algorithm import Round
from pfl_theory.algorithms.checkpoints import Checkpoint
from pfl_theory.algorithms.local_steps import local_steps, plain_plan
from pfl_theory.constants import Constant
from pfl_theory.errors import InputError
from pfl_theory.losses.dispatch import implements
from pfl_theory.losses.loss import Loss, real_targets

# --- an algorithm: a server optimiser, two splits a user, users who look at one another ---


@dataclasses.dataclass(frozen=True)
class Moments(State):
    first: NDArray | None = None
    steps: int = 0


class Splits(NamedTuple):
    train: pfl.Problem
    validation: pfl.Problem


@dataclasses.dataclass(frozen=True)
class Neighbours(Algorithm):
    """FedAvg with server momentum; every user then moves towards the model that is best on its validation rows."""

    beta: float = 0.1
    momentum: float = 0.5
    batch: int = 2
    epochs: int = 2

    @property
    def label(self) -> str:
        return "neighbours"

    def prepare(self, problem):
        fed = problem.federation
        kept = [np.arange(fed.offsets[i], fed.offsets[i + 1]) for i in range(fed.n_users)]
        parts = [[rows[::4] for rows in kept], [np.delete(rows, slice(None, None, 4)) for rows in kept]]
        validation, train = (
            pfl.Federation.from_arrays([fed.x[rows] for rows in part], [fed.y[rows] for rows in part]) for part in parts
        )
        return Splits(pfl.Problem(problem.loss, train), pfl.Problem(problem.loss, validation))

    def init(self, problem, w0):
        return Moments(w0, np.tile(w0, (problem.train.n_users, 1)), np.zeros_like(w0))

    def round(self, problem, state, *, seed, round_, trace=False):
        plan = plain_plan(self.beta, 1, self.batch, True, self.epochs)
        users = np.arange(problem.train.n_users)
        path, models = local_steps(problem.train, users, state.w_users, plan, seed=seed, round_=round_, keep=True)
        scores = np.stack([problem.validation.value(w) for w in models])  # (model, user)
        best = scores.argmin(0)
        first = self.momentum * state.first + (path[-1] - state.w)
        after = Moments(state.w + first, models[best], first, state.steps + 1)
        return Round(after, path, {"best": best, "share_own": float((best == users).mean())})


def users(n: int = 5) -> pfl.Problem:
    rng = np.random.default_rng(3)
    sizes = [8, 9, 10, 12, 16][:n]
    x = [rng.normal(size=(m, 2)) for m in sizes]
    return pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(x, [rng.integers(0, 2, m) for m in sizes]))


def test_own_algorithm_runs_and_tells():
    run = pfl.run(Neighbours(), users(), rounds=6, seed=1, record="loss", every=2)
    assert run.status == "finished"
    assert run.rounds.tolist() == [0, 2, 4, 6]
    assert run.records["best"].shape == (4, 5)
    assert np.isnan(run.records["best"][-1]).all()  # nothing follows the last record
    assert ((run.records["share_own"][:-1] >= 0) & (run.records["share_own"][:-1] <= 1)).all()
    assert run.frame()["share_own"].notna().sum() == 3


def test_own_state_survives_a_kill(tmp_path, monkeypatch):
    whole = pfl.run(Neighbours(), users(), rounds=6, seed=1, record="loss")
    path = tmp_path / "run.npz"
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    kept = []
    write = Checkpoint.write

    def stop_at_three(self, progress):
        write(self, progress)
        kept.append(progress.round_)
        if progress.round_ == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        pfl.run(Neighbours(), users(), rounds=6, seed=1, record="loss", checkpoint=path)
    monkeypatch.undo()
    resumed = pfl.run(Neighbours(), users(), rounds=6, seed=1, record="loss", checkpoint=path)
    assert kept == [0, 1, 2, 3]
    assert np.array_equal(resumed.w, whole.w)
    assert np.array_equal(resumed.w_users, whole.w_users)
    for name, values in whole.records.items():
        assert np.array_equal(resumed.records[name], values, equal_nan=True), name


def test_own_algorithm_in_a_file(tmp_path):
    kept = pfl.Instance(users(), 0.0, algorithm=Neighbours(momentum=0.25), rounds=2)
    path = kept.save(tmp_path / "mine.json")
    assert f"{__name__}:Neighbours" in path.read_text(encoding="utf-8")
    assert pfl.Instance.load(path).algorithm == Neighbours(momentum=0.25)
    path.write_text(path.read_text(encoding="utf-8").replace(":Neighbours", ":Strangers"), encoding="utf-8")
    with pytest.raises(InputError, match="Strangers' is unknown; choose one of .*FedAvg.*or import its module first"):
        pfl.Instance.load(path)


# --- a quantity ---


def largest_weight(at):
    return np.abs(at.w).max()


def test_own_quantity_is_recorded():
    run = pfl.run(pfl.FedAvg(beta=0.1), users(), rounds=3, record=("meta_value", largest_weight))
    assert run.records["largest_weight"].shape == (4,)
    assert run.records["largest_weight"][-1] == np.abs(run.w).max()
    with pytest.raises(
        InputError, match=r"record 'wrong' gave shape \(2,\); it must give a number, or one a user \(5\)"
    ):
        pfl.run(pfl.FedAvg(beta=0.1), users(), rounds=1, record=lambda_named_wrong())


def lambda_named_wrong():
    def wrong(at):
        return np.zeros(2)

    return wrong


# --- a loss without a Hessian ---


class SquareParameters(NamedTuple):
    factor: float


def value(loss, user, x, y, scale, rows, coef, w):
    total = 0.0
    for k in range(len(rows)):
        u = -y[rows[k]]
        for j in range(len(w)):
            u += scale * x[rows[k], j] * w[j]
        total += coef[k] * loss.factor * u * u
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):
    out[:] = 0.0
    for k in range(len(rows)):
        u = -y[rows[k]]
        for j in range(len(w)):
            u += scale * x[rows[k], j] * w[j]
        for j in range(len(w)):
            out[j] += coef[k] * 2.0 * loss.factor * u * scale * x[rows[k], j]


implements(SquareParameters, value=value, gradient=gradient)


@dataclasses.dataclass(frozen=True)
class Square(Loss):
    """factor u^2, u = <w, x> - y; first derivatives only."""

    factor: float = 1.0

    def dim(self, fed):
        return fed.n_features

    def parameters(self, fed, dtype):
        return SquareParameters(dtype.type(self.factor))

    def targets(self, fed, dtype):
        return real_targets(self, fed, dtype)

    def constants(self, fed, *, radius=None, center=None, metric=None, kappa=None):
        return {name: Constant.none(fed.n_users, "not derived") for name in ("B", "L", "rho", "sigma_G", "sigma_H")}


def squares() -> pfl.Problem:
    rng = np.random.default_rng(5)
    return pfl.Problem(Square(0.5), pfl.Federation.from_arrays([rng.normal(size=(4, 2))] * 2, [rng.normal(size=4)] * 2))


def test_own_loss_runs_saves_and_loads(tmp_path):
    problem = squares()
    twin = pfl.Problem(pfl.losses.LeastSquares(), problem.federation)
    w = np.array([0.3, -1.0])
    assert problem.gradient(w) == pytest.approx(twin.gradient(w))
    loaded = pfl.Instance.load(pfl.Instance(problem, 0.1).save(tmp_path / "square.json"))
    assert loaded.problem.loss == Square(0.5)
    assert np.array_equal(loaded.problem.value(w), problem.value(w))


def test_what_a_loss_lacks_is_one_sentence():
    problem = squares()
    for call in (
        lambda: problem.hvp(np.zeros(2), np.ones(2)),
        lambda: problem.meta_gradient(np.zeros(2), 0.1),
        lambda: pfl.run(pfl.PerFedAvg(0.1, 0.1, batch_hessian=2), problem, rounds=1),
    ):
        with pytest.raises(InputError, match=r"^Square has no Hessian-vector product; use .{20,80}$"):
            call()
    with pytest.raises(InputError, match=r"^Square has no Hessian; use hvp, or a loss that has one$"):
        problem.gamma_H(np.zeros(2))
    first_order = pfl.PerFedAvg(0.1, 0.1, batch_inner=2, batch_outer=2, variant="first-order")
    assert pfl.run(first_order, problem, rounds=2).status == "finished"


# --- a claim ---


def test_own_claim_is_judged():
    base = claims.get("lemma-4.2", version="sharp")
    mine = dataclasses.replace(
        base,
        name="mine",
        statement="L_F is at most ten times the sharp bound",
        sides=lambda instance: dataclasses.replace(found := base.sides(instance), rhs=found.rhs.times(10.0)),
        known_ratio=base.known_ratio / 10,
    )
    assert mine.judge().outcome == "HOLDS"
    assert mine.control().outcome == "VIOLATED"
    assert {row["outcome"] for row in claims.judged_rows(mine, random=3)} >= {"HOLDS", "VIOLATED"}
