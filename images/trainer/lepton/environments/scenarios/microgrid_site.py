"""What a microgrid consists of: the site, its tariff, and its state."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from lepton.environments.scenario import Array
from lepton.environments.tables import look_up

HOURS = 168
"""An episode is a week from Monday 0:00."""
WORKWEEK = 120
"""Hours up to the end of Friday."""
KILOWATTS = 60.0
"""Both limits that an action sets lie within 0 and this."""
OBLIQUITY = math.radians(23.45)
# fmt: off
WORKDAY = (
    12, 12, 12, 12, 12, 12, 16, 24, 36, 43, 45, 46, 44, 45, 46, 45, 42, 36, 28, 22, 18, 15, 13, 12,
)
WEEKEND = (
    12, 12, 12, 12, 12, 12, 12, 12, 13, 14, 15, 15, 15, 15, 15, 14, 13, 12, 12, 12, 12, 12, 12, 12,
)
# fmt: on
"""kW that the office takes on average in each hour of a day."""
LOAD = tuple(float(kw) for day in (WORKDAY,) * 5 + (WEEKEND,) * 2 for kw in day)
COOLING = 0.15
"""How much more it takes at midsummer than at the equinoxes, and less at midwinter."""
OFF_PEAK, DAY, PEAK = 0.12, 0.20, 0.36
"""$/kWh: at night (22 to 8) and at weekends; on workdays from 8 to 22; from 16 to 21 every day."""
PEAK_HOURS = range(16, 21)
DEMAND_HOURS = tuple(hour < WORKWEEK and 8 <= hour % 24 < 22 for hour in range(HOURS))
"""Whether what is drawn counts for the day's demand: on workdays from 8 to 22."""
PRICES = tuple(
    PEAK if hour % 24 in PEAK_HOURS else DAY if counts else OFF_PEAK
    for hour, counts in enumerate(DEMAND_HOURS)
)
WEAR = 0.03
"""$ for each kWh discharged: 180 $/kWh of cells over 6,000 full cycles."""
START = 0.5
"""How full the battery is at the beginning."""


@dataclass(frozen=True)
class Site:
    """What can be chosen. Raises ValueError for what can't be."""

    capacity: float = 60.0
    """kWh that the battery holds."""
    power: float = 30.0
    """kW that it takes or gives at most."""
    efficiency: float = 0.85
    """Share of the energy that is left after a round trip through the battery."""
    solar: float = 60.0
    """kW that the panels are rated at."""
    sell_price: float = 0.05
    """$/kWh for what is fed into the grid."""
    demand_price: float = 1.5
    """$ for each kW of a day's highest hour."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("capacity", 10.0, 500.0),
            ("power", 5.0, 250.0),
            ("efficiency", 0.5, 1.0),
            ("solar", 0.0, 200.0),
            ("sell_price", 0.0, OFF_PEAK),
            ("demand_price", 0.0, 5.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must lie within {low:g} and {high:g}, not {value:g}")

    @property
    def one_way(self) -> float:
        """Share of the energy that is left after charging, and after discharging."""
        return math.sqrt(self.efficiency)


class State(NamedTuple):
    """Each of shape (n,). Powers are means of the past hour."""

    hour: Array  # since Monday 0:00, int64
    charge: Array  # kWh in the battery
    peak: Array  # kW, the day's demand so far
    plain_peak: Array  # kW, what it would be without the battery
    load: Array  # kW
    sun: Array  # kW from the panels
    grid: Array  # kW drawn from the grid; negative when fed into it
    declination: Array  # rad, of the sun: the season
    load_deviation: Array  # of the load's logarithm, in standard deviations
    cloud_deviation: Array  # of the hour from the day's mean, in standard deviations
    sky: Array  # today's mean share of the clear sky's light
    forecast: Array  # of that, as made yesterday
    weather: Array  # tomorrow's cloudiness as a standard normal number
    tomorrow_forecast: Array  # of tomorrow's share of the clear sky's light
    busy: Array  # today's load as a share of the profile's
    busy_tomorrow: Array  # tomorrow's


def expected_load(declination: Array, hour: Array) -> Array:
    """kW that the office takes on average in this hour of the week."""
    return look_up(LOAD, hour, declination) * (1.0 + (COOLING / OBLIQUITY) * declination)
