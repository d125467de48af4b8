"""Real writers: how far apart they are beyond sampling, with all characters and with digits alone."""

from __future__ import annotations

from analysis import _users

TITLE = "Real writers of FEMNIST: exact W1 between their characters, beside the floor of sampling, and what it predicts"
DATA = ("FEMNIST (105 writers)",)
CHOICES = {
    **_users.CHOICES,
    "writers": "those with at least 60 training and 5 test images of the classes used; exact duplicates dropped; "
    "ink bright as in MNIST",
    "quick": "twelve writers drawn at random",
}
SPLITS = {"all characters": "62 classes", "digits": "digits only"}


def grid(scale):
    full, users = (
        scale == "full",
        {"all characters": 100, "digits": 99} if scale == "full" else dict.fromkeys(SPLITS, 12),
    )
    size = (
        {"blocks": 4, "m": 60, "permutations": 99, "rounds": 200}
        if full
        else {"blocks": 1, "m": 40, "permutations": 19, "rounds": 20}
    )
    return [cell for split in SPLITS for cell in _users.cells(split, users[split], **size)]


def cell(*, seed, split, users, **keywords):
    train, test = federations(split, users, seed)
    return [
        {"federation": train.name, **row} for row in _users.measure(train, test, seed=seed, users=users, **keywords)
    ]


def federations(split, users, seed):
    """Training and test images of the same writers."""
    from pfl_theory.datasets import femnist
    from pfl_theory.federations import writers_pair

    return writers_pair(
        femnist("train"),
        femnist("test"),
        n_users=users,
        min_size=60,
        min_test=5,
        digits_only=split == "digits",
        seed=seed,
    )


def plot(table):
    splits = [split for split in SPLITS if split in set(table["split"])]
    titles = [SPLITS[split] for split in splits]
    return {"maps": _users.heat(table, splits, titles), "predicts": _users.scatter(table, splits, titles)}


def tables(table):
    import pandas as pd

    splits = [split for split in SPLITS if split in set(table["split"])]
    users = pd.concat([_users.by_user(table, split).assign(split=split) for split in splits])
    return {"summary": pd.DataFrame([_users.summary(table, split) for split in splits]), "users": users}
