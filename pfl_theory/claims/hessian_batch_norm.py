"""How Hessians of a batch average: like vectors at a fixed v, not in operator norm.

- sharp: E||(Hbar - H) v||^2 <= sigma_H^2 c_D'' ||v||^2 (verdict: holds, attained)
- paper, operator-norm: E||Hbar - H||^2 <= sigma_H^2 / D'' (verdict: refuted: a misreading, **not** a statement of
  the paper)

Hbar is the mean Hessian of a batch of D'' data, sigma_H^2 a bound of E||H_z - H||^2. Lemma 4.3 needs only the
first. Judged on users whose data have given Hessians; every batch is enumerated. Proofs: docs/theory/batches.md#9-2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..algorithms.per_fedavg import PerFedAvg
from ..constants import Constant
from ..errors import require
from ..expectations.batches import LARGEST_ENUMERATION, batch_count, batches
from ..expectations.quadratics import batch_factor
from ..judging.claim import Claim, Hypothesis, Sides
from ..judging.hypotheses import bound, has_constants
from ..judging.instance import Instance
from ..judging.on_batches import sizes_of
from ..problems.problem import Problem
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT

SOURCE = "docs/theory/batches.md#9-2-operator-norm"


@dataclass(frozen=True, eq=False)
class QuadraticData:
    """One user, m equally likely data with losses <w, A_z w> / 2.

    Attributes
    ----------
    matrices : ndarray, shape (m, d, d)
        Symmetric A_z.

    Examples
    --------
    >>> data = QuadraticData(np.array([[[1.0]], [[-1.0]]]))
    >>> Problem.from_functions(**data.functions()).constants()["sigma_H"].max()
    1.0
    """

    matrices: NDArray

    def __post_init__(self) -> None:
        a = np.asarray(self.matrices, dtype=np.float64)
        require(a.ndim == 3 and a.shape[1] == a.shape[2], f"QuadraticData: matrices {a.shape}; give (m, d, d)")
        require(bool((a == a.transpose(0, 2, 1)).all()), "QuadraticData: the matrices must be symmetric")
        object.__setattr__(self, "matrices", a)

    @property
    def deviations(self) -> NDArray:
        """A_z minus their mean, shape (m, d, d)."""
        return np.asarray(self.matrices - self.matrices.mean(0))

    @property
    def sigma_H(self) -> float:  # noqa: N802 - the paper's symbol
        """(E||A_z - A||^2)^(1/2), operator norm."""
        return float(np.sqrt((norms(self.deviations) ** 2).mean()))

    def functions(self) -> dict:
        """Keywords for ``Problem.from_functions``."""
        mean = self.matrices.mean(0)
        return {
            "value": lambda w: np.einsum("ni,ij,nj->n", w, mean, w) / 2,
            "gradient": lambda w: w @ mean,
            "hvp": lambda w, v: v @ mean,
            "n_users": 1,
            "dim": len(mean),
            "constants": {"sigma_H": Constant.exact([self.sigma_H], "mean square of the operator norms")},
        }


@dataclass(frozen=True, eq=False)
class WithHessians(Instance):
    """An instance that knows the Hessian of every datum."""

    data: QuadraticData | None = None


def data_of(instance: Instance) -> QuadraticData:
    """The user's Hessians, datum by datum."""
    assert isinstance(instance, WithHessians)
    assert instance.data is not None
    return instance.data


def norms(matrices: NDArray) -> NDArray:
    """Operator norms of symmetric matrices, shape (k, d, d) -> (k,)."""
    return np.abs(np.linalg.eigvalsh(matrices)).max(-1)


