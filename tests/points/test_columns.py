"""The column language: positions from 0, ranges, names."""

import pytest

from topogen.errors import InvalidInputError
from topogen.points.columns import select

NAMES = ["id", "x", "y", "phi-x", "z", "z"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ("0,1,2", [0, 1, 2]),
        ("2, 0", [2, 0]),
        ("1-3", [1, 2, 3]),
        ("1-1", [1]),
        ("0,2-4", [0, 2, 3, 4]),
        ("x,y", [1, 2]),
        ("y,0,3-4", [2, 0, 3, 4]),
        ("phi-x", [3]),
        ([0, 2], [0, 2]),
        (("x", 4), [1, 4]),
        (range(1, 4), [1, 2, 3]),
        (5, [5]),
        (["1-2"], [1, 2]),
    ],
)
def test_selects(columns, expected):
    assert select(columns, 6, NAMES) == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("6", "no column 6 in a table of 6"),
        ("-1", "no column called '-1'"),
        ([-1], "no column -1"),
        ("3-9", "does not fit"),
        ("3-1", "does not fit"),
        ("w", "no column called 'w' .id, x, y"),
        ("z", "occurs 2 times"),
        ("x,1", "twice"),
        ("", "no column called ''"),
        ([], "empty"),
        ("0,,1", "no column called ''"),
        ([True], "found True"),
        ([1.0], "found 1.0"),
        (1.5, "found float"),
        ("99999999999999999999", "no column called"),
    ],
)
def test_refuses(columns, message):
    with pytest.raises(InvalidInputError, match=message):
        select(columns, 6, NAMES)


def test_names_need_a_header():
    with pytest.raises(InvalidInputError, match="there is no header"):
        select("x", 3, None)
