"""Bad input to losses, problems, algorithms and runs: one line that says what was given and what is allowed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import Centralized, FedAvg, Federation, LocalTraining, PerFedAvg, Problem, adapt, run
from pfl_theory.errors import InputError
from pfl_theory.losses import LeastSquares, LogCosh, Logistic, Quadratic, Softmax
from pfl_theory.losses.noise import Bump, Sine

NAN, INF = float("nan"), float("inf")
FED = Federation.from_arrays([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [2.0, 1.0], [0.5, 0.5]]], [[0, 1], [1, 0, 1]])
PROBLEM = Problem(Logistic(), FED)
FUNCTIONS = Problem.from_functions(lambda w: (w**2).sum(1), lambda w: 2 * w, n_users=2, dim=2)
OK = FedAvg(0.1)


def labelled(y):
    return Federation.from_arrays([[[1.0, 0.0], [0.0, 2.0]]], [y])


CASES = {
    # losses
    "l2 < 0": (lambda: Logistic(l2=-1.0), r"Logistic: l2 = -1.0; must be a finite number >= 0"),
    "nonconvex nan": (lambda: Logistic(nonconvex=NAN), r"Logistic: nonconvex = nan; .*>= 0"),
    "softmax l2": (lambda: Softmax(3, l2=INF), r"Softmax: l2 = inf; .*>= 0"),
    "one class": (lambda: Softmax(1), r"n_classes = 1; must be an integer >= 2"),
    "half a class": (lambda: Softmax(2.5), r"n_classes = 2.5; must be an integer >= 2"),
    "c = 0": (lambda: LogCosh(c=0.0), r"LogCosh: c = 0.0; must be a finite number > 0"),
    "kind": (lambda: LogCosh("place"), r"kind = 'place': unknown; choose one of 'location', 'regression'"),
    "A not symmetric": (lambda: Quadratic([[1.0, 2.0], [0.0, 1.0]]), r"A is not symmetric; use \(A \+ A.T\) / 2"),
    "A nan": (lambda: Quadratic(NAN), r"A contains NaN or infinity"),
    "A a vector": (lambda: Quadratic([1.0, 2.0]), r"A has shape \(2,\); give a number, \(d, d\) or \(n_users, d, d\)"),
    "A not square": (lambda: Quadratic(np.ones((2, 3))), r"A has shape \(1, 2, 3\); its last two sizes must agree"),
    "A of other features": (lambda: Problem(Quadratic(np.eye(3)), FED), r"A is 3 x 3 but the points have 2 features"),
    "A of other users": (lambda: Problem(Quadratic([np.eye(2)] * 3), FED), r"A holds 3 matrices but there are 2 users"),
    "label 2 of 2": (
        lambda: Problem(Logistic(), labelled([0, 2])),
        r"label 2 of user 0 is outside the classes 0 to 1; renumber the labels",
    ),
    "label -1": (lambda: Problem(Softmax(3), labelled([0, -1])), r"label -1 of user 0 is outside the classes 0 to 2"),
    "label 0.5": (
        lambda: Problem(Softmax(3), labelled([0.0, 0.5])),
        r"label 0.5 of user 0 is outside the classes 0 to 2",
    ),
    "label of the second user": (
        lambda: Problem(Softmax(2), Federation.from_arrays([[[1.0]], [[1.0]]], [[0], [7]])),
        r"label 7 of user 1",
    ),
    "no labels": (
        lambda: Problem(Logistic(), Federation.from_arrays([[[1.0]]])),
        r"the federation has no labels y; give y=",
    ),
    "no targets": (
        lambda: Problem(LeastSquares(), Federation.from_arrays([[[1.0]]])),
        r"the federation has no targets y; give y=",
    ),
    # problems
    "not a loss": (
        lambda: Problem("logistic", FED),
        r"loss is str; give one of pfl_theory.losses, or use Problem.from_functions",
    ),
    "not a federation": (
        lambda: Problem(Logistic(), np.ones((2, 2))),
        r"federation is ndarray; use Federation.from_arrays",
    ),
    "sine of eps -1": (lambda: Sine(0.0, -1.0), r"Sine: eps = -1.0; must be a finite number > 0"),
    "bump of radius 0": (lambda: Bump(0.0, 0.0), r"Bump: radius = 0.0; must be a finite number > 0"),
    "bump at nowhere": (lambda: Bump(float("nan"), 1.0), r"Bump: center = nan; must be a finite number"),
    "float16": (lambda: Problem(Logistic(), FED, dtype="float16"), r"dtype = float16; choose float64 or float32"),
    "NaN data": (
        lambda: Federation.from_arrays([[[1.0, NAN]]]),
        r"points contain NaN or infinity; drop or repair those rows",
    ),
    "infinite target": (lambda: labelled([0.0, INF]), r"labels contain NaN or infinity; drop those rows"),
    "w of length 3": (
        lambda: PROBLEM.value([0.0, 1.0, 2.0]),
        r"w has shape \(3,\); give \(2,\) for one common point or \(2, 2\) for one a user",
    ),
    "w of 3 users": (lambda: PROBLEM.gradient(np.zeros((3, 2))), r"w has shape \(3, 2\); give \(2,\) .* or \(2, 2\)"),
    "w a number": (lambda: PROBLEM.meta_gradient(1.0, 0.1), r"w has shape \(\); give"),
    "v of length 1": (lambda: PROBLEM.hvp([0.0, 0.0], [1.0]), r"v has shape \(1,\); give \(2,\)"),
    "radius": (lambda: PROBLEM.constants(radius=-1.0), r"radius = -1.0; must be a finite number >= 0"),
    "center": (
        lambda: Problem(Logistic(l2=1.0), FED).constants(radius=1.0, center=[0.0]),
        r"center has shape \(1,\); must be \(2,\)",
    ),
    "metric": (
        lambda: PROBLEM.constants(metric="taxicab"),
        r"metric = 'taxicab': unknown; choose one of 'euclidean', 'labelled'",
    ),
    "kappa": (lambda: PROBLEM.constants(kappa=0.0), r"kappa = 0.0; must be > 0"),
    "hessian too large": (
        lambda: Problem(Quadratic(), Federation.from_arrays([np.zeros((1, 20_000))])).hessian(np.zeros(20_000)),
        r"hessian: 1 x 20000 x 20000 numbers do not fit; use hvp",
    ),
    "accuracy of no class": (
        lambda: Problem(Quadratic(), FED).accuracy([0.0, 0.0]),
        r"Quadratic predicts no class, so it has no accuracy",
    ),
    "accuracy of functions": (lambda: FUNCTIONS.accuracy([0.0, 0.0]), r"functions predict no class"),
    "loss of functions": (lambda: FUNCTIONS.loss, r"made from functions and has no loss"),
    "federation of functions": (lambda: FUNCTIONS.federation, r"made from functions and has no federation"),
    "functions for no user": (
        lambda: Problem.from_functions(np.sum, np.sum, n_users=0, dim=1),
        r"n_users = 0; must be an integer >= 1",
    ),
    "functions of dim 1.5": (
        lambda: Problem.from_functions(np.sum, np.sum, n_users=1, dim=1.5),
        r"dim = 1.5; must be an integer >= 1",
    ),
    "value of a wrong shape": (
        lambda: Problem.from_functions(lambda w: w, lambda w: w, n_users=2, dim=3).value(np.zeros(3)),
        r"value returned shape \(2, 3\); must be \(2,\)",
    ),
    "gradient of a wrong shape": (
        lambda: Problem.from_functions(lambda w: w, lambda w: w.sum(1), n_users=2, dim=3).gradient(np.zeros(3)),
        r"gradient returned shape \(2,\); must be \(2, 3\)",
    ),
    "no hvp": (lambda: FUNCTIONS.hvp([1.0, 1.0], [1.0, 1.0]), r"no hvp and no hessian were given; give hvp="),
    # algorithms
    "alpha < 0": (lambda: PerFedAvg(-0.5, 0.1), r"PerFedAvg: alpha = -0.5; must be a finite number >= 0"),
    "alpha nan": (lambda: PerFedAvg(NAN, 0.1), r"alpha = nan; must be a finite number >= 0"),
    "delta = 0": (
        lambda: PerFedAvg(0.1, 0.1, variant="hessian-free", delta=0.0),
        r"delta = 0.0; must be a finite number > 0",
    ),
    "variant": (
        lambda: PerFedAvg(0.1, 0.1, variant="FO"),
        r"variant = 'FO': unknown; choose one of 'exact', 'first-order', 'hessian-free'",
    ),
    "batch of 0": (
        lambda: PerFedAvg(0.1, 0.1, batch_hessian=0),
        r"batch_hessian = 0; must be an integer >= 1, or None",
    ),
    "batch of 2.5": (
        lambda: PerFedAvg(0.1, 0.1, batch_inner=2.5),
        r"batch_inner = 2.5; must be an integer >= 1, or None",
    ),
    "FedAvg batch": (lambda: FedAvg(0.1, batch=-1), r"FedAvg: batch = -1; must be an integer >= 1, or None"),
    # runs
    "not an algorithm": (
        lambda: run("FedAvg", PROBLEM, rounds=1),
        r"algorithm is str; give PerFedAvg, FedAvg, LocalTraining or Centralized",
    ),
    "no rounds": (lambda: run(OK, PROBLEM, rounds=0), r"rounds = 0; must be an integer >= 1"),
    "rounds 1.5": (lambda: run(OK, PROBLEM, rounds=1.5), r"rounds = 1.5; must be an integer >= 1"),
    "every": (lambda: run(OK, PROBLEM, rounds=1, every=0), r"every = 0; must be an integer >= 1"),
    "record": (
        lambda: run(OK, PROBLEM, rounds=1, record=["loss", "speed"]),
        r"record 'speed'; choose from 'meta_value', .*'accuracy'",
    ),
    "run alpha": (lambda: run(OK, PROBLEM, rounds=1, alpha=-1.0), r"alpha = -1.0; must be a finite number >= 0"),
    "w0 shape": (lambda: run(OK, PROBLEM, rounds=1, w0=[0.0]), r"w0 has shape \(1,\); must be \(2,\)"),
    "w0 nan": (lambda: run(OK, PROBLEM, rounds=1, w0=[0.0, NAN]), r"w0 contains NaN or infinity"),
    "test of other users": (
        lambda: run(OK, PROBLEM, rounds=1, test=Problem(Logistic(), FED.select([0]))),
        r"test has other users or another dimension",
    ),
    "seed": (
        lambda: run(PerFedAvg(0.1, 0.1, batch_outer=1), PROBLEM, rounds=1, seed=-1),
        r"seed = -1; must be an integer >= 0",
    ),
    "seed of a run without batches": (
        lambda: run(OK, PROBLEM, rounds=1, seed=1.5),
        r"seed = 1.5; must be an integer >= 0",
    ),
    "accuracy record without classes": (
        lambda: run(OK, Problem(Quadratic(), FED), rounds=1, record="accuracy"),
        r"Quadratic predicts no class",
    ),
    "meta-gradient of local models": (
        lambda: run(LocalTraining(0.1), PROBLEM, rounds=1, record="meta_gradient"),
        r"'meta_gradient' needs one common model",
    ),
    "exact variant without hvp": (
        lambda: run(PerFedAvg(0.1, 0.1), FUNCTIONS, rounds=1),
        r"give hvp=, or use variant='first-order' or 'hessian-free'",
    ),
    "batch too large": (
        lambda: run(PerFedAvg(0.1, 0.1, batch_outer=3, replace=False), PROBLEM, rounds=1),
        r"a batch of 3 without replacement, but user 0 has 2.*; use a smaller .*or replace=True",
    ),
    "unequal weights without replacement": (
        lambda: run(
            FedAvg(0.1, batch=1, replace=False),
            Problem(Quadratic(), Federation.from_arrays([[0.0, 1.0]], sample_weight=[[0.3, 0.7]])),
            rounds=1,
        ),
        r"without replacement need users that weigh their rows equally; use replace=True",
    ),
    "adapt alpha": (
        lambda: adapt(PROBLEM, [0.0, 0.0], alpha=-0.1),
        r"adapt: alpha = -0.1; must be a finite number >= 0",
    ),
    "adapt steps": (
        lambda: adapt(PROBLEM, [0.0, 0.0], alpha=0.1, steps=0),
        r"adapt: steps = 0; must be an integer >= 1",
    ),
    "adapt w": (lambda: adapt(PROBLEM, [0.0], alpha=0.1), r"w has shape \(1,\)"),
}


def one_line(call, pattern):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(pattern, message), message


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_was_given_and_what_is_allowed(case):
    one_line(*CASES[case])


@pytest.mark.parametrize("algorithm", [lambda **k: PerFedAvg(0.1, **k), FedAvg, LocalTraining, Centralized])
@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        ({"beta": 0.0}, r"beta = 0.0; must be a finite number > 0"),
        ({"beta": -1.0}, r"beta = -1.0; must be a finite number > 0"),
        ({"beta": INF}, r"beta = inf; must be a finite number > 0"),
        ({"local_steps": 0}, r"local_steps = 0; tau must be an integer >= 1"),
        ({"local_steps": 1.5}, r"local_steps = 1.5; tau must be an integer >= 1"),
        ({"local_steps": True}, r"local_steps = True; tau must be an integer >= 1"),
    ],
)
def test_steps(algorithm, given, pattern):
    one_line(lambda: algorithm(**{"beta": 0.1, **given}), pattern)


@pytest.mark.parametrize(
    "algorithm",
    [lambda **k: PerFedAvg(0.1, 0.1, **k), lambda **k: FedAvg(0.1, **k), lambda **k: LocalTraining(0.1, **k)],
)
@pytest.mark.parametrize(
    ("participation", "pattern"),
    [
        (0, r"participation = 0 users of 2; must be 1 to 2"),
        (3, r"participation = 3 users of 2; must be 1 to 2"),
        (0.0, r"participation = 0.0; a share must lie in \(0, 1\]"),
        (1.5, r"participation = 1.5; a share must lie in \(0, 1\]"),
        (0.25, r"0.25 of 2 users is 0.5 users; r n must be at least 1: use 0.5 or more"),
        (0.75, r"0.75 of 2 users is 1.5 users; r n must be an integer"),
        (NAN, r"participation = nan"),
        (True, r"participation = True; give a share in \(0, 1\] \(float\) or a number of users \(int\)"),
        ("all", r"participation = 'all'; give a share"),
        (None, r"participation = None; give a share"),
    ],
)
def test_participation(algorithm, participation, pattern):
    one_line(lambda: run(algorithm(participation=participation), PROBLEM, rounds=1), pattern)


def test_a_share_that_is_whole_up_to_rounding_is_taken():
    fed = Federation.from_arrays([[float(i)] for i in range(10)])
    assert run(FedAvg(0.1, participation=0.3), Problem(Quadratic(), fed), rounds=1).status == "finished"


def test_nothing_but_the_error_happens():
    """A refused run does not touch its input."""
    w0 = np.array([0.5, -0.5])
    with pytest.raises(InputError):
        run(PerFedAvg(0.1, 0.1, participation=3), PROBLEM, rounds=1, w0=w0)
    assert w0.tolist() == [0.5, -0.5]


def test_input_errors_are_value_errors():
    assert issubclass(pfl.InputError, ValueError)


SILENT = {
    "adapt batch -3": (
        lambda: adapt(PROBLEM, [0.0, 0.0], alpha=0.1, batch=-3),
        r"batch = -3; must be an integer >= 1, or None",
    ),
    "adapt batch 1.5": (
        lambda: adapt(PROBLEM, [0.0, 0.0], alpha=0.1, batch=1.5),
        r"batch = 1.5; must be an integer >= 1, or None",
    ),
    "adapt nan": (lambda: adapt(PROBLEM, [0.0, NAN], alpha=0.1), r"NaN"),
    "meta-gradient alpha": (lambda: PROBLEM.meta_gradient([0.0, 0.0], -0.5), r"alpha = -0.5"),
    "least squares metric": (
        lambda: Problem(LeastSquares(), FED).constants(radius=1.0, metric="taxicab"),
        r"metric = 'taxicab'",
    ),
    "least squares kappa": (
        lambda: Problem(LeastSquares(), FED).constants(radius=1.0, kappa=-1.0),
        r"kappa = -1.0; must be > 0",
    ),
    "log-cosh kappa": (
        lambda: Problem(LogCosh("regression"), FED).constants(radius=1.0, kappa=-1.0),
        r"kappa = -1.0; must be > 0",
    ),
    "test of another kind": (lambda: run(OK, PROBLEM, rounds=1, test=FED, record="loss"), r"test is Federation"),
    "seed of a run that draws nothing": (
        lambda: run(OK, Problem(Logistic(), Federation.from_arrays([np.ones((1, 3))], [[1]])), rounds=1, seed=-1),
        r"seed = -1; must be an integer >= 0",
    ),
    "softmax nan classes": (lambda: Softmax(NAN), r"n_classes = nan; must be an integer >= 2"),
}


@pytest.mark.parametrize("case", SILENT)
def test_what_would_pass_in_silence(case):
    one_line(*SILENT[case])
