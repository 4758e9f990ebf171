"""Routes from a base over points and back: made by nearest insertion, kept as a queue.

Nearest insertion: Rosenkrantz, Stearns and Lewis, "An Analysis of Several Heuristics for the
Traveling Salesman Problem" (SIAM Journal on Computing 6(3), 1977).
The base is the origin. A queue holds coordinates (n, points) in the order of the route; places that
are no longer needed hold the base.
"""

from array_api_compat import array_namespace, device

from lepton.environments.scenario import Array


def pick(values: Array, column: Array) -> Array:
    """values[i, column[i]], shape (n, 1)."""
    xp = array_namespace(values)
    n, width = values.shape
    rows = xp.arange(n, dtype=xp.int64, device=device(values))
    return xp.take(xp.reshape(values, (-1,)), rows * width + column)[:, None]


def distance(x: Array, y: Array, to_x: Array, to_y: Array) -> Array:
    """Metres from place to place."""
    xp = array_namespace(x)
    dx, dy = to_x - x, to_y - y
    return xp.sqrt(dx * dx + dy * dy)


def nearest_insertion(x: Array, y: Array) -> tuple[Array, Array]:
    """The points, each array (n, points), in the order of a round trip from the base.

    Again and again the point that is nearest to the trip is inserted where it lengthens it least.
    """
    xp = array_namespace(x)
    points = x.shape[1]
    trip_x, trip_y = xp.zeros_like(x[:, :1]), xp.zeros_like(x[:, :1])
    off_trip = xp.sqrt(x * x + y * y)
    far = xp.full_like(x, 1e9)
    taken = x >= far
    columns = xp.arange(points, dtype=xp.int64, device=device(x))[None, :]
    for _ in range(points):
        nearest = xp.argmin(xp.where(taken, far, off_trip), axis=1)
        taken = taken | (columns == nearest[:, None])
        new_x, new_y = pick(x, nearest), pick(y, nearest)
        next_x = xp.concat([trip_x[:, 1:], trip_x[:, :1]], axis=1)
        next_y = xp.concat([trip_y[:, 1:], trip_y[:, :1]], axis=1)
        longer = (
            distance(trip_x, trip_y, new_x, new_y)
            + distance(new_x, new_y, next_x, next_y)
            - distance(trip_x, trip_y, next_x, next_y)
        )
        place = xp.argmin(longer, axis=1)[:, None] + 1
        trip_x, trip_y = _insert(trip_x, new_x, place), _insert(trip_y, new_y, place)
        off_trip = xp.minimum(off_trip, distance(x, y, new_x, new_y))
    return trip_x[:, 1:], trip_y[:, 1:]


def _insert(values: Array, new: Array, place: Array) -> Array:
    """(n, k) with `new` (n, 1) at the columns `place` (n, 1), shape (n, k + 1)."""
    xp = array_namespace(values)
    left = xp.concat([values, new], axis=1)
    right = xp.concat([new, values], axis=1)
    columns = xp.arange(left.shape[1], dtype=xp.int64, device=device(values))[None, :]
    return xp.where(columns < place, left, xp.where(columns == place, new, right))


def without_first(queue: Array, taken: Array) -> Array:
    """The queue (n, points) without the first of the points that are `taken`, in the rows that have
    one; the base fills up."""
    xp = array_namespace(queue)
    from_here = xp.cumulative_sum(xp.astype(taken, xp.int32), axis=1) > 0
    moved_up = xp.concat([queue[:, 1:], xp.zeros_like(queue[:, :1])], axis=1)
    return xp.where(from_here, moved_up, queue)


def length(x: Array, y: Array, queue_x: Array, queue_y: Array) -> Array:
    """Metres from (x, y), each (n,), along the queue to the base, shape (n,)."""
    xp = array_namespace(x)
    zero = xp.zeros_like(x)[:, None]
    route_x = xp.concat([x[:, None], queue_x, zero], axis=1)
    route_y = xp.concat([y[:, None], queue_y, zero], axis=1)
    legs = distance(route_x[:, :-1], route_y[:, :-1], route_x[:, 1:], route_y[:, 1:])
    return xp.sum(legs, axis=1)
