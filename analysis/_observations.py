"""Observations of Jiang et al. (2019) as claims that seeds decide, as `observations.json` fixes before the run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from analysis import _seeds
from pfl_theory import plotting

_TEXT = Path(__file__).with_name("observations.json").read_bytes()
PLAN = json.loads(_TEXT)
DIGEST = hashlib.sha256(_TEXT).hexdigest()[:12]  # in every cell: results under another plan are other results
SETS = {
    "femnist": "FEMNIST's writers, 62 classes",
    "mnist": "MNIST, labels by Dirichlet(0.5)",
    "shakespeare": "Shakespeare, next character",
    "digits": "5,000 digits, labels by Dirichlet(0.5)",
}
CLASSES = {"femnist": 62, "mnist": 10, "shakespeare": 65, "digits": 10}


def cells(scale, choice, options):
    """The cells of an analysis: every option on every data set with every seed; two seeds on the digits if quick."""
    full = scale == "full"
    seeds = PLAN["decision"]["seeds"] if full else 2
    return [
        {"data": data, choice: option, "replicate": k, "plan": DIGEST}
        for data in (("femnist", "mnist", "shakespeare") if full else ("digits",))
        for k in range(seeds)
        for option in options
    ]


def at_the_end(table, choice):
    """The last record of every run."""
    return table[table["round"] == table.groupby(["data", choice])["round"].transform("max")]


class People(NamedTuple):
    """Users who train; and others, some to choose steps on and some to test on, each with two halves of its own."""

    data: str
    train: Any
    adapt: Any
    evaluate: Any
    validation: Any  # a truth value a user of the halves; the others are test users
    w0: Any


def people(data, replicate):
    """The users of a replicate, as problems, and the first weights."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.seeds import generator

    many = PLAN["users"][data]
    whole, first, second = users_of(data, many, replicate)
    order = generator(replicate, "observations", data).permutation(first.n_users)
    ends = np.cumsum([many["train"], many["validation"], many["test"]])
    training, others = np.sort(order[: ends[0]]), order[ends[0] : ends[2]]
    loss = pfl.losses.MLP(CLASSES[data])
    train, adapt, evaluate = (
        pfl.Problem(loss, fed.select(users), dtype="float32")
        for fed, users in ((whole, training), (first, others), (second, others))
    )
    validation = np.arange(len(others)) < many["validation"]
    return People(data, train, adapt, evaluate, validation, loss.initial_weights(whole, seed=replicate))


def users_of(data, many, replicate):
    """All users: what they have, a half to adapt to, and one to be scored on.

    Images are cut at random; text by speeches in their order, and who trains reads the first half alone.
    """
    from pfl_theory import datasets
    from pfl_theory.federations import dirichlet, writers, writers_pair

    if data == "shakespeare":
        parts = (datasets.shakespeare(part, context=many["context"], most=many["most"]) for part in ("train", "test"))
        first, second = writers_pair(*parts, min_size=many["least"], min_test=many["least"])
        return first, first, second
    images = datasets.local(data)
    if data == "femnist":
        whole = writers(images, min_size=many["least"])
    else:
        users = many["train"] + many["validation"] + many["test"]
        kind = {"concentration": many["concentration"], "over": "classes"}
        whole = dirichlet(images, n_users=users, size=many["size"], seed=replicate, **kind)
    return whole, *whole.split(0.5, seed=replicate)


# --- scoring ---


def personalised(adapt, w, step, seed):
    """Models of the users after each of the plan's numbers of epochs."""
    import numpy as np

    from pfl_theory.algorithms.local_steps import local_steps, plain_plan

    points, done = np.asarray(w)[None], 0
    for epochs in PLAN["personalisation"]["epochs"]:
        plan = plain_plan(step, 1, PLAN["personalisation"]["batch"], True, epochs - done)
        everybody = np.arange(adapt.n_users)
        _, points = local_steps(adapt, everybody, points, plan, seed=seed, round_=done, keep=True)
        done = epochs
        yield points


