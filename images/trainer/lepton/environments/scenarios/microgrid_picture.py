"""The microgrid's picture: where the power flows, how full the battery is, and what it costs."""

from lepton.environments.drawing import Canvas, Picture, Point
from lepton.environments.scenarios.microgrid_site import (
    DEMAND_HOURS,
    HOURS,
    OFF_PEAK,
    PEAK,
    PRICES,
    Site,
    State,
)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HUB: Point = (12.0, 8.0)
SUN, OFFICE, BATTERY, GRID = (4.0, 11.0), (20.0, 11.0), (20.0, 5.0), (4.0, 5.0)
STILL = 0.5
"""kW below which no flow is drawn."""


def render(site: Site, state: State) -> Picture:
    """The past hour's flows of power, and the day's prices with the hour that comes."""
    canvas = Canvas(600, 400, right=24.0, top=16.0)
    sun, load, grid = (float(part[0]) for part in (state.sun, state.load, state.grid))
    given = load - sun - grid
    for place, power, colour in (
        (SUN, sun, "yellow"),
        (OFFICE, load, "blue"),
        (BATTERY, given, "green"),
        (GRID, grid, "red"),
    ):
        if abs(power) > STILL:
            canvas.line(place, HUB, colour, width=1.0 + abs(power) / 4.0)
    canvas.circle(HUB, 0.4, "dark")
    canvas.circle(SUN, 1.2, "yellow")
    canvas.text((SUN[0], SUN[1] + 1.8), f"sun {sun:.0f} kW", "dark", 15, "mm")
    _building(canvas)
    canvas.text((OFFICE[0], OFFICE[1] + 1.8), f"office {load:.0f} kW", "dark", 15, "mm")
    _battery(canvas, float(state.charge[0]) / site.capacity)
    verb = "gives" if given > STILL else "takes" if given < -STILL else "rests"
    told = verb if verb == "rests" else f"{verb} {abs(given):.0f} kW"
    canvas.text((BATTERY[0], BATTERY[1] - 1.6), f"battery {told}", "dark", 15, "mm")
    _pylon(canvas)
    bought = f"grid {grid:.0f} kW" if grid >= -STILL else f"sold {-grid:.0f} kW"
    canvas.text((GRID[0], GRID[1] - 1.6), bought, "dark", 15, "mm")
    _day(canvas, state)
    return canvas.picture()


def _building(canvas: Canvas) -> None:
    x, y = OFFICE
    canvas.rectangle((x - 1.3, y - 1.2), (x + 1.3, y + 1.2), "blue")
    for column in (-0.8, 0.0, 0.8):
        for row in (-0.6, 0.4):
            low = (x + column - 0.25, y + row - 0.25)
            canvas.rectangle(low, (x + column + 0.25, y + row + 0.35), "pale")


def _battery(canvas: Canvas, share: float) -> None:
    x, y = BATTERY
    canvas.rectangle((x - 1.8, y - 0.9), (x + 1.8, y + 0.9), "pale")
    canvas.rectangle((x - 1.8, y - 0.9), (x - 1.8 + 3.6 * share, y + 0.9), "green")
    canvas.rectangle((x - 1.8, y - 0.9), (x + 1.8, y + 0.9), "dark", filled=False)
    canvas.rectangle((x + 1.8, y - 0.4), (x + 2.1, y + 0.4), "dark")
    canvas.text((x, y), f"{share:.0%}", "dark", 15, "mm")


def _pylon(canvas: Canvas) -> None:
    x, y = GRID
    for side in (-1.0, 1.0):
        canvas.line((x + 0.8 * side, y - 1.2), (x, y + 1.2), "dark", 3)
        canvas.line((x, y + 0.7), (x + 1.1 * side, y + 0.4), "dark", 3)
    canvas.line((x - 0.5, y - 0.3), (x + 0.5, y - 0.3), "dark", 2)


def _day(canvas: Canvas, state: State) -> None:
    """Prices of the day's hours as bars, the hour that comes, and the demand so far."""
    hour = min(int(state.hour[0]), HOURS - 1)
    midnight = hour - hour % 24
    colours = {OFF_PEAK: "green", PEAK: "red"}
    for past in range(24):
        price = PRICES[midnight + past]
        colour = colours.get(price, "yellow")
        canvas.rectangle((past + 0.05, 0.0), (past + 0.95, 5.0 * price), colour)
    now = hour % 24 + 0.5
    canvas.polygon([(now - 0.4, 2.6), (now + 0.4, 2.6), (now, 2.0)], "dark")
    canvas.text((0.3, 15.4), f"{DAYS[hour // 24]} {hour % 24:02d}:00", "dark", 18)
    if any(DEMAND_HOURS[midnight : midnight + 24]):
        peaks = float(state.peak[0]), float(state.plain_peak[0])
        text = "demand {:.0f} kW, without battery {:.0f}".format(*peaks)
        canvas.text((23.7, 15.4), text, "dark", 15, "rm")
