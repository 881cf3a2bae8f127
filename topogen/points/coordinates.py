"""Angles become points of a space without seams.

latitude phi, longitude lambda:   (cos phi cos lambda, cos phi sin lambda, sin phi) on the unit sphere in R^3
angles (a_1, ..., a_k):           (cos a_1, sin a_1, ..., cos a_k, sin a_k) on the flat torus in R^2k

so that -180 and 180 degrees are one place. Units are never guessed; values outside of what an angle can be are refused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = ["from_angles", "from_latlon"]

_TURNS = 2


def from_latlon(degrees: Tensor) -> Tensor:
    """Points (n, 3) of the unit sphere from latitude and longitude (n, 2) in degrees.

    Raises InvalidInputError unless there are two columns, latitudes in [-90, 90] and longitudes in [-180, 360].
    """
    if degrees.shape[1] != 2:
        raise InvalidInputError(f"latlon: expected two columns, latitude and longitude in degrees, found {degrees.shape[1]}; select them with columns=")
    _check_range(degrees[:, 0], -90.0, 90.0, "latitude")
    _check_range(degrees[:, 1], -180.0, 360.0, "longitude")
    latitude, longitude = torch.deg2rad(degrees).unbind(1)
    return torch.stack((latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()), dim=1)


def from_angles(angles: Tensor, unit: str | bool) -> Tensor:
    """Points (n, 2k) of the flat torus from angles (n, k) in `unit` "radians" (also True) or "degrees".

    Raises InvalidInputError for another unit, and for angles of more than two turns, which are taken for the wrong unit.
    """
    if unit is True:
        unit = "radians"
    if unit not in ("radians", "degrees"):
        raise InvalidInputError(f"angles: expected 'radians' (also True) or 'degrees', found {unit!r}")
    turn = 2 * math.pi if unit == "radians" else 360.0
    largest = float(angles.abs().max())
    if largest > _TURNS * turn:
        other = "degrees" if unit == "radians" else "radians"
        raise InvalidInputError(f"angles: the largest is {largest:g} {unit}, more than {_TURNS} turns; pass angles={other!r}, or wrap them first")
    radians = angles if unit == "radians" else torch.deg2rad(angles)
    return torch.stack((radians.cos(), radians.sin()), dim=2).flatten(1)


def _check_range(values: Tensor, low: float, high: float, what: str) -> None:
    outside = (values < low) | (values > high)
    if not bool(outside.any()):
        return
    row = int(torch.nonzero(outside)[0])
    raise InvalidInputError(
        f"latlon: {int(outside.sum())} values of {what} lie outside of [{low:g}, {high:g}] degrees, the first is {float(values[row]):g} in row {row};"
        f" the columns must be latitude, longitude (columns= also reorders)"
    )
