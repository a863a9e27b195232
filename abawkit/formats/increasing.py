"""What of a sequence stayed in order: the longest increasing part, and what every such part has."""

from bisect import bisect_left

import numpy as np

from abawkit.tables import Array


def longest_increasing(values: Array) -> Array:
    """Indices of a longest strictly increasing subsequence, in order.

    Args:
        values: Integers, shape (n,).
    """
    chain: list[int] = []
    lengths = _lengths(values.tolist())
    wanted = max(lengths, default=0)
    for index in range(len(values) - 1, -1, -1):
        if lengths[index] == wanted and (not chain or values[index] < values[chain[-1]]):
            chain.append(index)
            wanted -= 1
    return np.array(chain[::-1], dtype=np.int64)


def always_increasing(values: Array) -> Array:
    """What no longest strictly increasing subsequence can do without.

    Args:
        values: Integers, shape (n,).

    Returns:
        True for the members of all of them, shape (n,).
    """
    ending = np.array(_lengths(values.tolist()), dtype=np.int64)
    starting = np.array(_lengths((-values[::-1]).tolist())[::-1], dtype=np.int64)
    member = ending + starting - 1 == max(ending, default=0)  # of one of them at least, as its `ending`-th
    rivals = np.bincount(ending[member], minlength=len(values) + 1)
    return np.asarray(member & (rivals[ending] == 1))


def _lengths(values: list[int]) -> list[int]:
    """Length of the longest strictly increasing subsequence that ends at each value.

    Source: patience sorting, C. Schensted, Longest increasing and decreasing subsequences, 1961; O(n log n).
    """
    ends: list[int] = []  # ends[k]: the smallest value that ends an increasing subsequence of k + 1
    lengths = []
    for value in values:
        length = bisect_left(ends, value)
        ends[length : length + 1] = [value]
        lengths.append(length + 1)
    return lengths
