"""The picture of traffic-signals: queues, lights and vehicles on the way, seen from above."""

from typing import Any

from lepton.environments.drawing import Canvas, Picture, Point
from lepton.environments.scenarios.traffic_grid import EAST, NORTH, SOUTH, WEST, Grid

_AHEAD: dict[int, Point] = {NORTH: (0, 1), EAST: (1, 0), SOUTH: (0, -1), WEST: (-1, 0)}
"""Where headings point to."""
_HALF_ROAD = 0.13
_STOP_LINE = 0.17  # from the middle of a junction
_VEHICLE = 0.034  # length that a waiting vehicle takes
_LONGEST = 18  # vehicles of a queue that are drawn
_LANES = (0.04, 0.1)  # of those who turn left, and of the others, from the middle of the road


def draw(grid: Grid, state: Any) -> Picture:
    """Vehicles that wait are green while their light is, red otherwise; those on links are blue."""
    columns, rows = grid.columns, grid.rows
    canvas = Canvas(
        130 + 190 * columns, 170 + 190 * rows,
        left=-0.84, right=columns - 0.16, bottom=-0.84, top=rows + 0.05,
    )  # fmt: skip
    for row in range(rows):
        canvas.rectangle((-0.84, row - _HALF_ROAD), (columns - 0.16, row + _HALF_ROAD), "pale")
    for column in range(columns):
        low, high = (column - _HALF_ROAD, -0.84), (column + _HALF_ROAD, rows - 0.16)
        canvas.rectangle(low, high, "pale")
    for junction in range(grid.junctions):
        middle = (float(junction % columns), float(rows - 1 - junction // columns))
        phase = int(state.phase[0, junction])
        for heading in range(4):
            for group in range(2):
                waiting = float(state.queue[0, group, heading, junction])
                is_green = phase == 2 * (heading % 2) + group
                _queue(canvas, middle, heading, _LANES[1 - group], waiting, is_green)
    for link, (start, _) in enumerate(grid.links):
        junction = start % grid.junctions
        middle = (float(junction % columns), float(rows - 1 - junction // columns))
        _travellers(canvas, middle, grid.heading(start), float(state.travelling[0, link]))
    _caption(canvas, state, top=rows - 0.02)
    return canvas.picture()


def _along(middle: Point, heading: int, forward: float, right: float) -> Point:
    x, y = _AHEAD[heading]
    return middle[0] + forward * x + right * y, middle[1] + forward * y - right * x


def _queue(
    canvas: Canvas, middle: Point, heading: int, lane: float, waiting: float, is_green: bool
) -> None:
    colour = "green" if is_green else "red"
    ends = [_along(middle, heading, -_STOP_LINE, lane + side) for side in (-0.024, 0.024)]
    canvas.line(ends[0], ends[1], colour, width=4)
    for number in range(min(round(waiting), _LONGEST)):
        front = -_STOP_LINE - 0.02 - number * _VEHICLE
        begin = _along(middle, heading, front, lane)
        canvas.line(begin, _along(middle, heading, front - 0.7 * _VEHICLE, lane), colour, width=7)


def _travellers(canvas: Canvas, middle: Point, heading: int, vehicles: float) -> None:
    for number in range(round(vehicles)):
        at = _along(middle, heading, 0.2 + 0.055 * number, sum(_LANES) / 2)
        canvas.circle(at, 0.016, "blue")


def _caption(canvas: Canvas, state: Any, top: float) -> None:
    hour = float(state.hour[0])
    clock = f"{int(hour):02}:{int(hour % 1 * 60):02}"
    waiting = round(float(state.queue[0].sum()))
    wait = 3600 * float(state.waited[0]) / max(float(state.entered[0]), 1.0)
    words = f"{clock}   {waiting} vehicles wait   {wait:.0f} s mean wait"
    canvas.text((-0.8, top), words, size=16, anchor="lm")
