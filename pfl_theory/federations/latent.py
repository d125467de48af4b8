"""Users whose images look alike: clusters of images in the space of principal components, a few users to each
(FedFomo, Zhang et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ._labels import assembled
from ._making import stream, whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset

CHUNK = 2000  # images that are in memory as floats at a time
STARTS = 10  # of k-means, each for so many steps
FIRST_STEPS = 20
MAX_STEPS = 300  # of the best of them, until nothing moves: 30 to 130 for MNIST's images


def latent(
    dataset: Dataset,
    *,
    n_users: int = 15,
    n_distributions: int = 5,
    components: int = 64,
    size: int | None = None,
    seed: int = 0,
) -> Federation:
    """Users of a few latent distributions: images are clustered by their looks, and each cluster's are dealt to users.

    The images are projected on the first principal components of their pixels and put into `n_distributions` clusters
    by k-means: the best of ten k-means++ starts after 20 steps, then until nothing moves. The images of a cluster are
    dealt at random, evenly, to ``n_users / n_distributions`` users. Labels play no part. Clusters differ in size, and
    so do users of different clusters unless `size` is the same for all. No image serves two users.

    FedFomo's own code clusters the last hidden layer of a trained network (VGG-11), training and test images together;
    here a cluster is known before any network is.

    Parameters
    ----------
    dataset : Dataset
    n_users : int
        A multiple of `n_distributions`.
    n_distributions : int
        Number of clusters.
    components : int
        Number of principal components; all of them where images have fewer pixels.
    size : int, optional
        Images of a user at most. A cluster's images are all dealt when absent.
    seed : int
        Where k-means starts, and who gets which images of a cluster.

    Returns
    -------
    Federation
        ``info["distribution"]`` is each user's cluster: 0, 0, 0, 1, 1, 1, ...; clusters are numbered by the first
        principal component of their centres.

    Raises
    ------
    InputError
        `n_users` is no multiple of `n_distributions`, or a cluster has fewer images than users.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> fed = latent(digits(), n_users=6, n_distributions=3, size=100)
    >>> fed.info["distribution"], fed.sizes.tolist()
    ([0, 0, 1, 1, 2, 2], [100, 100, 100, 100, 100, 100])
    """
    users_each, found, cluster = _found(dataset, n_users, n_distributions, components, seed)
    return _dealt(dataset, found, cluster, users_each, _most("size", size), seed)


def latent_pair(
    train: Dataset,
    test: Dataset,
    *,
    n_users: int = 15,
    n_distributions: int = 5,
    components: int = 64,
    size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
) -> tuple[Federation, Federation]:
    """Training and test federation of the same users: :func:`latent` of `train`, and the test images of the same
    clusters.

    A test image belongs to the cluster whose centre, a mean of training images, is nearest to it in the space of the
    training images' principal components: test images move neither the space nor the centres.

    Parameters
    ----------
    train, test : Dataset
        Two splits of one data set.
    n_users, n_distributions, components, size, seed
        As for :func:`latent`.
    test_size : int, optional
        Test images of a user at most.

    Returns
    -------
    tuple of Federation
        User i of one has images of the same cluster as user i of the other.

    Raises
    ------
    InputError
        As :func:`latent`, or a cluster has fewer test images than users.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> train, test = latent_pair(digits("train"), digits("test"), n_users=6, n_distributions=3, test_size=40)
    >>> test.info["distribution"], test.sizes.tolist()
    ([0, 0, 1, 1, 2, 2], [40, 40, 40, 40, 40, 40])
    """
    require(
        train.x.shape[1] == test.x.shape[1],
        f"{train.title} has {train.x.shape[1]:,} pixels an image and {test.title} {test.x.shape[1]:,}; give two splits "
        "of one data set",
    )
    most, most_test = _most("size", size), _most("test_size", test_size)
    users_each, found, cluster = _found(train, n_users, n_distributions, components, seed)
    first = _dealt(train, found, cluster, users_each, most, seed)
    return first, _dealt(test, found, found.of(test.x), users_each, most_test, seed)


@dataclass(frozen=True)
class Clusters:
    """Centres in a space of principal components."""

    mean: NDArray  # of the images, (p,)
    axes: NDArray  # (p, components), orthonormal, the largest variance first
    centres: NDArray  # (k, components)

    def of(self, x: NDArray) -> NDArray:
        """Number of the nearest centre of each image, shape (N,)."""
        from ..kernels.jit import one_blas_thread

        with one_blas_thread():  # more would change bits
            return _nearest(_projected(x, self.mean, self.axes), self.centres)


def _most(name: str, size: int | None) -> int | None:
    return None if size is None else whole(name, size, 1)


def _found(
    dataset: Dataset, n_users: int, n_distributions: int, components: int, seed: int
) -> tuple[int, Clusters, NDArray]:
    """Users a cluster, the clusters, and the one of each image."""
    n, k = whole("n_users", n_users, 1), whole("n_distributions", n_distributions, 1)
    wanted = whole("components", components, 1)
    require(
        n % k == 0,
        f"n_users = {n}: must be a multiple of n_distributions = {k}, a cluster has as many users as another; use "
        f"{-(-n // k) * k}",
    )
    generators = [stream(seed, "latent/means", start) for start in range(STARTS)]
    from ..kernels.jit import one_blas_thread

    mean, scatter = _scatter(dataset.x)
    with one_blas_thread():  # more would change bits
        axes = _axes(scatter, wanted)
        z = _projected(dataset.x, mean, axes)
        starts = [_k_means(z, _start(z, k, generator), FIRST_STEPS) for generator in generators]
        centres = _k_means(z, min(starts, key=lambda found: found[0])[1], MAX_STEPS)[1]
        centres = centres[np.argsort(centres[:, 0], kind="stable")]
        cluster = _nearest(z, centres)
    return n // k, Clusters(mean, axes, centres), cluster


def _dealt(
    dataset: Dataset, found: Clusters, cluster: NDArray, users_each: int, most: int | None, seed: int
) -> Federation:
    """The images of each cluster, at random and evenly, to that many users."""
    k = len(found.centres)
    rows = []
    for j in range(k):
        own = stream(seed, "latent", j).permutation(np.flatnonzero(cluster == j))
        require(
            len(own) >= users_each,
            f"distribution {j} has {len(own):,} images of {dataset.title} for {users_each} users; use fewer users or "
            "distributions",
        )
        rows += np.array_split(own[: None if most is None else users_each * most], users_each)
    info = {
        "split": "latent",
        "n_distributions": k,
        "components": found.axes.shape[1],
        "distribution": [j for j in range(k) for _ in range(users_each)],
        "size": most,
        "seed": int(seed),
    }
    return assembled(dataset, rows, f"latent distributions, n={len(rows)} of {k}", info)


def _scatter(x: NDArray) -> tuple[NDArray, NDArray]:
    """Mean of the images and N times the sum of squares and products about it.

    Without rounding: all are sums of integers below 2^53 for up to 370,000 images of 8 bits, so neither the order of
    the sums nor the number of threads matters.
    """
    products = np.zeros((x.shape[1], x.shape[1]))
    for begin in range(0, len(x), CHUNK):
        part = x[begin : begin + CHUNK].astype(np.float64)
        products += part.T @ part
    total = x.sum(axis=0, dtype=np.int64).astype(np.float64)
    products *= len(x)
    products -= np.outer(total, total)
    return total / len(x), products


def _axes(scatter: NDArray, wanted: int) -> NDArray:
    """Directions of largest variance, each with its largest entry positive, shape (p, at most `wanted`)."""
    from scipy.linalg import eigh

    p = len(scatter)
    vectors = eigh(scatter, subset_by_index=[max(0, p - wanted), p - 1])[1][:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)


def _projected(x: NDArray, mean: NDArray, axes: NDArray) -> NDArray:
    """Principal components of images, shape (N, components)."""
    return np.concatenate([(x[begin : begin + CHUNK] - mean) @ axes for begin in range(0, len(x), CHUNK)])


def _nearest(z: NDArray, centres: NDArray) -> NDArray:
    return (np.square(centres).sum(axis=1) - 2.0 * (z @ centres.T)).argmin(axis=1)


def _k_means(z: NDArray, centres: NDArray, steps: int) -> tuple[float, NDArray]:
    """Sum of squared distances to the nearest centre, and the centres, after at most so many steps.

    SciPy's `kmeans2` takes a number of steps that is given beforehand, and does not end where nothing moves.
    """
    cluster, numbers = _nearest(z, centres), np.arange(len(centres))
    for _ in range(steps):
        member = (cluster == numbers[:, None]).astype(np.float64)
        count = member.sum(axis=1)[:, None]
        centres = np.where(count > 0, member @ z / np.maximum(count, 1.0), centres)
        before, cluster = cluster, _nearest(z, centres)
        if np.array_equal(cluster, before):
            break
    return float(np.square(z - centres[cluster]).sum()), centres


def _start(z: NDArray, k: int, generator: np.random.Generator) -> NDArray:
    """Images of which each is drawn with probability proportional to its squared distance to those before it (Arthur
    and Vassilvitskii 2007).
    """
    chosen = [int(generator.integers(len(z)))]
    square = np.full(len(z), np.inf)
    while len(chosen) < k:
        square = np.minimum(square, np.square(z - z[chosen[-1]]).sum(axis=1))
        up_to = np.cumsum(square)
        at = int(np.searchsorted(up_to, generator.random() * up_to[-1], side="right"))
        chosen.append(min(at, len(z) - 1))
    return z[chosen]
