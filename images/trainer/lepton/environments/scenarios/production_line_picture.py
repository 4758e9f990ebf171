"""The picture of `production_line`: machines, and the orders that wait for them."""

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.production_line_orders import (
    FAMILIES,
    LINES,
    MACHINES,
    PENALTIES,
    SLOTS,
)
from lepton.environments.scenarios.production_line_shop import State

_COLOURS = ("blue", "green", "purple", "yellow")
_MACHINES = ("lathe", "mill", "drill", "grinder")
_ROW = 2.0  # height of a machine's row
_BEGIN, _END = 5.0, 30.0  # of queues, in hours of work
_WORDS = 0.8  # hours of an order that there is room for a number on


def render(state: State) -> Picture:
    """A row for each machine, in the colour of the family that it is set up for, with the orders
    that wait for it, as long as their operations; what is due soonest stands first."""
    canvas = Canvas(760, 380, right=_END, bottom=-0.9, top=MACHINES * _ROW + 1.1)
    hour = float(state.hour[0])
    for machine in range(MACHINES):
        y = (MACHINES - 1 - machine) * _ROW
        family, _ = LINES[machine][int(state.setting[0, machine])]
        up = bool(state.up[0, machine])
        canvas.rectangle((0.3, y + 0.15), (4.4, y + 1.75), _COLOURS[family] if up else "red", up)
        words = _MACHINES[machine] if up else f"{_MACHINES[machine]} down"
        canvas.text((2.35, y + 0.95), words, "background" if up else "red", 15, "mm")
        canvas.line((_BEGIN, y + 0.05), (_END - 0.3, y + 0.05), "pale")
        x = _BEGIN
        for due, left, family in _queue(state, machine):
            canvas.rectangle((x, y + 0.15), (x + left, y + 1.75), _COLOURS[family])
            if due < hour:
                canvas.rectangle((x, y + 0.15), (x + left, y + 0.45), "red")
            if left >= _WORDS:
                words = f"{int(due - hour)}"
                canvas.text((x + left / 2.0, y + 1.0), words, "background", 13, "mm")
            x += left + 0.15
    done, late, lost = (float(v[0]) for v in (state.done, state.late, state.lost))
    words = f"hour {hour:.0f}   {done:.0f} orders finished, {late:.0f} of them late"
    canvas.text((0.3, MACHINES * _ROW + 0.55), f"{words}   {lost:.0f} turned away", size=15)
    canvas.text((0.3, -0.45), "hours until due; red: late; an hour late costs", "line", 13)
    for family in range(FAMILIES):
        x = 12.3 + 1.2 * family
        canvas.text((x, -0.45), f"{PENALTIES[family]:.0f}", _COLOURS[family], 15, "mm")
    return canvas.picture()


def _queue(state: State, machine: int) -> list[tuple[float, float, int]]:
    """Due date, hours left and family of the orders in front of a machine, sorted."""
    return sorted(
        (float(state.due[0, family, slot]), float(state.left[0, family, slot]), family)
        for family, stage in LINES[machine]
        for slot in range(SLOTS)
        if int(state.stage[0, family, slot]) == stage
    )
