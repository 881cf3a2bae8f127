"""csv, tsv and xyz: rows of numbers, perhaps below a header, perhaps beside columns of text.

Comment lines (#, %) and blank lines are skipped. A header is what stands before the first row that has a number in it; text in a chosen
column of that row is an error that names the column, never a column that goes missing. Numbers are parsed by numpy.loadtxt, which
streams; every row must have as many fields as the first.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points.columns import Columns, select

__all__ = ["read_table"]

_DELIMITERS = {"csv": (",", ";", "\t"), "tsv": ("\t", ",", ";"), "xyz": (",", ";")}
_COMMENTS = ("#", "%")
_MISSING = frozenset(("", "na", "n/a", "null", "none", "-", "?"))
_LONGEST_LINE = 1 << 22
_LONGEST_HEADER = 1000

Row = tuple[int, str]


@dataclass(frozen=True)
class _Preamble:
    first: Row
    fields: list[str]
    delimiter: str | None
    names: list[str] | None


def read_table(handle: BinaryIO, suffix: str, columns: Columns | None, header: bool | str, max_points: int) -> np.ndarray[Any, Any]:
    """The chosen columns (n, D), float64, of an open csv, tsv or xyz file.

    Fields are separated by commas, semicolons, tabs or, where the first row has none of them, white space. `header` is "auto", True (the first
    row is one, whatever it holds) or False. Raises FileFormatError for text, missing or ragged fields, InvalidInputError for `columns`.
    """
    if header not in ("auto", True, False):
        raise InvalidInputError(f"header: expected 'auto', True or False, found {header!r}")
    text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="replace")
    try:
        return _read_rows(_Rows(text), _DELIMITERS[suffix], columns, header, max_points)
    finally:
        # The file belongs to the caller, who closes it.
        text.detach()


def _read_rows(rows: _Rows, delimiters: tuple[str, ...], columns: Columns | None, header: bool | str, max_points: int) -> np.ndarray[Any, Any]:
    preamble = _read_preamble(rows, delimiters, header)
    chosen = select(columns, len(preamble.fields), preamble.names)
    _check_numeric(preamble, chosen)
    lines = _checked_lines(rows, preamble, max_points)
    return _parse(lines, preamble.delimiter, chosen, rows)


class _Rows:
    """The rows of a table with their line numbers; remembers the last comment and the line it has come to."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.line = 0
        self.comment = ""

    def __iter__(self) -> Iterator[Row]:
        for line in iter(lambda: self._text.readline(_LONGEST_LINE), ""):
            self.line += 1
            if len(line) >= _LONGEST_LINE:
                raise FileFormatError(f"line {self.line} is longer than {_LONGEST_LINE} characters; this is no table of points")
            stripped = line.strip(" \r\n\ufeff")
            if stripped.startswith(_COMMENTS):
                self.comment = stripped.lstrip("#% ")
            elif stripped and not stripped.isspace():
                yield self.line, line


def _read_preamble(rows: _Rows, delimiters: tuple[str, ...], header: bool | str) -> _Preamble:
    heading, skipped = "", 0
    for number, line in rows:
        delimiter = next((mark for mark in delimiters if mark in line), None)
        fields = _split(line, delimiter)
        is_header = skipped == 0 if header is True else header == "auto" and _is_heading(fields)
        if not is_header:
            return _Preamble((number, line), fields, delimiter, _names(heading or rows.comment, delimiter, len(fields)))
        heading, skipped = line, skipped + 1
        if skipped > _LONGEST_HEADER:
            break
    raise FileFormatError(f"no row with a number in {rows.line} lines; this is no table of points")


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    row = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in row]


def _is_heading(fields: list[str]) -> bool:
    return not any(map(_is_number, fields)) and not all(field.lower() in _MISSING for field in fields)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _names(heading: str, delimiter: str | None, width: int) -> list[str] | None:
    names = _split(heading, delimiter)
    return names if len(names) == width else None


def _check_numeric(preamble: _Preamble, chosen: list[int]) -> None:
    bad = [position for position in chosen if not _is_number(preamble.fields[position])]
    if not bad:
        return
    good = ",".join(str(position) for position, field in enumerate(preamble.fields) if _is_number(field))
    label = preamble.names or preamble.fields
    listing = ", ".join(f"{position} ({label[position][:40]!r})" for position in bad[:20])
    advice = f"choose numeric columns, like columns={good!r}" if good else "pass header=True if this row is a header"
    raise FileFormatError(f"line {preamble.first[0]}: columns without a number: {listing}; {advice}")


def _checked_lines(rows: _Rows, preamble: _Preamble, max_points: int) -> Iterator[str]:
    width, delimiter = len(preamble.fields), preamble.delimiter
    for count, (number, line) in enumerate(itertools.chain([preamble.first], rows), 1):
        found = _width(line, delimiter)
        if found != width:
            raise FileFormatError(f"line {number} has {found} fields, line {preamble.first[0]} has {width}")
        if count > max_points:
            raise FileFormatError(f"more points than the limit max_points={max_points}; thin the cloud or raise the limit")
        yield line


def _width(line: str, delimiter: str | None) -> int:
    if delimiter is None or '"' in line:
        return len(_split(line, delimiter))
    return line.count(delimiter) + 1


def _parse(lines: Iterator[str], delimiter: str | None, chosen: list[int], rows: _Rows) -> np.ndarray[Any, Any]:
    try:
        return np.loadtxt(lines, dtype=np.float64, comments=None, delimiter=delimiter, usecols=chosen, ndmin=2, quotechar='"')
    except ValueError as error:
        if isinstance(error, FileFormatError):
            raise
        reason = str(error).split(" at row ")[0]
        raise FileFormatError(f"line {rows.line}: {reason}") from error
