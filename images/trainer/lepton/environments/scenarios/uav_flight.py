"""How a small quadrotor flies at a constant height: wind, drag and what the rotors consume.

Power: Zeng, Xu and Zhang, "Energy Minimization for Wireless Communication with Rotary-Wing UAV"
(IEEE Transactions on Wireless Communications 18(4), 2019), with its values for a weight of 20 N.
Gusts: the Dryden model of MIL-F-8785C for low heights.
"""

import math

from array_api_compat import array_namespace

from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array

GRAVITY = 9.81  # m/s²
MASS = 20.0 / GRAVITY  # kg
MAX_ACCELERATION = GRAVITY * math.tan(math.radians(25))  # m/s², at the largest tilt
VELOCITY_GAIN = 1.5  # m/s² per m/s, of the autopilot
AIR_DENSITY = 1.225  # kg/m³
ROTOR_AREA = 0.503  # m²
PARASITE = 0.5 * 0.6 * 0.05 * AIR_DENSITY * ROTOR_AREA  # N per (m/s)², drag of the fuselage
BLADE_POWER, INDUCED_POWER = 79.86, 88.63  # W, in hover
TIP_SPEED = 120.0  # m/s, of the blades
INDUCED_SPEED = 4.03  # m/s, of the air through the rotors in hover

HEIGHT = 30.0 / 0.3048  # ft
_ROUGH = 0.177 + 0.000823 * HEIGHT
GUST_SHARE = 0.1 / _ROUGH**0.4 * math.log(20.0 / 0.15) / math.log(HEIGHT / 0.15)
"""Standard deviation of a gust per mean wind speed at this height."""
GUST_LENGTH = 0.3048 * HEIGHT / _ROUGH**1.2  # m
GUST_AIRSPEED = 12.0  # m/s, at which the gusts' length is made a time


def next_gust(
    gust_x: Array, gust_y: Array, mean: Array, seconds: float, noise: Array
) -> tuple[Array, Array]:
    """The gust's two components after some seconds, in m/s; `mean` is the wind's mean speed and
    `noise` holds uniform numbers (n, 2). Both follow the model's filter of the first order."""
    kept = math.exp(-seconds * GUST_AIRSPEED / GUST_LENGTH)
    spread = GUST_SHARE * math.sqrt(1.0 - kept * kept) * mean
    normal_x, normal_y = normal_pair(noise[:, 0], noise[:, 1])
    return kept * gust_x + spread * normal_x, kept * gust_y + spread * normal_y


def drag(air_x: Array, air_y: Array) -> tuple[Array, Array]:
    """Acceleration against the velocity relative to the air, in m/s²."""
    xp = array_namespace(air_x)
    share = (-PARASITE / MASS) * xp.sqrt(air_x * air_x + air_y * air_y)
    return share * air_x, share * air_y


def autopilot(
    wanted_x: Array, wanted_y: Array, drag_x: Array, drag_y: Array
) -> tuple[Array, Array]:
    """Acceleration that the rotors are tilted to give, in m/s², for a wanted change of velocity in
    m/s. In place of an integral part, the drag of the measured wind is fed forward."""
    xp = array_namespace(wanted_x)
    push_x, push_y = VELOCITY_GAIN * wanted_x - drag_x, VELOCITY_GAIN * wanted_y - drag_y
    push = xp.sqrt(push_x * push_x + push_y * push_y)
    share = MAX_ACCELERATION / xp.clip(push, MAX_ACCELERATION, None)
    return push_x * share, push_y * share


def power(air_speed_squared: Array, acceleration_squared: Array) -> Array:
    """Watts at an airspeed while the rotors also accelerate the vehicle sideways."""
    xp = array_namespace(air_speed_squared)
    loaded_squared = 1.0 + acceleration_squared / GRAVITY**2  # (thrust / weight)²
    speed = air_speed_squared / (2.0 * INDUCED_SPEED**2)
    # sqrt(a² + b²) - b, written such that it does not cancel at high speed.
    inflow = loaded_squared / (xp.sqrt(loaded_squared + speed * speed) + speed)
    blades = BLADE_POWER * (1.0 + 3.0 / TIP_SPEED**2 * air_speed_squared)
    fuselage = PARASITE * air_speed_squared * xp.sqrt(air_speed_squared)
    return blades + INDUCED_POWER * xp.sqrt(loaded_squared * inflow) + fuselage


def leg_energy(
    to_x: Array, to_y: Array, wind_x: Array, wind_y: Array, speed: float, extra: float
) -> Array:
    """Wh of flying straight by (to_x, to_y) m at a ground speed in m/s in this wind, and as long as
    `extra` seconds more."""
    xp = array_namespace(to_x)
    metres = xp.sqrt(to_x * to_x + to_y * to_y)
    share = speed / xp.clip(metres, 1e-3, None)
    air_x, air_y = share * to_x - wind_x, share * to_y - wind_y
    watts = power(air_x * air_x + air_y * air_y, xp.zeros_like(air_x))
    return watts * (metres / speed + extra) / 3600.0
