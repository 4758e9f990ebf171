"""uav-inspection as seen from above: the route, the wind, and the energy that is left."""

import math

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.uav_site import CALM, ENERGY, REACH, SITE, State

_EDGE = SITE + 20.0  # m


def render(state: State) -> Picture:
    """Points to photograph are orange, with the reach of the camera, and the base is green. Rotors
    are blue when it is slow enough for a photograph."""
    canvas = Canvas(560, 560, left=-_EDGE, right=_EDGE, bottom=-_EDGE, top=_EDGE)
    x, y = float(state.x[0]), float(state.y[0])
    waiting = int(state.left[0])
    queue = [
        (float(east), float(north))
        for east, north in zip(state.queue_x[0, :waiting], state.queue_y[0, :waiting], strict=True)
    ]
    for place in (*queue, (0.0, 0.0)):
        canvas.circle(place, REACH, "pale")
    canvas.path([(x, y), *queue, (0.0, 0.0)], "line", 2)
    for point in queue:
        canvas.circle(point, 3.0, "orange")
    canvas.rectangle((-4.0, -4.0), (4.0, 4.0), "green")
    velocity = float(state.velocity_x[0]), float(state.velocity_y[0])
    speed = math.hypot(*velocity)
    canvas.line((x, y), (x + 2.0 * velocity[0], y + 2.0 * velocity[1]), "blue", 3)
    for side in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        rotor = (x + 4.0 * side[0], y + 4.0 * side[1])
        canvas.line((x, y), rotor, "dark", 3)
        canvas.circle(rotor, 2.5, "blue" if speed < CALM else "dark")
    _wind(canvas, state)
    _energy(canvas, max(0.0, float(state.energy[0])))
    words = f"{waiting} points left, {speed:.0f} m/s"
    canvas.text((0.0, 6.0 - _EDGE), words, "dark", 15, "mm")
    return canvas.picture()


def _wind(canvas: Canvas, state: State) -> None:
    """An arrow in the corner, five metres long for each m/s."""
    east = float(state.wind_x[0] + state.gust_x[0])
    north = float(state.wind_y[0] + state.gust_y[0])
    strength = math.hypot(east, north)
    middle = (22.0 - _EDGE, _EDGE - 30.0)
    if strength > 0.1:
        half = 2.5
        tip = (middle[0] + half * east, middle[1] + half * north)
        canvas.line((middle[0] - half * east, middle[1] - half * north), tip, "purple", 3)
        across = (-3.0 * north / strength, 3.0 * east / strength)
        back = (tip[0] - 6.0 * east / strength, tip[1] - 6.0 * north / strength)
        left, right = (
            (back[0] + sign * across[0], back[1] + sign * across[1]) for sign in (1.0, -1.0)
        )
        canvas.polygon([tip, left, right], "purple")
    canvas.text((4.0 - _EDGE, _EDGE - 6.0), f"wind {strength:.0f} m/s", "purple", 15)


def _energy(canvas: Canvas, energy: float) -> None:
    low, high, bottom = _EDGE - 50.0, _EDGE - 6.0, _EDGE - 24.0
    share = energy / ENERGY[1]
    colour = "green" if energy > 1.0 else "red"
    canvas.rectangle((low, bottom), (low + share * (high - low), bottom + 10.0), colour)
    canvas.rectangle((low, bottom), (high, bottom + 10.0), "dark", filled=False)
    canvas.text((high, _EDGE - 6.0), f"{energy:.1f} Wh", "dark", 15, "rm")
