"""The picture of the fraud-screening scenario."""

import math

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.fraud_orders import HOURS, ORDERS_PER_HOUR, SEGMENTS, State


def render(state: State, capacity: int) -> Picture:
    """The order on the desk, the reviews left, what is known of each segment, and what only the
    viewer sees: where the attack is."""
    canvas = Canvas(640, 300, right=6.4, top=3.0)
    hour, order = divmod(int(state.time[0]), ORDERS_PER_HOUR)
    canvas.text((0.2, 2.8), f"{hour % HOURS:02d}:{order * 60 // ORDERS_PER_HOUR:02d}", size=20)
    canvas.rectangle((1.0, 2.75), (6.2, 2.85), "pale")
    canvas.rectangle(
        (1.0, 2.75), (1.0 + 5.2 * float(state.time[0]) / (HOURS * ORDERS_PER_HOUR), 2.85), "line"
    )

    segment, fraud = int(state.segment[0]), bool(state.fraud[0])
    probability = 1.0 / (1.0 + math.exp(-float(state.logit[0])))
    canvas.rectangle((0.2, 1.3), (2.3, 2.5), "red" if fraud else "green", filled=False)
    canvas.text((0.35, 2.3), SEGMENTS[segment], size=16)
    canvas.text((0.35, 2.0), f"{float(state.amount[0]):,.0f} EUR", size=20)
    canvas.text((0.35, 1.7), f"score {probability:.1%}")
    canvas.text((0.35, 1.45), "a fraud" if fraud else "honest", "red" if fraud else "green")
    canvas.text((0.2, 1.05), "reviews left this hour")
    width = 2.1 / capacity
    for i in range(capacity):
        left = i < float(state.capacity[0])
        corner = (0.2 + i * width, 0.75)
        canvas.rectangle(corner, (corner[0] + 0.8 * width, 0.9), "blue" if left else "pale")

    for i, name in enumerate(SEGMENTS):
        y = 2.3 - 0.65 * i
        attacked = int(state.campaign[0]) == i
        canvas.text(
            (2.7, y), f"{name}, under attack" if attacked else name, "red" if attacked else "dark"
        )
        for known, colour, low in (
            (state.found, "blue", y - 0.25),
            (state.reported, "orange", y - 0.38),
        ):
            length = min(float(known[0, i]), 12.0) * 0.28
            canvas.rectangle((2.7, low), (2.7 + length, low + 0.1), colour)
    canvas.text((2.7, 0.4), "found in review", "blue")
    canvas.text((4.2, 0.4), "reported by customers", "orange")
    canvas.text((0.2, 0.4), f"saved {float(state.saved[0]):,.0f} EUR", "green")
    canvas.text((0.2, 0.15), f"lost {float(state.lost[0]):,.0f} EUR", "red")
    return canvas.picture()
