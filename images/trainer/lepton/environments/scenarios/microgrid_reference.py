"""The microgrid's reference controller: peak shaving by thresholds that follow the season."""

from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.scenario import Array
from lepton.environments.scenarios.microgrid_site import (
    DEMAND_HOURS,
    HOURS,
    KILOWATTS,
    OBLIQUITY,
    PEAK_HOURS,
    WORKWEEK,
    Site,
    State,
)
from lepton.environments.tables import look_up


class Thresholds(NamedTuple):
    """Winter's are for the shortest day, summer's for the longest; between them they follow the
    sun's declination."""

    winter_demand: float
    """kW above which the battery gives, in hours that count for the day's demand."""
    summer_demand: float
    winter_weekend: float
    """Share of the battery that is filled from the grid at weekends."""
    summer_weekend: float
    evening: float
    """kW above which it gives on workdays while the price is at its peak."""


THRESHOLDS = Thresholds(32.0, 40.0, 0.7, 0.0, 10.0)
"""The best that coordinate search in steps of 1 kW and a tenth finds for the default site."""
_COUNTS = (*DEMAND_HOURS, False)
_PEAK = tuple(hour % 24 in PEAK_HOURS for hour in range(HOURS + 1))
_MORNING = tuple(hour % 24 < PEAK_HOURS.start for hour in range(HOURS + 1))
# From Friday at 22 to Sunday at 22.
_WEEKEND = tuple(WORKWEEK - 2 <= hour < HOURS - 2 for hour in range(HOURS + 1))


def reference(site: Site, state: State, thresholds: Thresholds = THRESHOLDS) -> Array:
    """Both limits as an action, shape (n, 2).

    It takes up the sun's surplus and fills the battery at the off-peak price. By day it gives what
    is above a limit and charges with what is below it; while the price is at its peak it only
    gives, and more. The limit is a threshold or, once that could not be kept, the demand that has
    to be paid anyway.
    """
    xp = array_namespace(state.charge)
    counts, peak, morning, weekend = (
        look_up(table, state.hour, state.charge) > 0.5
        for table in (_COUNTS, _PEAK, _MORNING, _WEEKEND)
    )
    summer = (1.0 + state.declination / OBLIQUITY) / 2.0
    at_winter, at_summer, weekend_winter, weekend_summer, evening = thresholds
    demand = at_winter + (at_summer - at_winter) * summer
    limit = xp.maximum(demand, state.peak)
    share = xp.where(weekend, weekend_winter + (weekend_summer - weekend_winter) * summer, 1.0)
    missing = (share * site.capacity - state.charge) / site.one_way
    # The site will take about what it took in the past hour.
    filling = xp.where(missing > 0.0, state.load - state.sun + missing, 0.0)
    charge_below = xp.where(counts, xp.where(morning, limit, 0.0), xp.where(peak, 0.0, filling))
    at_peak = xp.where(counts, xp.clip(limit, None, evening), 0.0)
    discharge_above = xp.where(peak, at_peak, xp.where(counts, limit, KILOWATTS))
    limits = xp.stack([charge_below, discharge_above], axis=1)
    return xp.clip(limits / (0.5 * KILOWATTS) - 1.0, -1.0, 1.0)
