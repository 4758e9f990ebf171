"""The picture of the credit-limits scenario."""

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.card_customers import MAX_LIMIT, State


def render(state: State) -> Picture:
    """Limit and balance, who is late, how risk and the economy stand, and what it has earned."""
    canvas = Canvas(640, 300, right=6.4, top=3.0)
    limit, balance = float(state.limit[0]), float(state.balance[0])
    length = 3.4 / MAX_LIMIT
    canvas.text((0.2, 2.75), f"limit {limit:,.0f} EUR", size=18)
    canvas.rectangle((0.2, 2.1), (0.2 + limit * length, 2.55), "blue", filled=False)
    canvas.rectangle((0.2, 2.2), (0.2 + balance * length, 2.45), "blue")
    canvas.text((0.2, 1.9), f"balance {balance:,.0f} EUR", "blue")

    shares = (state.late_1, state.late_2, state.late_3)
    for i, (share, colour) in enumerate(zip(shares, ("yellow", "orange", "red"), strict=True)):
        y, late = 1.4 - 0.4 * i, float(share[0])
        canvas.text((0.2, y), f"{i + 1} late")
        canvas.rectangle((1.0, y - 0.1), (3.6, y + 0.1), "pale")
        canvas.rectangle((1.0, y - 0.1), (1.0 + 2.6 * min(1.0, 5.0 * late), y + 0.1), colour)
        canvas.text((3.7, y), f"{late:.1%}")

    in_recession, risk = float(state.recession[0]) > 0.5, float(state.risk[0])
    canvas.text((4.6, 2.75), "recession" if in_recession else "expansion", size=18)
    canvas.circle((4.4, 2.75), 0.1, "red" if in_recession else "green")
    canvas.text((4.4, 2.3), "risk")
    canvas.line((4.4, 2.0), (6.2, 2.0), "line")
    place = 5.3 + 0.3 * max(-3.0, min(3.0, risk))
    canvas.circle((place, 2.0), 0.1, "red" if risk > 1.0 else "orange" if risk > 0.0 else "green")
    canvas.text((4.4, 1.5), f"{float(state.full_payers[0]):.0%} pay in full")
    canvas.text((4.4, 1.1), f"{float(state.open[0]):.0%} still open")
    profit = float(state.profit[0])
    canvas.text((4.4, 0.6), f"{profit:,.0f} EUR", "green" if profit >= 0 else "red", 20)
    canvas.text((4.4, 0.3), "profit for an account", "line")
    return canvas.picture()