def scores(who, w, seed):
    """Accuracies (%) of every user: p0, and p1 for every step and number of epochs, shape (steps, epochs, users)."""
    import numpy as np

    def accuracy(points):
        finite = np.isfinite(points).all(-1)
        return 100 * np.where(finite, who.evaluate.accuracy(np.where(finite[..., None], points, 0)), 0.0)

    steps = PLAN["personalisation"]["steps"][who.data]
    after = [[accuracy(points) for points in personalised(who.adapt, w, step, seed)] for step in steps]
    return {"p0": accuracy(np.asarray(w)), "p1": np.array(after)}


def lines(run, who):
    """A line a record: means over users, with the one pair of step and epochs that suits the validation users best."""
    import numpy as np

    p0, p1, validation = run.records["p0"], run.records["p1"], who.validation
    known = p0[:, validation].mean(1)
    late = known >= 0.8 * known[-1]
    mean = p1[late][..., validation].mean((0, 3))
    step, epochs = np.unravel_index(mean.argmax(), mean.shape)
    chosen, tests = p1[:, step, epochs], ~validation
    options = PLAN["personalisation"]
    return [
        {
            "round": float(k),
            "p0_validation": known[j],
            "p1_validation": chosen[j, validation].mean(),
            "p0": p0[j, tests].mean(),
            "p1": chosen[j, tests].mean(),
            "between_users": chosen[j, tests].std(ddof=1),
            "worse": (chosen[j] < p0[j])[tests].mean(),
            "step": options["steps"][who.data][step],
            "epochs": options["epochs"][epochs],
            "status": run.status,
        }
        for j, k in enumerate(run.rounds)
    ]


# --- deciding ---


def at_equal_p0(one, other, share):
    """(p1 of one - p1 of the other, p0 of one - p0 of the other) of test users, where both meet the same p0.

    `one`, `other`: lines of a run in order of rounds.
    """
    both = [monotone(curve) for curve in (one, other)]
    target = share * min(float(known[-1]) for known in both)
    ends = [
        read_off(curve, met(curve["round"].to_numpy(), known, target))
        for curve, known in zip((one, other), both, strict=True)
    ]
    return tuple(a - b for a, b in zip(*ends, strict=True))


def monotone(curve):
    """p0 of the validation users, isotonic in rounds."""
    from scipy.optimize import isotonic_regression

    return isotonic_regression(curve["p0_validation"].to_numpy()).x


def met(rounds, known, target):
    """The round, between records, at which a curve that does not fall first meets the target.

    >>> import numpy as np
    >>> met(np.array([0.0, 10.0, 20.0]), np.array([1.0, 3.0, 3.0]), 2.0)
    5.0
    """
    k = int((known >= target).argmax())
    if k == 0:
        return float(rounds[0])
    low, high = known[k - 1], known[k]
    return float(rounds[k - 1] + (target - low) / (high - low) * (rounds[k] - rounds[k - 1]))


def read_off(curve, round_):
    """p1 and p0 of the test users there, linear between records.

    Not smoothed: a mean over neighbouring records would hold the untrained model against whoever is fast.
    """
    import numpy as np

    return [float(np.interp(round_, curve["round"], curve[name])) for name in ("p1", "p0")]


def interval(effects):
    """Mean of the effects over seeds, and the ends of its interval: one seed decides nothing."""
    import numpy as np

    mean, half = float(np.mean(effects)), _seeds.half_width(effects, PLAN["decision"]["level"])
    half = np.inf if np.isnan(half) else float(half)
    return mean, mean - half, mean + half


def decide(low, high, margin):
    """The plan's rule.

    >>> [decide(*ends, 0.5) for ends in ((0.6, 1.0), (0.0, 0.4), (0.4, 0.6))]
    ['confirmed', 'refuted', 'undecided']
    """
    return "confirmed" if low > margin else "refuted" if high < margin else "undecided"


