"""The paper's network on the paper's users: what Table 1, the study of its open choices and accuracy share."""

from __future__ import annotations

from typing import NamedTuple

BETA, BATCH, SHARE, RECORDS = 0.001, 40, 0.2, 5
METHODS = ("FedAvg", "first-order", "hessian-free", "exact")
NAMES = {
    "FedAvg": "FedAvg + update",
    "FedAvg 0.01": "FedAvg + update, its own step 0.01",
    "first-order": "Per-FedAvg (FO)",
    "hessian-free": "Per-FedAvg (HF)",
    "exact": "Per-FedAvg (exact Hessian)",
}
PRINTED_METHODS = METHODS[:3]
USUAL = "ce-lin|elu1|he/0|x1"  # what a user would write


class Row(NamedTuple):
    """A row of Table 1 as transcribed: setting, and accuracies (%) of FedAvg + update, FO, HF."""

    source: str
    second_half: str
    tau: int
    alpha: float
    printed: tuple[float, float, float]

    @property
    def label(self) -> str:
        data = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "5,000 digits"}[self.source]
        other = ", other heterogeneity" if self.second_half == "one class" else ""
        return f"{data}{other}, tau = {self.tau}, alpha = {self.alpha:g}"


ROWS = (
    Row("mnist", "two classes", 4, 0.01, (60.18, 64.55, 70.94)),
    Row("mnist", "two classes", 10, 0.01, (75.96, 78.00, 79.85)),
    Row("cifar10", "two classes", 4, 0.001, (38.38, 34.04, 43.73)),
    Row("cifar10", "two classes", 4, 0.01, (35.97, 25.32, 46.32)),
    Row("cifar10", "one class", 4, 0.01, (58.59, 37.71, 71.25)),
    Row("cifar10", "two classes", 10, 0.001, (40.49, 46.98, 50.44)),
)

# test-time choices: which images a user steps on, and how often; all are scored on the user's test images
WAYS = {
    "none": "no step",
    "tr40": "one step of alpha on 40 training images",
    "trfull": "one step of alpha on all training images",
    "te40": "one step of alpha on 40 test images",
    "tefull": "one step of alpha on all test images",
    "tau_alpha": "tau steps of alpha on 40 training images each",
    "tau_beta": "tau steps of beta on 40 training images each",
}
WHEN = ("end", "late")  # the last model; the mean of accuracies at rounds 0.6 K, 0.8 K and K

OBJECTIVES = {  # name: objective, factor
    "ce": ("cross-entropy", 1.0),
    "sq": ("squared", 0.5),
    "sqsum": ("squared", 1.0),
    "mse": ("squared", 0.1),
    "bce": ("sigmoid-cross-entropy", 1.0),
}
OUTPUTS = {"lin": "linear", "elu": "elu", "sig": "sigmoid", "soft": "softmax"}
BIASES = {"0": "zero", "N1": "normal", "w": "weights"}


class Protocol(NamedTuple):
    """The loss, and how its weights are drawn."""

    loss: object
    weights: str
    biases: str
    scale: float


def protocol(name):
    """From its name: objective-output|elu and its parameter|weights/biases|x and a factor of the loss.

    Weights ``n0.1`` are 0.1 N(0, 1); others are those of `MLP.initial_weights`.

    >>> protocol("sq-elu|elu0.1|n0.2/w|x2").loss.factor
    1.0
    """
    import pfl_theory as pfl

    kind, elu, drawn, factor = name.split("|")
    (objective, own), output = OBJECTIVES[kind.split("-")[0]], OUTPUTS[kind.split("-")[1]]
    weights, biases = drawn.split("/")
    gaussian = weights.startswith("n")
    loss = pfl.losses.MLP(
        10, elu=float(elu[3:]), output=output, objective=objective, factor=own * float(factor.removeprefix("x"))
    )
    scale = float(weights[1:]) if gaussian else 1.0
    return Protocol(loss, "gaussian" if gaussian else weights, BIASES[biases], scale)


