"""How far the users of a split are from each other, in cells that user_distances and femnist share."""

from __future__ import annotations

import itertools

from pfl_theory import plotting

METRICS = {"images": None, "labelled": 1.0}  # price of a label, in the unit of pixels scaled to 0 .. 1
PARTS = ("pairs", "average", "floor", "gamma")
ALPHA, BETA, STEPS, BATCH = 0.5, 0.05, 10, 40
SHARES = {"cifar10": 0.05}  # of these steps, by data: E[x x^T] has the largest eigenvalue 742, where MNIST has 38

CHOICES = {
    "W1": "exact between the users' images as they are, certified; 'images' is ||x - x'||, 'labelled' adds 1 where "
    "labels differ",
    "floor": "subsamples of m images a user, pooled and dealt again ('within labels': inside each label). W1 of "
    "all images stands beside it",
    "TV": "of the label laws: exact for users that differ by labels alone, else a lower bound. TV of the images "
    "themselves is 1",
    "gamma": "softmax regression at the model of FedAvg (tau = 10, beta = 0.05, batches of 40, everybody every round)",
    "gain": "test accuracy after one exact step of size 0.5 on the user's training images, minus before",
}


def cells(split, users, *, blocks, m, permutations, rounds):
    """The cells of a split: pairs and averages in blocks of users of about equal work, floor and gamma in one each."""
    import numpy as np

    base = {"split": split, "users": users, "m": m, "permutations": permutations, "rounds": rounds}
    rows = [int(users * np.sqrt(k / blocks)) for k in range(blocks + 1)]  # user i has i pairs
    even = [users * k // blocks for k in range(blocks + 1)]
    return [
        {**base, "part": part, "metric": metric, "first": int(first), "last": int(last)}
        for part, cuts in (("pairs", rows), ("average", even))
        for metric in METRICS
        for first, last in itertools.pairwise(cuts)
    ] + [{**base, "part": part, "metric": "", "first": 0, "last": users} for part in ("floor", "gamma")]


def share_of_step(data):
    """What share of the step sizes suits a data set."""
    return SHARES.get(data, 1.0)


def measure(train, test, *, seed, users, part, metric, first, last, m, permutations, rounds, share=1.0):
    """Rows of one cell."""
    if part == "pairs":
        return pairs(train, METRICS[metric], range(first, last))
    if part == "average":
        return averages(train, METRICS[metric], range(first, last))
    return floor(train, seed, m, permutations) if part == "floor" else gamma(train, test, seed, rounds, share)


def pairs(train, kappa, users):
    """W1 of users i and j < i."""
    from pfl_theory.distances.between_users import measured, shared

    base, wanted = shared(train, use_labels=kappa is not None), [(i, j) for i in users for j in range(i)]
    ends = measured(lambda k: base.pair(*wanted[k]), range(len(wanted)), kappa=kappa, tv=False, gap=1e-9, small=False)
    return [
        {"kind": "pair", "i": i, "j": j, "lower": lower, "upper": upper}
        for (i, j), (lower, upper, _) in zip(wanted, ends, strict=True)
    ]


def averages(train, kappa, users):
    """W1 of user i to the average of all."""
    from pfl_theory.distances import to_average

    found = to_average(train, kappa=kappa, users=users)
    return [
        {"kind": "average", "i": i, "lower": found.average_lower[k], "upper": found.average_upper[k]}
        for k, i in enumerate(users)
    ]


def floor(train, seed, m, permutations):
    """The noise floor at m images a user, dealt over all images and inside labels."""
    import numpy as np

    from pfl_theory.distances import noise_floor

    rows = []
    for within in (False, True):
        found = noise_floor(train, m=m, permutations=permutations, within_labels=within, seed=seed)
        kind = "floor within labels" if within else "floor"
        rows.append(
            {
                "kind": kind,
                "floor": found.floor,
                "statistic": found.statistic,
                "p_value": found.p_value,
                "deals": float(found.deals.mean()),
            }
        )
        if not within:
            low = np.tril_indices(train.n_users, -1)
            rows += [
                {"kind": "subsample", "i": int(i), "j": int(j), "upper": found.observed[i, j], "floor": found.floor}
                for i, j in zip(*low, strict=True)
            ]
    return rows


def gamma(train, test, seed, rounds, share=1.0):
    """Gradients of the users at a trained model, what the bounds say there, and who gains from a personal step."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.distances import between_label_laws
    from pfl_theory.federations import by_class
    from pfl_theory.problems import class_gradients, debiased_gamma_G, gamma_G_by_label_shift
    from pfl_theory.problems.best_kappa import best_kappa

    n_classes = 1 + int(max(train.y.max(), test.y.max()))
    problem, held_out = (pfl.Problem(pfl.losses.Softmax(n_classes), fed) for fed in (train, test))
    run = pfl.run(
        pfl.FedAvg(beta=share * BETA, local_steps=STEPS, batch=BATCH, participation=1.0),
        problem,
        rounds=rounds,
        seed=seed,
    )
    w = run.w
    g = problem.gradient(w)
    away = np.linalg.norm(g - g.mean(0), axis=1)
    personal = pfl.adapt(problem, w, alpha=share * ALPHA)
    gain = held_out.accuracy(personal) - held_out.accuracy(w)
    _, laws = by_class(train)
    tv = 0.5 * np.abs(laws - laws.mean(0)).sum(1)
    debiased = debiased_gamma_G(problem, w)
    best = best_kappa(problem, radius=float(np.linalg.norm(w)))
    at = {
        "kind": "gamma",
        "gamma_G": problem.gamma_G(w),
        "gamma_G2_debiased": debiased.debiased,
        "gamma_G2_lower": debiased.lower,
        "gamma_G2_upper": debiased.upper,
        "gamma_G_label_shift": gamma_G_by_label_shift(class_gradients(problem, w), laws),
        "B": problem.constants()["B_datum"].max(),
        "L_Z": best.lip.max(),
        "kappa": best.kappa,
        "L_x": best.features,
        "J": best.label,
        "tv_M": float((tv**2).mean()),
        "tv_P": float((between_label_laws(laws) ** 2).mean() / 2),
        "norm_w": float(np.linalg.norm(w)),
        "status": run.status,
    }
    kinds = train.info.get("kind") or [""] * train.n_users
    return [at] + [
        {
            "kind": "user",
            "i": i,
            "user_kind": kinds[i],
            "size": int(train.sizes[i]),
            "away": away[i],
            "gain": gain[i],
            "tv": tv[i],
        }
        for i in range(train.n_users)
    ]


# --- reading the table ---


def matrix(part, users, column="upper"):
    """A symmetric matrix from rows with i, j and a column."""
    import numpy as np

    out = np.zeros((users, users))
    i, j = part["i"].astype(int), part["j"].astype(int)
    out[i, j] = out[j, i] = part[column]
    return out


def of(table, split, kind, metric=None):
    """The rows of a split of one kind."""
    part = table[(table["split"] == split) & (table["kind"] == kind)]
    return part if metric is None else part[part["metric"] == metric]


def by_user(table, split):
    """One row a user: distances to the average beside gradient, gain and label TV."""
    frame = of(table, split, "user").set_index("i")[["user_kind", "size", "away", "gain", "tv"]]
    for metric in METRICS:
        frame[f"w1_{metric}"] = of(table, split, "average", metric).set_index("i")["upper"]
    return frame.reset_index()


def summary(table, split):
    """What the distances of a split say, in a row."""
    users = int(table[table["split"] == split]["users"].iloc[0])
    at = of(table, split, "gamma").iloc[0]
    row = {"split": split, "users": users, "m": int(table[table["split"] == split]["m"].iloc[0])}
    for metric in METRICS:
        p = float((matrix(of(table, split, "pair", metric), users) ** 2).mean() / 2)
        m = float((of(table, split, "average", metric)["upper"] ** 2).mean())
        row |= {f"sqrt_M_{metric}": m**0.5, f"sqrt_P_{metric}": p**0.5, f"tighter_{metric}": "M" if m <= p else "P"}
    for kind in ("floor", "floor within labels"):
        floor = of(table, split, kind).iloc[0]
        name = kind.replace(" ", "_")
        row |= {name: floor["floor"], f"sqrt_P_{name}": floor["deals"] ** 0.5, f"p_{name}": floor["p_value"]}
    sub = of(table, split, "subsample")
    row |= {
        "sqrt_P_subsample": float((matrix(sub, users) ** 2).mean() / 2) ** 0.5,
        "mean_excess": float((sub["upper"] - sub["floor"]).mean()),
    }
    lip = max(at["L_x"], at["J"] / METRICS["labelled"])
    row |= {
        "gamma_G": at["gamma_G"],
        "gamma_G2_debiased": at["gamma_G2_debiased"],
        "gamma_G2_lower": at["gamma_G2_lower"],
        "gamma_G2_upper": at["gamma_G2_upper"],
        "gamma_G_label_shift": at["gamma_G_label_shift"],
        "B": at["B"],
        "paper_TV_labels": 2 * at["B"] * at["tv_M"] ** 0.5,
        "W1_bound": lip * min(row["sqrt_M_labelled"], row["sqrt_P_labelled"]),
    }
    users_frame = by_user(table, split)
    for a, b in (
        ("w1_images", "away"),
        ("w1_labelled", "away"),
        ("tv", "away"),
        ("w1_images", "gain"),
        ("away", "gain"),
    ):
        row[f"rank_correlation_{a}_{b}"] = rank_correlation(users_frame[a], users_frame[b])
    return row


def rank_correlation(a, b):
    """Spearman's, or None where one side is constant."""
    import numpy as np

    ranks = [x.rank().to_numpy() for x in (a, b)]
    if any(np.ptp(r) == 0 for r in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def heat(table, splits, titles):
    """Three maps a split: W1 of all images, excess of subsamples over the floor, and the pairs' W1 with labels."""
    import numpy as np

    fig, axes = plotting.figure(len(splits), 3, width="page", height=1.9 * len(splits) + 0.3, squeeze=False)
    for line, (split, title) in zip(axes, zip(splits, titles, strict=True), strict=True):
        users = int(table[table["split"] == split]["users"].iloc[0])
        sub = of(table, split, "subsample")
        level, m = float(sub["floor"].iloc[0]), int(sub["m"].iloc[0])
        excess = np.where(np.eye(users) > 0, np.nan, matrix(sub, users) - level)
        maps = (
            (
                np.where(np.eye(users) > 0, np.nan, matrix(of(table, split, "pair", "images"), users)),
                "W1 of all images",
                "viridis",
                None,
            ),
            (excess, f"W1 at m = {m}, minus the floor {level:.2f}", "PuOr_r", float(np.nanmax(np.abs(excess)))),
            (
                np.where(np.eye(users) > 0, np.nan, matrix(of(table, split, "pair", "labelled"), users)),
                "W1 with labels at price 1",
                "viridis",
                None,
            ),
        )
        for ax, (values, name, colours, around) in zip(line, maps, strict=True):
            limits = {} if around is None else {"vmin": -around, "vmax": around}
            picture = ax.imshow(values, cmap=colours, interpolation="nearest", **limits)
            fig.colorbar(picture, ax=ax, shrink=0.85)
            ax.set_title(name)
            ax.grid(visible=False)
            ax.set_xlabel("user")
            ax.locator_params(integer=True, nbins=5)
        line[0].set_ylabel(f"{title}\nuser")
    return fig


def scatter(table, splits, titles):
    """Distance to the average against the gradient's, and against the gain from a personal step."""
    fig, axes = plotting.figure(1, 3, width="page", height=2.9)
    for k, (split, title) in enumerate(zip(splits, titles, strict=True)):
        users = by_user(table, split)
        look = plotting.series_style(k) | {"linestyle": "none", "markersize": 3.2, "alpha": 0.75}
        axes[0].plot(users["w1_images"], users["away"], label=title, **look)
        axes[1].plot(users["tv"], users["away"], **look)
        axes[2].plot(users["away"], 100 * users["gain"], **look)
    for ax, x, y in zip(
        axes,
        (r"$W_1(p_i,p)$ of images (pixel units)", "TV of label laws (no unit)", r"$\|\nabla f_i-\nabla f\|$ (no unit)"),
        (
            r"$\|\nabla f_i-\nabla f\|$ (no unit)",
            r"$\|\nabla f_i-\nabla f\|$ (no unit)",
            "gain from one personal step (points)",
        ),
        strict=True,
    ):
        ax.set_xlabel(x)
        ax.set_ylabel(y)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(splits))
    return fig
