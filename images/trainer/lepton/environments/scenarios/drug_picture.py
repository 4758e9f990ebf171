"""The picture of the drug-screening scenario."""

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenarios.drug_campaign import LEADS, State
from lepton.environments.scenarios.drug_library import (
    AVERAGE,
    COMPOUNDS,
    CORES,
    SUBSTITUENTS,
    Belief,
    expectation,
)


def render(state: State) -> Picture:
    """Cores as rows and substituents as columns: what has been measured as discs, what is expected
    of the rest as rings, larger for more potent compounds; leads and money on the right."""
    canvas = Canvas(640, 400, right=640.0, top=400.0)
    prices, measured = state.prices[0].tolist(), state.measured[0].tolist()
    expected = expectation(Belief(state.mean, state.covariance))[0][:, 0].tolist()
    leads = sorted((x for x in measured if x), reverse=True)[:LEADS]
    for row in range(CORES):
        canvas.text((48, 318.0 - 54 * row), f"core {row + 1}", _ink(prices[row]), 13, "rm")
    for column in range(SUBSTITUENTS):
        name = f"R{column + 1}"
        canvas.text((82.0 + 56 * column, 366), name, _ink(prices[CORES + column]), 13, "mm")
    for compound in range(COMPOUNDS):
        row, column = divmod(compound, SUBSTITUENTS)
        centre, result = (82.0 + 56 * column, 318.0 - 54 * row), measured[compound]
        if result:
            colour = "orange" if result in leads else "blue"
            canvas.circle(centre, _radius(result), colour)
            canvas.text(centre, f"{result:.1f}", "background", 12, "mm")
        else:
            canvas.circle(centre, _radius(expected[compound]), "line", filled=False)

    canvas.text((420, 366), "best measured, pIC50", size=15)
    for rank, result in enumerate(leads):
        y = 338.0 - 26 * rank
        canvas.rectangle((420, y - 9), (420 + 50 * max(0.0, result - 4.0), y + 9), "orange")
        canvas.text((426, y), f"{result:.2f}", "background", 13)
    left, core_cost = float(state.left[0]), float(state.core_cost[0])
    canvas.text((420, 150), f"${1000 * left:,.0f} left", size=15)
    canvas.rectangle((420, 118), (420 + min(200.0, 6.0 * left), 134), "green")
    canvas.text((420, 90), f"a new core ${1000 * core_cost:,.0f}", size=13)
    canvas.text((420, 68), "a new substituent $1,000", size=13)
    canvas.text((420, 46), "a compound and its assay $1,000", size=13)
    return canvas.picture()


def _ink(price: float) -> str:
    return "line" if price else "dark"


def _radius(activity: float) -> float:
    """Pixels."""
    return min(25.0, max(10.0, 15.0 + 5.0 * (activity - AVERAGE)))
