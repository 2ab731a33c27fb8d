"""The parts of attribution that are no columns: a Markov chain of the paths, and whole numbers shared out exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START, CONVERSION, NULL = "(start)", "(conversion)", "(null)"
"""States of the chain that are no touches."""


def shared_out(total: int, shares: Sequence[float]) -> list[int]:
    """A whole number cut by shares into whole numbers that sum to it: the largest remainders are rounded up.

    >>> shared_out(100, [1, 1, 1])
    [34, 33, 33]
    """
    base = math.fsum(shares)
    if not shares or base <= 0:
        return [total if n == 0 else 0 for n in range(len(shares))]
    exact = [total * share / base for share in shares]
    whole = [math.floor(each) for each in exact]
    left = total - sum(whole)
    for n in sorted(range(len(shares)), key=lambda n: (whole[n] - exact[n], n))[:left]:
        whole[n] += 1
    return whole


def removal_effects(moves: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """By touch, the share of conversions that are lost without it, in the first-order Markov chain of the paths.

    From a state of the chain the way goes on as often as it did in the paths; who comes to a touch that is removed is
    lost (Anderl et al. 2016, "Mapping the customer journey"). The chance to convert is solved for exactly.

    >>> removal_effects({("(start)", "A"): 2, ("A", "(conversion)"): 1, ("A", "(null)"): 1})
    {'A': 1.0}

    Args:
        moves: (state, next state): how often.
    """
    import numpy as np

    channels = sorted({state for pair in moves for state in pair} - {START, CONVERSION, NULL})
    index = {START: 0, **{channel: n + 1 for n, channel in enumerate(channels)}}
    size = len(index)
    index |= {CONVERSION: size, NULL: size + 1}
    counts = np.zeros((size, size + 2))
    for (one, other), times in moves.items():
        counts[index[one], index[other]] += times
    totals = counts.sum(axis=1, keepdims=True)
    chances = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    base = _chance(chances, None)
    if base <= 0:
        return dict.fromkeys(channels, 0.0)
    return {channel: 1.0 - _chance(chances, index[channel]) / base for channel in channels}


def _chance(moves: NDArray[np.float64], removed: int | None) -> float:
    """The chance to come from the start to a conversion."""
    import numpy as np

    size = moves.shape[0]
    within, out = moves[:, :size].copy(), moves[:, size].copy()
    if removed is not None:
        within[removed], within[:, removed], out[removed] = 0.0, 0.0, 0.0
    # A round that nobody leaves leads nowhere; least squares bear it.
    solved = np.linalg.lstsq(np.eye(size) - within, out, rcond=None)[0]
    return float(solved[0])
