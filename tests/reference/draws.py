"""Philox-4x32-10 in plain Python integers, after Salmon, Moraes, Dror and Shaw (2011), and the draws that the library
documents.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate

WORD = 2**32
INNER, OUTER, HESSIAN = 0, 1, 2  # the batches D, D', D''


def philox(counter, key):
    """Four words from a counter of four words and a key of two."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second // WORD ^ b ^ left, second % WORD, first // WORD ^ d ^ right, first % WORD
        left, right = (left + 0x9E3779B9) % WORD, (right + 0xBB67AE85) % WORD
    return a, b, c, d


def key_of(seed, purpose):
    number = int.from_bytes(hashlib.blake2b(f"{seed}|{purpose}".encode(), digest_size=8).digest(), "little")
    return number % WORD, number // WORD


def uniform(high, low):
    """52 bits of two words and a half, in (0, 1)."""
    return ((high * WORD + low) // 2**12 + 0.5) / 2**52


def shuffled_start(items, uniforms):
    """The first entries of a Fisher-Yates shuffle, one for each uniform number."""
    items = list(items)
    for j, u in enumerate(uniforms):
        k = j + int(u * (len(items) - j))
        items[j], items[k] = items[k], items[j]
    return items[: len(uniforms)]


def chosen_users(n_users, count, seed, round_):
    """A_k, in increasing order: a block of the stream "users" for every pick."""
    if count == n_users:
        return list(range(n_users))
    key = key_of(seed, "users")
    return sorted(shuffled_start(range(n_users), [uniform(*philox((round_, 0, 0, j), key)[:2]) for j in range(count)]))


def batch(weights, size, *, seed, round_, user, step, which, replace=True):
    """Rows (numbered inside the user) of batch `which` of local step t: block j of the stream "batches" gives picks 2j
    and 2j + 1.
    """
    key, uniforms = key_of(seed, "batches"), []
    for block in range((size + 1) // 2):
        a, b, c, d = philox((round_, user, 3 * step + which, block), key)
        uniforms += [uniform(a, b), uniform(c, d)]
    uniforms, m = uniforms[:size], len(weights)
    if not replace:
        return shuffled_start(range(m), uniforms)
    if all(abs(weight * m - 1) < 1e-9 for weight in weights):
        return [int(u * m) for u in uniforms]
    sums = list(accumulate(float(weight) for weight in weights))
    return [next(k for k in range(m) if sums[k] > u * sums[-1]) for u in uniforms]
