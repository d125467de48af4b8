"""What every maker of users keeps. A new file in pfl_theory/federations is tested here without a line being added."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

import pfl_theory.federations as package
from pfl_theory.datasets import Dataset
from pfl_theory.discovery import modules
from pfl_theory.errors import InputError
from pfl_theory.federations import Federation
from pfl_theory.sweeps.files import canonical_json

# A maker is a function named as its file.
MAKERS = {
    name: getattr(module, name)
    for module in modules(package.__name__, package.__path__)
    if (name := module.__name__.rpartition(".")[2]) in vars(module) and name != "like"
}


@pytest.fixture(scope="module")
def dataset():
    """Images of ten classes by forty writers: enough for every maker, whatever it splits by."""
    rng = np.random.default_rng(7)
    x, y = rng.integers(0, 256, (20000, 4), dtype=np.uint8), rng.permutation(np.arange(20000) % 10)
    names = tuple(f"writer {i}" for i in range(40))
    return Dataset("stand-in", x, y, 10, (2, 2), groups=rng.integers(0, 40, 20000), group_names=names)


@pytest.fixture(params=MAKERS)
def make(request, dataset):
    """A maker with its defaults and ten users, its data set given if it wants one."""
    maker = MAKERS[request.param]
    given = (dataset,) if "dataset" in inspect.signature(maker).parameters else ()
    return lambda **keywords: maker(*given, **{"n_users": 10, **keywords})


def same(a: Federation, b: Federation) -> bool:
    arrays = ((a.x, b.x), (a.y, b.y), (a.weights, b.weights), (a.offsets, b.offsets))
    return all(
        (p is None) == (q is None)
        and (p is None or (p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes()))
        for p, q in arrays
    )


def absent_means_all(request) -> bool:
    """Whether the maker's users are given by the data set, so that None, its own default, stands for all of them."""
    return inspect.signature(MAKERS[request.node.callspec.params["make"]]).parameters["n_users"].default is None


def test_there_are_makers():
    assert {
        "location",
        "concept_shift",
        "finite_support",
        "paper_split",
        "dirichlet",
        "shards",
        "k_classes",
        "latent",
        "writers",
    } <= set(MAKERS)


def test_names_are_unique(dataset):
    feds = [
        m(*([dataset] if "dataset" in inspect.signature(m).parameters else []), n_users=10) for m in MAKERS.values()
    ]
    assert len({fed.name for fed in feds}) == len(MAKERS)


def test_exported_and_keyword_only(make, request):
    name = request.node.callspec.params["make"]
    assert getattr(package, name) is MAKERS[name]
    assert name in package.__all__
    parameters = list(inspect.signature(MAKERS[name]).parameters.values())
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters if p.name != "dataset")
    doc = inspect.getdoc(MAKERS[name])
    for heading in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"{heading}\n{'-' * len(heading)}\n" in doc
    assert all(p.name in doc for p in parameters)


def test_distributions(make):
    fed = make()
    assert fed.n_users == len(fed) == 10
    assert np.allclose(np.add.reduceat(fed.weights, fed.offsets[:-1]), 1.0, rtol=0, atol=1e-12)
    assert np.isclose(fed.mixture().weights.sum(), 1.0, rtol=0, atol=1e-12)
    assert all(len(user) == size > 0 for user, size in zip(fed, fed.sizes, strict=True))
    assert fed.x.flags.writeable  # a kernel compiled for a read-only array would be compiled twice
    assert fed.y is None or (fed.y.dtype == np.int64 and fed.y.min() >= 0)


def test_information_is_plain(make):
    info = make().info
    assert json.loads(canonical_json(info)) == info
    assert info["seed"] == 0


def test_round_trip_bit_for_bit(make, tmp_path):
    fed = make()
    back = Federation.load(fed.save(tmp_path / "users"))
    assert same(fed, back)
    assert (fed.scale, fed.law, fed.name, fed.info) == (back.scale, back.law, back.name, back.info)


def test_same_seed_same_bits(make):
    np.random.seed(1)  # noqa: NPY002 - to show that the global generator is neither read ...
    first = make(seed=3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert same(first, make(seed=3))
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 - ... nor moved
    assert not same(first, make(seed=4))
    assert not same(first, make(seed=3 + 2**64))  # every bit of the seed counts


@pytest.mark.parametrize("n_users", [0, -1, 2.5, "ten", None, True, float("nan")])
def test_bad_number_of_users(make, n_users, request):
    if n_users is None and absent_means_all(request):
        assert make(n_users=None).n_users > 10
        return
    with pytest.raises(InputError, match=r"^n_users = .*: must be a whole number >= \d$") as error:
        make(n_users=n_users)
    assert repr(n_users) in str(error.value)


@pytest.mark.parametrize("seed", [-1, 0.5, "x", None])
def test_bad_seed(make, seed):
    with pytest.raises(InputError, match=r"^seed = .*: must be a whole number >= 0$"):
        make(seed=seed)


def test_numpy_integers_are_integers(make):
    assert same(make(n_users=np.int32(10), seed=np.uint8(2)), make(n_users=10, seed=2))
