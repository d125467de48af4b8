"""Random numbers that depend on what they are for, never on how many were drawn before.

Philox-4x32-10 (Salmon, Moraes, Dror and Shaw 2011): a block of four 32-bit words is a function of a key (64 bits, from
seed and purpose) and a counter of four words (round, user, step, block). So any thread or worker makes the same
numbers, in any order, and no state is saved.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ..seeds import checked_seed
from .jit import helper, kernel, scalar

LOW = np.uint64(0xFFFFFFFF)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
S32 = np.uint64(32)


def stream_key(seed: int, purpose: str) -> np.uint64:
    """64-bit key of the stream for `purpose` under the root `seed`.

    Examples
    --------
    >>> first, again, other = (stream_key(0, name) for name in ("batches", "batches", "users"))
    >>> bool(first == again), bool(first == other)
    (True, False)
    """
    return np.uint64(
        int.from_bytes(hashlib.blake2b(f"{checked_seed(seed)}|{purpose}".encode(), digest_size=8).digest(), "little")
    )


@scalar
def _philox_round(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    p0, p1 = M0 * c0, M1 * c2
    return (p1 >> S32) ^ c1 ^ k0, p1 & LOW, (p0 >> S32) ^ c3 ^ k1, p0 & LOW, (k0 + W0) & LOW, (k1 + W1) & LOW


@scalar
def philox(key, c0, c1, c2, c3):  # type: ignore[no-untyped-def]
    """Four 32-bit words (as uint64) from a 64-bit key and a counter of four 32-bit words."""
    k0, k1 = key & LOW, key >> S32
    c0, c1, c2, c3 = np.uint64(c0) & LOW, np.uint64(c1) & LOW, np.uint64(c2) & LOW, np.uint64(c3) & LOW
    for _ in range(10):
        c0, c1, c2, c3, k0, k1 = _philox_round(c0, c1, c2, c3, k0, k1)
    return c0, c1, c2, c3


@scalar
def unit(high, low):  # type: ignore[no-untyped-def]
    """A number in (0, 1) from two 32-bit words: 52 bits and a half, so neither end occurs."""
    return (np.float64(np.int64((high << np.uint64(20)) | (low >> np.uint64(12)))) + 0.5) * 2.220446049250313e-16


@helper
def draw(key, round_, user, step, first, last, cumulative, size, replace, order, rows, coef):  # type: ignore[no-untyped-def]
    """A batch of `size` row indices of one user, written to `rows`; `coef` becomes 1/size.

    `cumulative` is empty for uniform weights, else the running sums of each user's weights. `order` is scratch with
    order[j] = j, left so.
    """
    m = last - first
    for j in range(0, size, 2):
        a, b, c, d = philox(key, round_, user, step, j // 2)
        for k in range(min(2, size - j)):
            u = unit(a, b) if k == 0 else unit(c, d)
            if replace:
                if len(cumulative):
                    low, high = first, last - 1
                    target = u * cumulative[last - 1]
                    while low < high:
                        middle = (low + high) // 2
                        if cumulative[middle] > target:
                            high = middle
                        else:
                            low = middle + 1
                    rows[j + k] = low
                else:
                    rows[j + k] = first + min(int(u * m), m - 1)
            else:  # Fisher-Yates: the first `size` entries of a shuffled order, put back below
                here = j + k
                other = here + min(int(u * (m - here)), m - here - 1)
                order[here], order[other] = order[other], order[here]
                rows[here] = other
    if not replace:
        for here in range(size - 1, -1, -1):
            other = rows[here]
            rows[here] = first + order[here]
            # undo in reverse: after all swaps are taken back, order[j] = j again
            order[here], order[other] = order[other], order[here]
    for k in range(size):
        coef[k] = 1.0 / size


@helper
def shuffle(key, round_, user, step, count, order):  # type: ignore[no-untyped-def]
    """The first `count` places of `order` become a draw without replacement from all of it (Fisher and Yates); all of
    them: a shuffle.
    """
    m = len(order)
    for j in range(count):
        a, b, _, _ = philox(key, round_, user, step, j)
        other = j + min(int(unit(a, b) * (m - j)), m - j - 1)
        order[j], order[other] = order[other], order[j]


@kernel
def _choose(m, key, round_, order):  # type: ignore[no-untyped-def]
    shuffle(key, round_, 0, 0, m, order)


def choose_users(n_users: int, count: int, seed: int, round_: int) -> NDArray:
    """`count` of `n_users` users, uniformly without replacement, in increasing order."""
    if count == n_users:
        return np.arange(n_users)
    order = np.arange(n_users)
    _choose(count, stream_key(seed, "users"), round_, order)
    return np.sort(order[:count])
