"""FedFomo's clients: images dealt by latent distributions or by shards, and what is trained on them."""

from __future__ import annotations

from typing import Any, NamedTuple

CLIENTS, DISTRIBUTIONS, COMPONENTS = 15, 5, 64
BATCH, EPOCHS, VALIDATION, MODELS = 50, 5, 0.2, 5
BETA = {"mnist": 0.05, "cifar10": 0.02, "digits": 0.05}
SIZES = {"mnist": (4000, 600), "cifar10": (1000, 600), "digits": (250, 50)}  # images a client: in all, and to test on
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "5,000 digits"}
CHOICES = {
    "clients": "15; a fifth of a client's images weighs models (FedFomo), all methods train on the others; at most "
    "4,000 images a client of MNIST, 1,000 of CIFAR-10",
    "latent": "k-means into 5 distributions on 64 principal components of the pixels (the authors: features of a "
    "trained network), 3 clients each",
    "training": "80 and 60 hidden units, ELU, cross-entropy; 20 rounds of 5 epochs, batches of 50, all clients; "
    "constant step (the authors: 0.99 per round)",
    "FedFomo": "5 models a round, its own included; epsilon 0.3, less 0.05 a round; L2 distance",
}


class Clients(NamedTuple):
    """Problems of the same clients."""

    train: Any
    validation: Any
    test: Any
    w0: Any
    distribution: list[int]  # of each client; the client's own number where there are none


def clients(data, split, seed):
    """The clients of a seed."""
    import pfl_theory as pfl

    whole, test = federations(data, split, seed)
    loss = pfl.losses.MLP(10)
    parts = (*whole.split(VALIDATION, seed=seed), test)
    problems = (pfl.Problem(loss, fed, dtype="float32") for fed in parts)
    known = whole.info.get("distribution") or list(range(whole.n_users))
    return Clients(*problems, loss.initial_weights(whole, seed=seed), known)


def federations(data, split, seed):
    """Images to train and to test on, of the same clients."""
    from dataclasses import replace

    from pfl_theory.datasets import local
    from pfl_theory.federations import latent_pair, like, shards

    images, tests = local(data, "train"), local(data, "test")
    size, test_size = SIZES[data]
    if split == "latent":
        kinds = {"n_users": CLIENTS, "n_distributions": DISTRIBUTIONS, "components": COMPONENTS}
        return latent_pair(images, tests, **kinds, size=size, test_size=test_size, seed=seed)
    some = min(len(images), CLIENTS * size)
    few = replace(images, x=images.x[:some], y=images.y[:some])
    train = shards(few, n_users=CLIENTS, shards_per_user=2, seed=seed)
    return train, like(train, tests, seed=seed)


def work(data):
    """What a client does in a round of any method that takes plain steps."""
    return {"beta": BETA[data], "local_epochs": EPOCHS, "batch": BATCH}


def fedfomo(data, models=MODELS):
    """FedFomo as the analyses run it."""
    import pfl_theory as pfl

    return pfl.FedFomo(**work(data), models=models)
