"""Angles to coordinates: known places, no seams, no guessed units."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.points import read, write
from topogen.points.coordinates import from_angles, from_latlon


def degrees(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_known_places_of_the_sphere():
    found = from_latlon(degrees([0, 0], [0, 90], [90, 12], [-90, 0], [0, 180], [0, -180], [45, 0], [0, 270]))
    root = math.sqrt(0.5)
    expected = degrees([1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0], [-1, 0, 0], [root, 0, root], [0, -1, 0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_latlon_inverts_and_is_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    latlon = (torch.rand(500, 2, generator=generator, dtype=torch.float64) - 0.5) * torch.tensor([178.0, 358.0])
    x, y, z = from_latlon(latlon).unbind(1)
    torch.testing.assert_close(torch.rad2deg(torch.asin(z)), latlon[:, 0], rtol=0, atol=1e-11)
    torch.testing.assert_close(torch.rad2deg(torch.atan2(y, x)), latlon[:, 1], rtol=0, atol=1e-11)
    torch.testing.assert_close(x * x + y * y + z * z, torch.ones_like(x))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0], [90.1, 0]], "1 values of latitude .* 90.1 in row 1"),
        ([[-91, 0], [91, 0]], "2 values of latitude"),
        ([[0, 361]], "longitude"),
        ([[0, -180.5]], "longitude"),
        ([[0, 0, 0]], "two columns"),
    ],
)
def test_latlon_out_of_range(rows, message):
    with pytest.raises(InvalidInputError, match=message):
        from_latlon(degrees(*rows))


def test_angles_become_cosine_and_sine_side_by_side():
    found = from_angles(degrees([0, 90], [180, -90]), "degrees")
    torch.testing.assert_close(found, degrees([1, 0, 0, 1], [-1, 0, 0, -1]), rtol=0, atol=1e-15)


def test_units_agree_and_true_means_radians():
    angles = (torch.rand(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5) * 2 * math.pi
    in_radians = from_angles(angles, "radians")
    assert torch.equal(from_angles(angles, True), in_radians)
    torch.testing.assert_close(from_angles(torch.rad2deg(angles), "degrees"), in_radians, rtol=0, atol=1e-14)
    torch.testing.assert_close(from_angles(angles + 2 * math.pi, "radians"), in_radians, rtol=0, atol=1e-14)


def test_degrees_taken_for_radians_are_refused():
    with pytest.raises(InvalidInputError, match="angles='degrees'"):
        from_angles(degrees([179.0, 3.0]), True)
    with pytest.raises(InvalidInputError, match="more than 2 turns"):
        from_angles(degrees([721.0]), "degrees")


@pytest.mark.parametrize("unit", ["auto", "deg", 1.5, None])
def test_unknown_units(unit):
    with pytest.raises(InvalidInputError, match="angles"):
        from_angles(degrees([1.0]), unit)


def test_through_the_front_door(tmp_path):
    write(tmp_path / "a.csv", [[0.0, 90.0], [90.0, 0.0]])
    torch.testing.assert_close(read(tmp_path / "a.csv", latlon=True), degrees([0, 1, 0], [0, 0, 1]), rtol=0, atol=1e-15)
    torch.testing.assert_close(read(tmp_path / "a.csv", columns="1,0", angles="degrees"), degrees([0, 1, 1, 0], [1, 0, 0, 1]), rtol=0, atol=1e-15)
    with pytest.raises(InvalidInputError, match="both"):
        read(tmp_path / "a.csv", latlon=True, angles="degrees")
    with pytest.raises(InvalidInputError, match=r"a\.csv: latlon: expected two columns"):
        read(tmp_path / "a.csv", columns=[0], latlon=True)
