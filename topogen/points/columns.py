"""Which columns of a table are coordinates: positions counted from 0, ranges, or names of the header."""

from __future__ import annotations

import re
from collections.abc import Sequence

from topogen.errors import InvalidInputError

__all__ = ["Columns", "select"]

Columns = str | int | Sequence[int | str]

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


def select(columns: Columns | None, width: int, names: Sequence[str] | None) -> list[int]:
    """The chosen positions, in the order asked for, of a table of `width` columns whose header holds `names`, if any.

    `columns` is None (all), "0,1,2", "x,y,z", "1-3" (both ends included) or a sequence of positions and names; digits are always
    positions. Raises InvalidInputError for an unknown name, a position outside of the table, a repetition or an empty choice.
    """
    if columns is None:
        return list(range(width))
    chosen = [position for token in _tokens(columns) for position in _positions(token, width, names)]
    if not chosen:
        raise InvalidInputError("columns: the choice is empty; name positions counted from 0, like '0,1,2'")
    if len(set(chosen)) < len(chosen):
        raise InvalidInputError(f"columns: {columns!r} names a column twice (positions {chosen})")
    return chosen


def _tokens(columns: Columns) -> list[int | str]:
    if isinstance(columns, str):
        return [token.strip() for token in columns.split(",")]
    if isinstance(columns, int):
        return [columns]
    if not isinstance(columns, Sequence):
        raise InvalidInputError(f"columns: expected text like '0,1,2' or a sequence of positions and names, found {type(columns).__name__}")
    return list(columns)


def _positions(token: int | str, width: int, names: Sequence[str] | None) -> list[int]:
    if isinstance(token, str) and not re.fullmatch(r"\d{1,9}", token):
        return _by_name_or_range(token, width, names)
    if isinstance(token, bool) or not isinstance(token, (int, str)):
        raise InvalidInputError(f"columns: expected positions and names, found {token!r}")
    position = int(token)
    if not 0 <= position < width:
        raise InvalidInputError(f"columns: no column {position} in a table of {width} (positions count from 0 to {width - 1})")
    return [position]


def _by_name_or_range(token: str, width: int, names: Sequence[str] | None) -> list[int]:
    known = list(names or ())
    if known.count(token) == 1:
        return [known.index(token)]
    if token in known:
        raise InvalidInputError(f"columns: the name {token!r} occurs {known.count(token)} times in the header; use positions counted from 0")
    span = _RANGE.fullmatch(token)
    if span is None:
        listing = ", ".join(known[:50]) if known else "there is no header"
        raise InvalidInputError(f"columns: no column called {token!r} ({listing}); use positions from 0 to {width - 1}")
    first, last = int(span[1]), int(span[2])
    if not first <= last < width:
        raise InvalidInputError(f"columns: the range {token!r} does not fit a table of {width} columns (positions count from 0 to {width - 1})")
    return list(range(first, last + 1))