def _sides(*, fixed: bool):  # type: ignore[no-untyped-def]
    def sides(instance: Instance) -> Sides:
        """Left side per ||v||^2, the largest over all v where v is fixed."""
        data, sizes = data_of(instance), sizes_of(instance)
        away, size = data.deviations, sizes.hessian
        m, d = away.shape[:2]
        count = batch_count(size, m, replace=sizes.replace)
        require(
            count <= LARGEST_ENUMERATION,
            f"batches: {count:.3g} outcomes to enumerate, at most {LARGEST_ENUMERATION:g}; use a smaller D''",
        )
        square, whole = np.zeros((d, d)), 0.0
        for probability, share in batches(
            size, np.full(m, 1 / m), replace=sizes.replace, rows=max(1, 2**17 // max(m, d * d))
        ):
            mean = np.tensordot(share, away, 1)
            square += np.einsum("k,kij,kjl->il", probability, mean, mean)
            whole += float(probability @ norms(mean) ** 2)
        largest = float(norms(data.matrices).max())
        value = float(np.linalg.eigvalsh(square)[-1]) if fixed else whole
        # Hessians are off by (m + 4) u of the largest; sums over batches and coordinates, eigenvalues d^2 of it
        error = 32 * (m + d * d + 12 * (size or 0) + 2**17 + count / 2**10) * UNIT * largest**2
        sigma = bound(instance, "sigma_H")
        right = sigma**2 * batch_factor(size, m, replace=sizes.replace or not fixed)
        lhs, rhs = max(0.0, value - error), Interval.with_error(right, 64 * (m + d * d) * UNIT * largest**2)
        return Sides(Interval(lhs, value + error, value + error - lhs), rhs, "all w")

    return sides


def _known(instance: Instance) -> str | None:
    return None if isinstance(instance, WithHessians) else "the user's Hessians must be given datum by datum."


def _batches(instance: Instance) -> str | None:
    algorithm = instance.algorithm
    if not isinstance(algorithm, PerFedAvg) or algorithm.variant != "exact":
        return "the algorithm must be exact Per-FedAvg: its D'' is what is judged."
    m = len(data_of(instance).matrices)
    size = algorithm.batch_hessian or 0
    return None if algorithm.replace or size <= m else f"a batch of {size} without replacement, but there are {m} data."


def with_hessians(matrices: NDArray, size: int | None, name: str, *, replace: bool = True) -> Instance:
    """One user with these Hessians and batches of this size."""
    data = QuadraticData(matrices)
    problem = Problem.from_functions(**data.functions())
    algorithm = PerFedAvg(alpha=1.0, beta=0.1, batch_hessian=size, replace=replace)
    return WithHessians(problem, 1.0, np.zeros((1, problem.dim)), name, algorithm, data=data)


def witness() -> Instance:
    """Four Hessians in the plane, D'' = 2."""
    one = np.eye(2)
    turned = np.diag([1.0, -1.0])
    return with_hessians(np.array([one, -one, turned, -turned]), 2, "I, -I, diag(1, -1), diag(-1, 1)")


def random_instance(rng: np.random.Generator) -> Instance:
    """Random symmetric Hessians, batches of 1 to 3, with and without replacement."""
    m, d = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    a = rng.normal(size=(m, d, d)) * 10 ** rng.uniform(-1, 1)
    replace = bool(rng.random() < 0.6)
    size = int(rng.integers(1, (3 if replace else min(3, m)) + 1))
    return with_hessians(a + a.transpose(0, 2, 1), size, "random Hessians", replace=replace)


HYPOTHESES = (
    Hypothesis("the user's Hessians are given datum by datum", _known),
    Hypothesis("batches of exact Per-FedAvg that the data allow", _batches),
    has_constants("sigma_H"),
)

CLAIMS = (
    Claim(
        name="hessian-batch-norm",
        version="sharp",
        form="",
        title="Hessians of a batch, applied to a fixed vector",
        short="sigma_H^2 c_D'' ||v||^2 for a fixed v",
        statement="for every fixed v, E||(Hbar - H) v||^2 <= sigma_H^2 c_D'' ||v||^2",
        source=SOURCE,
        tight=True,
        known_ratio=1.0,
        hypotheses=HYPOTHESES,
        sides=_sides(fixed=True),
        witness=witness,
        random_instance=random_instance,
    ),
    Claim(
        name="hessian-batch-norm",
        version="paper",
        form="operator-norm",
        title="Hessians of a batch in operator norm: the obvious misreading, not a statement of the paper",
        short="as misread, in operator norm; not the paper's",
        statement="(a misreading, not a statement of the paper) E||Hbar - H||^2 <= sigma_H^2 / D'' in operator norm",
        source="the obvious misreading of how Hessians average; refuted in docs/theory/batches.md#9-2-operator-norm",
        tight=False,
        known_ratio=1.5,
        hypotheses=HYPOTHESES,
        sides=_sides(fixed=False),
        witness=witness,
        random_instance=None,
        expected="VIOLATED",
    ),
)