def algorithm(method, tau, alpha, *, beta=BETA, participation=SHARE):
    """A column of Table 1."""
    import pfl_theory as pfl

    common = {"local_steps": tau, "participation": participation}
    if method.startswith("FedAvg"):
        return pfl.FedAvg(beta=float(method[6:] or beta), batch=BATCH, **common)
    batches = {"batch_inner": BATCH, "batch_outer": BATCH, "batch_hessian": None if method == "first-order" else BATCH}
    return pfl.PerFedAvg(alpha=alpha, beta=beta, variant=method, **common, **batches)


def problems(row, loss, seed):
    """Training and test problem of a row."""
    import pfl_theory as pfl
    from pfl_theory.federations import paper_pair

    pair = paper_pair(row.source, second_half=row.second_half, seed=seed)
    return tuple(pfl.Problem(loss, fed, dtype="float32") for fed in pair)


def scored(train, test, w, way, *, tau, alpha, seed):
    """Accuracy of every user (in [0, 1]) after the test-time step named `way`."""
    import pfl_theory as pfl

    if way == "none":
        return test.accuracy(w)
    steps = tau if way.startswith("tau") else 1
    batch = None if way.endswith("full") else BATCH
    step = BETA if way == "tau_beta" else alpha
    own = test if way.startswith("te") else train
    return test.accuracy(pfl.adapt(own, w, alpha=step, steps=steps, batch=batch, seed=seed))


def by_ways(pair, w, ways, row, seed):
    """Accuracy of every user by each of some test-time choices."""
    return {way: scored(*pair, w, way, tau=row.tau, alpha=row.alpha, seed=seed) for way in ways}


def training(row, made, pair, replicate, rounds, chosen, looked_at, every=None):
    """Run the chosen algorithm from the protocol's first weights; `looked_at` is what to record of a model.

    All methods of a replicate share users, first weights, users of a round and batches.
    """
    import pfl_theory as pfl
    from pfl_theory import sweeps

    train, test = pair
    return pfl.run(
        chosen,
        train,
        rounds=rounds,
        w0=start(made, train.federation, replicate),
        seed=replicate,
        test=test,
        record=lambda at: looked_at(at.w),
        every=every or max(10, rounds // RECORDS),
        alpha=row.alpha,
        checkpoint=sweeps.scratch("run.npz"),
    )


def trained(row, method, name, replicate, rounds):
    """One training: accuracies (%) by every test-time choice, at the end and late; the two kinds of user apart."""
    import numpy as np

    made = protocol(name)
    pair = problems(row, made.loss, replicate)
    chosen = algorithm(method, row.tau, row.alpha)
    run = training(row, made, pair, replicate, rounds, chosen, lambda w: by_ways(pair, w, WAYS, row, replicate))
    kinds = np.array(pair[0].federation.info["kind"])
    found = {"setting": row.label, "status": run.status, "rounds_run": float(run.rounds[-1])}
    for way in WAYS:
        users = 100 * run.records[way]
        found |= {f"{way}_end": float(users[-1].mean()), f"{way}_late": float(users[-3:].mean())}
        if way in ("tr40", "trfull"):
            found |= {f"{way}_five": float(users[-1, kinds == "five classes"].mean())}
            found |= {f"{way}_rest": float(users[-1, kinds != "five classes"].mean())}
    return found


def curved(row, method, name, replicate, rounds):
    """The same training; alpha times the largest curvature of its users where it records."""
    from pfl_theory.reports.along import curvature

    made = protocol(name)
    pair = problems(row, made.loss, replicate)

    def looked_at(w):
        step = by_ways(pair, w, ("tr40",), row, replicate)["tr40"]
        return {"curvature": curvature(pair[0], w), "accuracy": float(step.mean())}

    run = training(row, made, pair, replicate, rounds, algorithm(method, row.tau, row.alpha), looked_at)
    return [
        {
            "setting": row.label,
            "status": run.status,
            "round": float(k),
            "alpha_curvature": row.alpha * float(curve),
            "tr40_end": 100 * float(right),
        }
        for k, curve, right in zip(run.rounds, run.records["curvature"], run.records["accuracy"], strict=True)
    ]


def start(made, fed, replicate):
    """First weights."""
    return made.loss.initial_weights(fed, weights=made.weights, biases=made.biases, scale=made.scale, seed=replicate)
