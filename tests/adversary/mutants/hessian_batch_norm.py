"""How Hessians of a batch average, broken."""

from __future__ import annotations

from pfl_theory.claims import hessian_batch_norm as claim

from . import Mutant, right_times, sides, without


def with_replacement(size, m, *, replace):
    return 0.0 if size is None else 1.0 / size


MUTANTS = (
    Mutant(
        "with replacement always",
        "hessian-batch-norm",
        "sharp",
        "",
        None,
        (("claims.hessian_batch_norm.batch_factor", with_replacement),),
    ),
    Mutant("operator norm for a fixed vector", "hessian-batch-norm", "sharp", "", sides(claim._sides(fixed=False))),
    Mutant(
        "a fixed vector for the operator norm",
        "hessian-batch-norm",
        "paper",
        "operator-norm",
        sides(claim._sides(fixed=True)),
    ),
    Mutant("right side halved", "hessian-batch-norm", "sharp", "", right_times(0.5)),
    Mutant("variant not looked at", "hessian-batch-norm", "sharp", "", without("batches of exact")),
)
