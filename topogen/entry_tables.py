"""Tables of kinds that a third party can add to: name -> entry, built in or found through an entry point group.

An installed distribution adds an entry by a line in its metadata,

    [project.entry-points."topogen.densities"]
    tilt = "my_package.tilt:ENTRY"

which is imported when the table is first asked for more than what is built in. An entry point that cannot be imported, is of another type, or takes
a name that is in use, is left out with a warning that names it; the rest of the table works.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Protocol, TypeVar

__all__ = ["Entry", "Table"]


class Entry(Protocol):
    """What every entry has: a `name`, one line of `help`, and `covers`, which says whether an object is of its kind."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def help(self) -> str:
        """One line for `--help`."""
        ...

    def covers(self, thing: Any, /) -> bool:
        """Whether an object is of this kind."""
        ...


E = TypeVar("E", bound=Entry)


class Table(Mapping[str, E]):
    """The entries of one type by name, those built in first, then those of the entry point `group`."""

    def __init__(self, group: str, kind: type[E], built_in: tuple[E, ...]) -> None:
        self.group, self.kind = group, kind
        self._built_in = {entry.name: entry for entry in built_in}
        self._all: dict[str, E] | None = None

    def __getitem__(self, name: str) -> E:
        return self._built_in[name] if name in self._built_in else self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def covering(self, thing: Any) -> E | None:
        """The first entry that covers an object, or None."""
        known = next((entry for entry in self._built_in.values() if entry.covers(thing)), None)
        return known if known is not None else next((entry for entry in self.values() if entry.covers(thing)), None)

    def forget(self) -> None:
        """Read the entry points again at the next look: for packages installed while the process runs."""
        self._all = None

    def _whole(self) -> dict[str, E]:
        if self._all is None:
            self._all = dict(self._built_in)
            for point in metadata.entry_points(group=self.group):
                self._add(self._all, point)
        return self._all

    def _add(self, entries: dict[str, E], point: metadata.EntryPoint) -> None:
        try:
            entry = point.load()
        except Exception as error:  # noqa: BLE001  code of others: whatever it raises, the table works without it
            return self._left_out(point, f"cannot be imported ({type(error).__name__}: {error})")
        if not isinstance(entry, self.kind):
            return self._left_out(point, f"is {type(entry).__name__}, expected {self.kind.__name__}")
        if entry.name in entries:
            return self._left_out(point, f"takes the name {entry.name!r}, which is in use")
        entries[entry.name] = entry
        return None

    def _left_out(self, point: metadata.EntryPoint, why: str) -> None:
        warnings.warn(f"{self.group}: entry point {point.name} = {point.value} {why}; it is left out", RuntimeWarning, stacklevel=5)
