"""Networks: derivatives against differences and against a reference of another kind, in both precisions, for every
choice; what they inherit besides is tests/test_every_loss.py.
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from reference.losses import over_users, twin_of

import pfl_theory as pfl
from pfl_theory import Federation, Problem
from pfl_theory.algorithms.checkpoints import Checkpoint
from pfl_theory.algorithms.local_steps import local_steps, plain_plan
from pfl_theory.errors import InputError
from pfl_theory.federations import paper_split_pair
from pfl_theory.judging.instance import Instance
from pfl_theory.losses import MLP, Softmax
from pfl_theory.losses.mlp import ACTIVATIONS, BIASES, FITTING, WEIGHTS

CHOICES = [
    pytest.param(activation, output, objective, id=f"{activation}-{output}-{objective}")
    for activation in ACTIVATIONS
    for objective, outputs in FITTING.items()
    for output in outputs
]
every_choice = pytest.mark.parametrize(("activation", "output", "objective"), CHOICES)


def users(kind="float", sizes=(5, 70, 9), classes=3, features=4, seed=7):
    """Rows of unequal weight; 70 rows are more than a block."""
    rng = np.random.default_rng(seed)
    x = [
        rng.integers(0, 256, (m, features), dtype=np.uint8) if kind == "uint8" else rng.normal(size=(m, features))
        for m in sizes
    ]
    y = [rng.integers(0, classes, m) for m in sizes]
    weights = [rng.dirichlet(np.ones(m)) for m in sizes]
    return Federation.from_arrays(x, y, sample_weight=weights, scale=1 / 255 if kind == "uint8" else 1.0)


def network(activation="tanh", output="linear", objective="cross-entropy", hidden=(5, 3), elu=0.3, factor=0.7):
    return MLP(3, hidden, activation, elu, output, objective, factor)


def start(loss, fed, seed=3):
    return loss.initial_weights(fed, weights="glorot", biases="normal", seed=seed)


def relative(a, b):
    return np.abs(np.asarray(a, dtype=np.float64) - b).max() / np.abs(b).max()


def inputs_of_elu(loss, fed, w):
    """All numbers that an ELU sees, over all rows."""
    h, found = fed.x.astype(float) * fed.scale, []
    layers = loss.split(w)
    for k, (W, b) in enumerate(layers):
        h = h @ W.T + b
        kind = loss.activation if k < len(layers) - 1 else loss.output
        if kind == "elu":
            found.append(h.ravel())
            h = np.where(h > 0, h, loss.elu * np.expm1(np.minimum(h, 0)))
        elif k < len(layers) - 1:
            h = np.tanh(h) if kind == "tanh" else np.logaddexp(0, h)
    return np.concatenate(found) if found else np.array([np.inf])


def away_from_kinks(loss, fed, distance):
    """A point at which no ELU sees a number closer to 0 than `distance`."""
    for seed in range(1000):
        w = start(loss, fed, seed)
        if np.abs(inputs_of_elu(loss, fed, w)).min() > distance:
            return w
    raise AssertionError("no such point found")


# --- derivatives -----------------------------------------------------------------------------------------------------


@every_choice
@pytest.mark.parametrize("hidden", [(), (4,), (5, 3)])
def test_kernels_equal_the_reference(activation, output, objective, hidden):
    """The reference propagates second derivatives forwards, row by row: it shares no line of reasoning with
    backpropagation.
    """
    loss, fed = network(activation, output, objective, hidden), users(sizes=(5, 9))
    problem, reference, rng = Problem(loss, fed), twin_of(loss), np.random.default_rng(1)
    w, v = start(loss, fed), rng.normal(size=problem.dim)
    assert relative(problem.value(w), over_users(reference, "value", fed, w)) < 1e-13
    assert relative(problem.gradient(w), over_users(reference, "gradient", fed, w)) < 1e-13
    assert relative(problem.hvp(w, v), over_users(reference, "hvp", fed, w, v)) < 1e-13
    assert relative(problem.hessian(w), over_users(reference, "hessian", fed, w)) < 1e-13


def test_several_blocks_equal_the_reference():
    loss, fed = network("elu"), users("uint8", sizes=(64, 65, 130))
    problem, reference, w = Problem(loss, fed), twin_of(loss), start(network("elu"), fed)
    v = np.random.default_rng(1).normal(size=problem.dim)
    for operation, more in (("value", ()), ("gradient", ()), ("hvp", (v,)), ("accuracy", ())):
        found = getattr(problem, operation)(w, *more)
        assert relative(found, over_users(reference, operation, fed, w, *more)) < 1e-13


@every_choice
def test_derivatives_against_differences(activation, output, objective):
    loss, fed = network(activation, output, objective), users(sizes=(3, 4))
    w, problem, h = away_from_kinks(loss, fed, 2e-2), Problem(loss, fed), 1e-3
    rng = np.random.default_rng(2)
    for _ in range(3):
        v = rng.normal(size=problem.dim)
        v /= np.linalg.norm(v)

        def slope(function, v=v):
            near, far = (function(w + k * h * v) - function(w - k * h * v) for k in (1, 2))
            return (8 * near - far) / (12 * h)

        gradient = problem.gradient(w)
        assert np.abs(slope(problem.value) - gradient @ v).max() < 1e-6 * np.linalg.norm(gradient, axis=1).max()
        assert relative(slope(problem.gradient), problem.hvp(w, v)) < 1e-6


@every_choice
def test_hessian_vector_products_are_symmetric(activation, output, objective):
    loss, fed, rng = network(activation, output, objective), users(), np.random.default_rng(4)
    problem, w = Problem(loss, fed), start(loss, fed)
    u, v = rng.normal(size=(2, problem.dim))
    forwards, backwards = problem.hvp(w, v) @ u, problem.hvp(w, u) @ v
    size = np.linalg.norm(problem.hvp(w, v), axis=1) * np.linalg.norm(u)
    assert (np.abs(forwards - backwards) <= 1e-14 * size).all()


@every_choice
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_single_precision_is_near_double(activation, output, objective, kind):
    loss, fed = network(activation, output, objective), users(kind)
    w = away_from_kinks(loss, fed, 1e-4).astype(np.float32).astype(np.float64)
    double, single = Problem(loss, fed), Problem(loss, fed, "float32")
    assert single.gradient(w).dtype == np.float32
    assert relative(single.gradient(w), double.gradient(w)) < 1e-5
    v = np.random.default_rng(5).normal(size=double.dim).astype(np.float32)
    assert relative(single.hvp(w, v), double.hvp(w, v.astype(np.float64))) < 1e-5
    assert relative(single.value(w), double.value(w)) < 1e-6


def test_at_the_kink_the_derivative_is_that_from_the_left():
    """u > 0 ? 1 : a e^u, as public codes have it: a at 0; the second derivative likewise."""
    fed = Federation.from_arrays([[[1.0]]], [[0]])
    loss = MLP(2, (1,), "elu", 0.25, "linear", "squared", 0.5)
    w = np.array([1.0, -1.0, 1.0, 0.0, 0.0, 0.0])  # u = 0, o = (h, 0), l = ((h - 1)^2 + 0) / 2 at h = 0
    problem = Problem(loss, fed)
    assert problem.gradient(w)[0, 0] == -0.25
    assert problem.hessian(w)[0, 0, 0] == 0.25**2 - 0.25
    right = w + np.array([1e-12, 0, 0, 0, 0, 0])
    assert problem.gradient(right)[0, 0] == pytest.approx(-1.0)


@pytest.mark.parametrize("objective", ["cross-entropy", "sigmoid-cross-entropy"])
def test_huge_logits_do_not_overflow(objective):
    fed = Federation.from_arrays([[[1.0]]], [[0]])
    problem = Problem(MLP(2, (), objective=objective), fed)
    far = np.array([-5e4, 5e4, 0.0, 0.0])
    assert problem.value(far)[0] == 1e5
    assert problem.value(-far)[0] == 0.0
    assert np.isfinite(problem.gradient(far)).all()
    assert np.abs(problem.hvp(far, far)).max() < 1e-290


def test_outputs_with_the_same_number():
    """A softmax or sigmoid output under its own cross-entropy is the one on logits: the same bits."""
    fed = users()
    for objective, output in (("cross-entropy", "softmax"), ("sigmoid-cross-entropy", "sigmoid")):
        a, b = (Problem(network(output=o, objective=objective), fed) for o in ("linear", output))
        w = start(a.loss, fed)
        assert np.array_equal(a.gradient(w), b.gradient(w))
        assert np.array_equal(a.value(w), b.value(w))


def test_no_hidden_layer_is_softmax_regression_with_a_column_of_ones():
    fed, rng = users(), np.random.default_rng(6)
    ones = Federation(np.hstack([fed.x, np.ones((len(fed.x), 1))]), fed.y, fed.weights, fed.offsets)
    net, regression = Problem(MLP(3, ()), fed), Problem(Softmax(3), ones)
    w, v = rng.normal(size=(2, net.dim))

    def joined(u):
        ((W, b),) = net.loss.split(u)
        return np.hstack([W, b[:, None]]).ravel()

    assert relative(net.value(w), regression.value(joined(w))) < 1e-13
    assert np.array_equal(net.accuracy(w), regression.accuracy(joined(w)))
    for mine, theirs in (
        (net.gradient(w), regression.gradient(joined(w))),
        (net.hvp(w, v), regression.hvp(joined(w), joined(v))),
    ):
        assert relative(np.array([joined(row) for row in mine]), theirs) < 1e-13


def test_batches_are_weighted_rows():
    """A gradient step over a batch is one over the same rows with equal weights."""
    loss, fed = network("elu"), users(sizes=(6, 6))
    problem, w = Problem(loss, Federation(fed.x, fed.y, np.full(12, 1 / 6), fed.offsets)), start(network("elu"), fed)
    whole = plain_plan(0.1, 1, 6, False)
    _, stepped = local_steps(problem, np.arange(2), w[None], whole, seed=0, round_=0, keep=True)
    assert relative(stepped, w - 0.1 * problem.gradient(w)) < 1e-13


# --- threads, runs, files --------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    fed = users("uint8", sizes=(90,) * 8, classes=10, features=300)
    loss = MLP(10, (30, 20))
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("PFL_THEORY_THREADS", threads)
        problem = Problem(loss, fed, "float32")
        w = loss.initial_weights(fed)
        run = pfl.run(pfl.PerFedAvg(0.05, 0.05, local_steps=3, batch_inner=20, batch_outer=20), problem, rounds=2, w0=w)
        found.append(problem.gradient(w).tobytes() + problem.hvp(w, w).tobytes() + run.w.tobytes())
    assert found[0] == found[1] == found[2]


ALGORITHMS = {
    "exact": pfl.PerFedAvg(0.05, 0.05, local_steps=4, batch_inner=20, batch_outer=20, batch_hessian=20),
    "FO": pfl.PerFedAvg(0.05, 0.05, local_steps=4, batch_inner=20, batch_outer=20, variant="first-order"),
    "HF": pfl.PerFedAvg(0.05, 0.05, local_steps=4, batch_inner=20, batch_outer=20, variant="hessian-free", delta=1e-3),
    "FedAvg": pfl.FedAvg(0.05, local_steps=4, batch=20),
}


@pytest.fixture(scope="module")
def digits():
    train, test = paper_split_pair(
        pfl.datasets.digits("train"), pfl.datasets.digits("test"), n_users=10, a_train=12, a_test=2
    )
    return train, test


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("activation", ["elu", "tanh"])
def test_runs_learn(name, activation, digits):
    train, test = digits
    loss = MLP(10, (20, 15), activation)
    problem, held_out = Problem(loss, train, "float32"), Problem(loss, test, "float32")
    w = loss.initial_weights(train, weights="he" if activation == "elu" else "lecun")
    run = pfl.run(ALGORITHMS[name], problem, rounds=40, w0=w, seed=1, record=())
    assert run.status == "finished"
    before, after = (held_out.accuracy(pfl.adapt(problem, at, alpha=0.05)).mean() for at in (w, run.w))
    assert after > max(0.55, before + 0.2), (before, after)


def test_exact_and_hessian_free_agree(digits):
    train, _ = digits
    loss = MLP(10, (8,), "softplus")
    problem, w = Problem(loss, train), loss.initial_weights(train)
    more = {"local_steps": 3, "batch_inner": 10, "batch_outer": 10, "batch_hessian": 10}
    variants = [{}, {"variant": "first-order"}, *({"variant": "hessian-free", "delta": d} for d in (1e-3, 1e-4))]
    exact, first_order, far, near = (
        pfl.run(pfl.PerFedAvg(0.1, 0.1, **more, **how), problem, rounds=1, w0=w, record=()).w for how in variants
    )
    off, moved = [np.linalg.norm(run - exact) for run in (far, near)], np.linalg.norm(exact - w)
    assert off[1] < 1e-6 * moved
    assert off[0] == pytest.approx(100 * off[1], rel=0.05)  # the error of a central difference
    assert np.linalg.norm(first_order - exact) > 1e-3 * moved  # the product is not lost


def test_instance_files_carry_it(tmp_path):
    loss, fed = network("elu", "sigmoid", "squared"), users()
    w = start(loss, fed)
    path = Instance(Problem(loss, fed), 0.1, w[None], "network").save(tmp_path / "network.json")
    assert json.loads(path.read_text())["problem"]["loss"]["hidden"] == [5, 3]
    again = Instance.load(path)
    assert again.problem.loss == loss
    assert np.array_equal(again.problem.gradient(w), Problem(loss, fed).gradient(w))


def test_checkpoints_carry_it_and_know_it_from_another(tmp_path, monkeypatch):
    class KilledError(Exception):
        pass

    def write_then_die(self, progress):
        write(self, progress)
        raise KilledError

    fed, kept, write = users(), tmp_path / "run.npz", Checkpoint.write
    algorithm = pfl.PerFedAvg(0.1, 0.1, local_steps=2, batch_outer=3)
    losses = [network("elu"), network("elu", elu=0.4), network("softplus"), network("elu", hidden=(3, 5))]
    problem, w = Problem(losses[0], fed), start(losses[0], fed)
    whole = pfl.run(algorithm, problem, rounds=4, w0=w, record=())
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", lambda self: True)
        patch.setattr(Checkpoint, "write", write_then_die)
        with pytest.raises(KilledError):
            pfl.run(algorithm, problem, rounds=4, w0=w, record=(), checkpoint=kept)
    for other in losses[1:]:
        with pytest.raises(InputError, match="checkpoint of another run"):
            pfl.run(algorithm, Problem(other, fed), rounds=4, w0=start(other, fed), record=(), checkpoint=kept)
    assert np.array_equal(pfl.run(algorithm, problem, rounds=4, w0=w, record=(), checkpoint=kept).w, whole.w)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_split_gives_views_in_the_documented_order():
    loss = MLP(2, (3,))
    w = np.arange(3 * 5 + 2 * 4, dtype=float)
    (W, b), (V, c) = loss.split(w)
    assert W.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert b.tolist() == [12, 13, 14]
    assert V.tolist() == [[15, 16, 17], [18, 19, 20]]
    assert c.tolist() == [21, 22]
    V[1, 0] = -1.0
    assert w[18] == -1.0
    with pytest.raises(InputError, match=r"MLP.split: w has shape \(24,\)"):
        loss.split(np.zeros(24))
    with pytest.raises(InputError, match=r"MLP.split: w has shape \(\)"):
        loss.split(1.0)


@pytest.mark.parametrize(("weights", "biases"), list(itertools.product(WEIGHTS, BIASES)))
def test_initial_weights_have_the_laws_they_name(weights, biases):
    fed, loss = Federation.from_arrays([np.zeros((1, 900))], [[0]]), MLP(300, (400,))
    w = loss.initial_weights(fed, weights=weights, biases=biases, scale=0.5, seed=3)
    assert np.array_equal(w, loss.initial_weights(fed, weights=weights, biases=biases, scale=0.5, seed=3))
    assert not np.array_equal(w, loss.initial_weights(fed, weights=weights, biases="zero", scale=0.5, seed=4))
    for W, b in loss.split(w):
        o, i = W.shape
        variance = {"he": 2 / i, "lecun": 1 / i, "glorot": 2 / (i + o), "torch": 1 / (3 * i), "gaussian": 1.0}[weights]
        assert W.std() == pytest.approx(0.5 * variance**0.5, rel=0.01)
        assert abs(W.mean()) < 0.01 * variance**0.5
        if weights in ("glorot", "torch"):
            assert np.abs(W).max() <= 0.5 * (3 * variance) ** 0.5
        expected = {"zero": 0.0, "normal": 1.0, "weights": 0.5 * variance**0.5}[biases]
        assert b.std() == pytest.approx(expected, rel=0.15)


def test_units_that_start_at_zero_stay_alike():
    """Why runs of networks need w0: at w = 0 hidden units are one unit, and a tanh network has no gradient there."""
    fed = users()
    problem = Problem(network("tanh"), fed)
    gradients = [problem.loss.split(row) for row in problem.gradient(np.zeros(problem.dim))]
    for layers in gradients:
        assert not any(W.any() for W, _ in layers)
        assert layers[-1][1].any()


# --- constants and claims --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ball", [None, 1.0])
@pytest.mark.parametrize(("activation", "elu"), [("elu", 1.0), ("elu", 0.2), ("softplus", 1.0), ("tanh", 1.0)])
def test_no_constant_is_claimed(activation, elu, ball):
    loss = network(activation, elu=elu)
    constants = Problem(loss, users()).constants(radius=ball)
    for name, constant in constants.items():
        assert constant.how == "none", name
        assert not constant.usable
    kink = activation == "elu"
    assert ("ELU''" in constants["rho"].reason) == (kink and elu == 1)
    assert ("ELU' jumps from 0.2 to 1" in constants["rho"].reason) == (kink and elu != 1)
    assert ("ELU" in constants["L"].reason) == (kink and elu != 1)
    assert "trained layers" in constants["B"].reason or ball is not None


@every_choice
def test_gradients_and_hessians_grow_as_the_reasons_say(activation, output, objective):
    """The path of docs/theory/networks.md#5-14: the logits stand still, the gradient grows like t, Hessians like t^2,
    whatever the data.
    """
    loss, fed = network(activation, output, objective, hidden=(2,)), users()
    problem = Problem(loss, fed)
    gradients, hessians, sizes = [], [], []
    for t in (1e3, 2e3):
        w = np.zeros(problem.dim)
        (_, b), (V, c) = loss.split(w)
        b[:] = 0.5, 0.3
        V[0, 0] = t
        phi = {"tanh": np.tanh, "softplus": lambda u: np.logaddexp(0, u), "elu": lambda u: u}[activation]
        c[:] = np.array([0.4, 0.2, 0.1]) - V @ phi(b)
        gradients.append(np.linalg.norm(problem.gradient(w), axis=1))
        hessians.append(np.linalg.norm(problem.hessian(w), axis=(1, 2)))
        sizes.append(np.linalg.norm(w))
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.01)
    assert gradients[1] / gradients[0] == pytest.approx(2, rel=0.05)
    assert hessians[1] / hessians[0] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("name", ["lemma-4.2", "theorem-4.5", "hessian-free-error"])
@pytest.mark.parametrize("activation", ["elu", "tanh"])
def test_claims_that_need_a_lipschitz_hessian_do_not_apply(name, activation):
    loss, fed = network(activation, elu=1.0), users()
    w = start(loss, fed)
    algorithm = pfl.PerFedAvg(0.1, 0.01, variant="hessian-free", delta=1e-3, local_steps=2)
    for more in ({}, {"ball": (1.0, w)}, {"runs": 10}):
        instance = Instance(Problem(loss, fed), 0.1, w[None], "net", algorithm=algorithm, rounds=2, w0=w, **more)
        for claim in (claim for claim in pfl.claims.all_claims() if claim.name == name):
            verdict = claim.judge(instance)
            assert verdict.outcome == "NOT_APPLICABLE", (claim.version, claim.form)
            if name == "lemma-4.2":
                expected = "no bound on a ball" if "ball" in more else r"Hessians grow with the square"
                assert expected in verdict.reason


# --- bad input -------------------------------------------------------------------------------------------------------

BAD = {
    "one class": ({"n_classes": 1}, r"MLP: n_classes = 1; must be an integer >= 2"),
    "no size": ({"hidden": (3, 0)}, r"MLP: hidden = \(3, 0\); must be sizes of layers"),
    "a number": ({"hidden": 80}, r"MLP: hidden = 80; must be sizes of layers"),
    "a truth": ({"hidden": (True,)}, r"MLP: hidden = \(True,\); must be sizes"),
    "relu": ({"activation": "relu"}, r"MLP: activation = 'relu': unknown; choose one of 'elu', 'softplus', 'tanh'"),
    "output": ({"output": "tanh"}, r"MLP: output = 'tanh': unknown"),
    "objective": ({"objective": "hinge"}, r"MLP: objective = 'hinge': unknown"),
    "elu": ({"elu": 0.0}, r"MLP: elu = 0.0; must be a finite number > 0"),
    "factor": ({"factor": -1.0}, r"MLP: factor = -1.0; must be a finite number > 0"),
    "sigmoid": (
        {"output": "sigmoid"},
        r"objective 'cross-entropy' does not go with output 'sigmoid'; choose output 'linear', 'elu', 'softmax', or",
    ),
    "softmax": (
        {"output": "softmax", "objective": "sigmoid-cross-entropy"},
        r"objective 'sigmoid-cross-entropy' does not go with output 'softmax'; choose output 'linear', 'sigmoid', or",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_choices_get_one_line(name):
    given, message = BAD[name]
    with pytest.raises(InputError, match=message) as caught:
        MLP(**{"n_classes": 10, **given})
    assert "\n" not in str(caught.value)


def test_bad_initial_weights_get_one_line():
    with pytest.raises(InputError, match=r"weights = 'xavier': unknown; choose one of 'he'"):
        MLP(3).initial_weights(users(), weights="xavier")
    with pytest.raises(InputError, match=r"biases = 'one': unknown"):
        MLP(3).initial_weights(users(), biases="one")
    with pytest.raises(InputError, match=r"scale = 0; must be a finite number > 0"):
        MLP(3).initial_weights(users(), scale=0)