def decided(claim, data, effects, **more):
    """A line of a table of decisions: `effects` of the seeds against the claim's margin."""
    import numpy as np

    mean, low, high = interval(effects)
    margin = PLAN["claims"][claim]["margin"]
    spread = float(np.std(effects, ddof=1)) if len(effects) > 1 else np.nan
    line = {"claim": claim, "data": data, "contrast": PLAN["claims"][claim]["contrast"], "margin": margin}
    found = {"effect": mean, "low": low, "high": high, "spread": spread, "seeds": len(effects)}
    return {**line, **more, **found, "decision": decide(low, high, margin), "plan": DIGEST}


# --- showing ---


def curves(table, choice, options, x, xlabel):
    """p0 and p1 against x: mean over seeds and range, and the spread between users at the end.

    Returns the figure and, for each data set, its two axes; `options`: name and label of what is compared.
    """
    sets = list(dict.fromkeys(table["data"]))
    fig, axes = plotting.figure(2, len(sets), width="page", height=4.6, sharex="col", squeeze=False)
    for column, data in zip(axes.T, sets, strict=True):
        for k, (option, label) in enumerate(options.items()):
            part = table[(table["data"] == data) & (table[choice] == option) & (table["round"] > 0)]
            for ax, name in zip(column, ("p0", "p1"), strict=True):
                line = part.groupby(x)[name]
                low, mid, high = line.min(), line.mean(), line.max()
                plotting.band(ax, mid.index.to_numpy(), low, mid, high, label, k)
            between_users(column[1], part, x, k)
        column[0].set_title(SETS[data], fontsize=7.5)
        column[1].set_xlabel(xlabel)
    axes[0][0].set_ylabel("before personalising: p0 (%)")
    axes[1][0].set_ylabel("after: p1 (%)")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig, dict(zip(sets, axes.T, strict=True))


def between_users(ax, part, x, k):
    """A standard deviation of p1 between users either way, where the lines of a method end: mean over seeds."""
    end = part[part["round"] == part["round"].max()]
    bar = {"color": plotting.series_style(k)["color"], "capsize": 2, "linewidth": 0.8}
    ax.errorbar([end[x].mean() * (1 + 0.02 * k)], [end["p1"].mean()], yerr=[end["between_users"].mean()], **bar)


def differences(panels):
    """A panel a contrast: on every data set a dot a seed, the interval with its decision; and the margin.

    `panels`: claim, what of it is compared (p0 or p1), title, and for each data set the effects of the seeds and the
    line of decisions.
    """
    fig, axes = plotting.figure(1, len(panels), width="page", height=2.8, squeeze=False)
    for ax, (claim, name, title, found) in zip(axes[0], panels, strict=True):
        for k, (effects, line) in enumerate(found.values()):
            mark(ax, k, effects, line)
        ax.axhline(PLAN["claims"][claim]["margin"], color="black", linewidth=0.8)
        ax.set_xticks(range(len(found)), list(found), fontsize=7)
        ax.set_xlim(-0.6, len(found) - 0.4)
        ax.set(xlabel="data", ylabel=f"difference of {name} (points)")
        ax.set_title(f"{claim}: {title}; line: margin", fontsize=7.5)
        ax.margins(y=0.15)
    return fig


def mark(ax, k, effects, line):
    """A dot a seed, and the interval of a line of decisions with what it decides, at the k-th place."""
    import numpy as np

    look = plotting.series_style(k) | {"linestyle": "none", "markersize": 3}
    ax.plot(np.full(len(effects), k - 0.12), effects, alpha=0.7, **look)
    if len(effects) > 1:
        half = line["high"] - line["effect"]
        ax.errorbar([k + 0.12], [line["effect"]], yerr=[half], color=look["color"], marker=look["marker"], capsize=3)
        ax.annotate(line["decision"], (k + 0.12, line["high"]), ha="center", va="bottom", fontsize=7)
