"""`as_points`: what is a cloud and what is not, and that nothing handed in is touched."""

import numpy as np
import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.points import as_points

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]
EXPECTED = torch.tensor(ROWS, dtype=torch.float64)


def read_only(array):
    array.flags.writeable = False
    return array


ACCEPTED = {
    "list": ROWS,
    "tuple of arrays": tuple(np.array(row) for row in ROWS),
    "float64": np.array(ROWS),
    "float32": np.array(ROWS, dtype=np.float32),
    "longdouble": np.array(ROWS, dtype=np.longdouble),
    "big endian": np.array(ROWS, dtype=">f8"),
    "big endian float32": np.array(ROWS, dtype=">f4"),
    "fortran": np.asfortranarray(np.array(ROWS)),
    "reversed stride": np.array(ROWS[::-1])[::-1],
    "every other": np.repeat(np.array(ROWS), 2, axis=0)[::2],
    "read only": read_only(np.array(ROWS)),
    "unmasked array": np.ma.MaskedArray(np.array(ROWS)),
    "tensor": EXPECTED,
    "float32 tensor": EXPECTED.float(),
    "transposed": EXPECTED.T.contiguous().T,
    "gradient": EXPECTED.clone().requires_grad_(),
    "graph": EXPECTED.clone().requires_grad_() * 1.0,
    "parameter": torch.nn.Parameter(EXPECTED.clone()),
    "expanded": EXPECTED[None].expand(1, 3, 2)[0],
}


@pytest.mark.parametrize("points", ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.filterwarnings("error")
def test_accepts_every_kind_of_cloud(points):
    cloud = as_points(points)
    assert type(cloud) is torch.Tensor
    assert cloud.dtype == torch.float64 and not cloud.requires_grad and cloud.grad_fn is None
    assert torch.equal(cloud, EXPECTED)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", ">i4"])
def test_integers_become_float64(dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    for points in (array, torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))):
        assert torch.equal(as_points(points), torch.arange(6, dtype=torch.float64).reshape(3, 2))


@pytest.mark.parametrize("value", [2**53 + 2, -(2**53) - 2, 2**63])
def test_integers_that_float64_cannot_hold_are_refused(value):
    with pytest.raises(InvalidInputError, match="2\\^53"):
        as_points(np.array([[value, 0]], dtype=np.uint64 if value > 2**62 else np.int64))
    assert as_points(np.array([[2**53, -(2**53)]])).tolist() == [[2.0**53, -(2.0**53)]]


REFUSED = {
    "1-D": (np.zeros(3), "1-D"),
    "0-D": (torch.tensor(1.0), "expected shape"),
    "3-D": (torch.zeros(2, 2, 2), "flatten each sample"),
    "no points": (np.zeros((0, 3)), "found 0 points"),
    "no columns": (np.zeros((3, 0)), "at least one coordinate"),
    "empty list": ([], "1-D"),
    "ragged": ([[1.0, 2.0], [3.0]], "unequal length"),
    "text": ([["a", "b"]], "not numeric"),
    "path": ("cloud.csv", "topogen.points.read"),
    "none": (None, "found NoneType"),
    "dictionary": ({"x": 1}, "found dict"),
    "bool": (np.ones((2, 2), dtype=bool), "bool"),
    "bool tensor": (torch.ones(2, 2, dtype=torch.bool), "bool"),
    "object": (np.array([[1.0, None]], dtype=object), "object"),
    "complex": (np.ones((2, 2), dtype=complex), "not real"),
    "complex tensor": (torch.ones(2, 2, dtype=torch.complex64), "not real"),
    "half": (np.ones((2, 2), dtype=np.float16), "too few digits"),
    "half tensor": (torch.ones(2, 2, dtype=torch.float16), "too few digits"),
    "bfloat16": (torch.ones(2, 2, dtype=torch.bfloat16), "too few digits"),
    "sparse": (torch.eye(3).to_sparse(), "to_dense"),
    "meta": (torch.empty(3, 2, device="meta"), "with data"),
    "dates": (np.array([["2020-01-01"]], dtype="datetime64[D]"), "not numeric"),
    "records": (np.zeros((2, 1), dtype=[("a", "f8")]), "not numeric"),
    "masked": (np.ma.MaskedArray(np.ones((2, 2)), mask=[[0, 1], [0, 0]]), "1 masked"),
}


@pytest.mark.parametrize(("points", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_with_the_argument_named(points, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        as_points(points, name="cloud")
    assert str(caught.value).startswith("cloud: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_rows_that_are_not_finite_are_counted_and_the_first_is_named(value):
    points = torch.zeros(10, 3)
    points[4, 1] = points[7, 0] = points[7, 2] = value
    with pytest.raises(InvalidInputError, match="2 of 10 rows hold NaN or infinity, the first is row 4"):
        as_points(points)


def test_float64_overflow_of_a_wider_type_is_not_silent():
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with np.errstate(over="ignore"), pytest.raises(InvalidInputError, match="infinity"):
            as_points(np.full((2, 2), np.finfo(np.longdouble).max))


def test_minimum_is_named():
    with pytest.raises(InvalidInputError, match="found 3 points, need at least 4"):
        as_points(ROWS, minimum=4)
    assert len(as_points(ROWS, minimum=3)) == 3


def test_is_both_kinds_of_error():
    with pytest.raises(ValueError):
        as_points([1.0])
