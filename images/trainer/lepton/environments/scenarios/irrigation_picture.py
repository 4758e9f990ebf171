"""The irrigated field's picture: the crop, the water in its root zone, and the rain to come."""

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.irrigation_field import (
    CROP_COEFFICIENT,
    DAYS,
    DEPLETION_FRACTION,
    ROOT_DEPTH,
    STAGES,
    TURN,
    TURNS,
    Field,
    State,
    yield_share,
)

STAGE_NAMES = ("growing", "flowering", "filling grains", "ripening")
METRE = 4.0
"""Length of a metre of soil in the picture."""
FULL_CANOPY = 3.0
"""Height of the crop at its full size."""


def render(field: Field, state: State) -> Picture:
    """A cut through the field at the beginning of a turn."""
    canvas = Canvas(600, 400, right=15.0, bottom=-5.0, top=5.0)
    turn = min(int(state.turn[0]), TURNS - 1)
    day = TURN * turn
    roots = ROOT_DEPTH[day]
    empty = float(state.depletion[0]) / (field.soil * roots)
    canvas.rectangle((0.0, -5.0), (15.0, 0.0), "pale")
    # The share of the root zone's water that is left, from its bottom up.
    top = -METRE * roots * min(1.0, empty)
    canvas.rectangle((0.0, -METRE * roots), (15.0, top), "blue")
    stressed = -METRE * roots * DEPLETION_FRACTION
    canvas.line((0.0, stressed), (15.0, stressed), "red", 3)
    canvas.line((0.0, 0.0), (15.0, 0.0), "dark", 4)
    height = FULL_CANOPY * max(CROP_COEFFICIENT[: day + 1]) / max(CROP_COEFFICIENT)
    stage = next(i for i, (end, _) in enumerate(STAGES) if end > day)
    for plant in range(1, 15):
        _maize(canvas, float(plant), height, stage, roots)
    canvas.text((0.3, 4.5), f"day {day} of {DAYS}, {STAGE_NAMES[stage]}", "dark", 17)
    told = f"forecast {float(state.forecast[0]):.0f} mm of rain"
    canvas.text((14.7, 4.5), told, "blue" if float(state.forecast[0]) > 2.0 else "line", 17, "rm")
    canvas.text((0.3, 3.7), f"irrigated {float(state.applied[0]):.0f} mm", "dark", 14)
    canvas.text((14.7, 3.7), f"yield left {float(yield_share(state)[0]):.0%}", "dark", 14, "rm")
    return canvas.picture()


def _maize(canvas: Canvas, x: float, height: float, stage: int, roots: float) -> None:
    colour = "yellow" if stage == len(STAGES) - 1 else "green"
    canvas.line((x, 0.0), (x, height), colour, 4)
    for share, side in ((0.35, -1.0), (0.55, 1.0), (0.75, -1.0), (0.9, 1.0)):
        y = height * share
        canvas.line((x, y), (x + 0.35 * side, y + 0.15 * height), colour, 3)
    if stage >= 1:
        canvas.circle((x + 0.12, 0.6 * height), 0.13, "orange")
    for side in (-0.3, 0.0, 0.3):
        canvas.line((x, 0.0), (x + side, -METRE * roots), "line", 1)
