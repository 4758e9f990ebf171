"""The best constant base-stock levels of a supply chain, found by trying them out."""

from collections.abc import Callable

Levels = tuple[float, ...]


def search(value: Callable[[Levels], float], start: Levels, step: float, finest: float) -> Levels:
    """Levels of which no neighbour is better, by the pattern search of Hooke and Jeeves, "Direct
    Search" (Journal of the ACM 8, 1961).

    `value` is what to maximise: a mean return over the same episodes each time, so that levels
    differ by their merit rather than by their luck. A stage's level moves alone or with all levels
    above it, first by `step`, in the end by `finest`.
    """
    best, highest = start, value(start)
    stages = len(start)
    moves = [range(i, i + 1) for i in range(stages)]
    moves += [range(i, stages) for i in range(stages - 1)]
    while step >= finest:
        found = highest
        for move in moves:
            for change in (step, -step):
                tried = tuple(v + change if i in move else v for i, v in enumerate(best))
                reached = value(tried)
                if reached > highest:
                    best, highest = tried, reached
                    break
        if highest == found:
            step /= 2.0
    return best
