"""What every algorithm keeps. A new file in pfl_theory/algorithms is tested here without a line being added."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import algorithms
from pfl_theory.algorithms import Algorithm
from pfl_theory.algorithms.checkpoints import Checkpoint
from pfl_theory.errors import InputError

KINDS = {
    name: kind for name, kind in vars(algorithms).items() if isinstance(kind, type) and issubclass(kind, Algorithm)
}
KINDS.pop("Algorithm")
GIVEN = {
    "alpha": 0.2,
    "beta": 0.1,
    "batch": 3,
    "batch_inner": 3,
    "batch_outer": 3,
    "local_steps": 3,
}  # where it has such a field
every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def made(kind: type[Algorithm]) -> Algorithm:
    names = {f.name for f in dataclasses.fields(kind)}
    share = {"participation": 0.5} if "participation" in names else {}
    return kind(**{name: value for name, value in GIVEN.items() if name in names}, **share)


def users(seed: int = 0) -> pfl.Problem:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 12, 6)
    x = [rng.normal(size=(m, 3)) for m in sizes]
    return pfl.Problem(
        pfl.losses.Logistic(nonconvex=0.1), pfl.Federation.from_arrays(x, [rng.integers(0, 2, m) for m in sizes])
    )


def contents(state) -> dict:
    return {f.name: None if (v := getattr(state, f.name)) is None else np.array(v) for f in dataclasses.fields(state)}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        b[k] is None if a[k] is None else np.array_equal(a[k], b[k], equal_nan=True) for k in a
    )


def test_there_are_algorithms():
    assert {"PerFedAvg", "FedAvg", "LocalTraining", "Centralized"} <= KINDS.keys()


@every
def test_round_is_pure(kind):
    algorithm, problem = made(kind), users()
    prepared = algorithm.prepare(problem)
    w0 = np.full(3, 0.5)
    state = algorithm.init(prepared, w0)
    before = contents(state)
    once, again = (algorithm.round(prepared, state, seed=1, round_=4) for _ in range(2))
    assert same(before, contents(state))
    assert np.array_equal(w0, np.full(3, 0.5))
    assert same(contents(once[0]), contents(again[0]))
    assert not same(before, contents(once[0]))
    assert type(once[0]) is type(state)


@every
def test_streams_are_named_by_seed_and_round(kind):
    algorithm, problem = made(kind), users()
    prepared = algorithm.prepare(problem)
    state = algorithm.init(prepared, np.zeros(3))
    ends = [algorithm.round(prepared, state, seed=s, round_=k)[0].w for s, k in ((0, 0), (1, 0), (0, 1))]
    assert len({w.tobytes() for w in ends}) == 3


@every
def test_path_ends_at_the_state(kind):
    algorithm, problem = made(kind), users()
    prepared = algorithm.prepare(problem)
    state, path, _ = algorithm.round(prepared, algorithm.init(prepared, np.zeros(3)), seed=0, round_=0, trace=True)
    if state.w_users is None:
        assert np.array_equal(path[-1], state.w)
    assert len(path) == 1 + GIVEN["local_steps"]


@pytest.fixture(scope="module")
def by_threads() -> list[dict[str, str]]:
    """Bits of a short run of every algorithm, in a process of one thread and in one of three."""
    code = """if True:
        import json, sys
        sys.path.insert(0, "tests")
        import pfl_theory as pfl, test_every_algorithm as t
        told = {}
        for name, kind in t.KINDS.items():
            run = pfl.run(t.made(kind), t.users(), rounds=5, seed=3, record=("loss", "meta_value"))
            told[name] = run.w.tobytes().hex() + run.records["loss_after"].tobytes().hex()
        print(json.dumps(told))
    """
    return [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PFL_THEORY_THREADS": threads},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for threads in ("1", "3")
    ]


@every
def test_same_bits_for_any_number_of_threads(kind, by_threads):
    one, three = by_threads
    assert one[kind.__name__] == three[kind.__name__]


@every
def test_instance_file_gives_the_same_algorithm(kind, tmp_path):
    algorithm, problem = made(kind), users()
    kept = pfl.Instance(problem, 0.2, algorithm=algorithm, rounds=3)
    loaded = pfl.Instance.load(kept.save(tmp_path / "run.json"))
    assert loaded.algorithm == algorithm
    one, two = (pfl.run(i.algorithm, i.problem, rounds=3, seed=1).w for i in (kept, loaded))
    assert np.array_equal(one, two)


@every
def test_killed_run_goes_on_with_the_same_bits(kind, tmp_path, monkeypatch):
    algorithm, problem = made(kind), users()
    record = ("loss", "meta_value")
    whole = pfl.run(algorithm, problem, rounds=9, seed=2, record=record, every=2)
    path = tmp_path / "run.npz"

    class KilledError(Exception):
        pass

    def write_then_die(self, progress):
        write(self, progress)
        if progress.round_ == 5:
            raise KilledError

    write = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(Checkpoint, "write", write_then_die)
    with pytest.raises(KilledError):
        pfl.run(algorithm, problem, rounds=9, seed=2, record=record, every=2, checkpoint=path)
    assert path.exists()
    monkeypatch.undo()
    with pytest.raises(InputError, match="checkpoint of another run"):
        pfl.run(algorithm, problem, rounds=9, seed=3, record=record, every=2, checkpoint=path)
    with pytest.raises(InputError, match="checkpoint of another run"):
        pfl.run(algorithm, users(1), rounds=9, seed=2, record=record, every=2, checkpoint=path)
    rounds_run = []
    monkeypatch.setattr(kind, "round", counted(kind.round, rounds_run))
    resumed = pfl.run(algorithm, problem, rounds=9, seed=2, record=record, every=2, checkpoint=path)
    assert rounds_run == [5, 6, 7, 8]
    assert not path.exists()
    assert np.array_equal(resumed.w, whole.w)
    assert resumed.rounds.tolist() == whole.rounds.tolist()
    assert same(resumed.records, whole.records)


def counted(round_, told):
    def call(self, problem, state, **keywords):
        told.append(keywords["round_"])
        return round_(self, problem, state, **keywords)

    return call


def test_damaged_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="not a checkpoint"):
        pfl.run(made(algorithms.FedAvg), users(), rounds=2, checkpoint=path)
