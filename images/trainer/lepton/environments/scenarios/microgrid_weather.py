"""The microgrid's weather: the sun's course, and clouds by the day and by the hour.

Clear sky: Haurwitz, "Insolation in Relation to Cloudiness and Cloud Density" (1945). Clouds: daily
means after Graham, Davies and Hollands (Solar Energy 40, 1988), hours after Aguiar and
Collares-Pereira, "TAG" (Solar Energy 49, 1992).
"""

import math

from array_api_compat import array_namespace

from lepton.environments.sampling import successor
from lepton.environments.scenario import Array
from lepton.environments.scenarios.microgrid_site import HOURS
from lepton.environments.tables import look_up

LATITUDE = math.radians(37.8)
COSINES = tuple(math.cos(math.radians(15.0 * (hour % 24 + 0.5 - 12.0))) for hour in range(HOURS))
"""Of the sun's hour angle in the middle of each hour."""
PERFORMANCE = 0.86
"""What a solar plant delivers of its panels' rating at 1 kW/m² (PVWatts: losses of 14%)."""
CLEARNESS = 0.75
"""Clearness index of a cloudless sky."""
DAY_PERSISTENCE, HOUR_PERSISTENCE = 0.3, 0.4
"""Autocorrelation of cloudiness from day to day and, about a day's mean, from hour to hour."""
FORECAST_SKILL = 0.85
"""Correlation of the forecast of a day's cloudiness, made the day before, with the truth."""


def mean_sky(weather: Array) -> Array:
    """A day's mean share of the clear sky's light, from a standard normal number."""
    xp = array_namespace(weather)
    return 0.1 + 0.9 / (1.0 + xp.exp(-1.3 - 1.6 * weather))


def next_day(weather: Array, noise: Array) -> Array:
    """The number for the day after, from noise (n, 2)."""
    return successor(weather, DAY_PERSISTENCE, noise[:, 0], noise[:, 1])


def forecast_sky(weather: Array, noise: Array) -> Array:
    """The forecast of a day's mean share, from its number and noise (n, 2)."""
    return mean_sky(successor(weather, FORECAST_SKILL, noise[:, 0], noise[:, 1]))


def hour_sky(sky: Array, deviation: Array) -> Array:
    """An hour's share of the clear sky's light, from the day's mean and a standard normal number
    for the hour."""
    xp = array_namespace(sky)
    off_centre = CLEARNESS * sky - 0.35
    spread = (0.14 / CLEARNESS) * xp.exp(-20.0 * off_centre * off_centre)
    return xp.clip(sky + spread * deviation, 0.05, 1.0)


def clear_sun(declination: Array, hour: Array) -> Array:
    """What a kilowatt of panels on a flat roof gives under a clear sky, kW."""
    xp = array_namespace(declination)
    height = math.sin(LATITUDE) * xp.sin(declination) + (
        math.cos(LATITUDE) * xp.cos(declination) * look_up(COSINES, hour, declination)
    )
    # Where the sun is down; at 0.005 a clear sky gives 0.00004 kW/m².
    height = xp.clip(height, 0.005, 1.0)
    return (PERFORMANCE * 1.098) * height * xp.exp(-0.059 / height)
