"""Advice in the words of the command: arguments of Python become the options that the verb has.

"state density_ratio= ... or scale=" becomes "state --density-ratio ... or --scale", "fields=(2, 3, 5)" becomes "--fields 2,3,5"; what the verb has no option
for is left as it is.
"""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Any

__all__ = ["as_options"]

ARGUMENTS = ("density_ratio", "scale", "fields", "dim", "closed", "grid", "expect", "against", "landmarks", "n_samples", "budget")
NAMED_OTHERWISE = {"n_samples": "samples", "budget": "max_memory"}
_ARGUMENT = re.compile(rf"\b({'|'.join(ARGUMENTS)})=(True\b|\([\d, ]*\)|[\w.]*\w|)")


def as_options(value: Any, options: Namespace) -> Any:
    """The same text, or document of texts, with arguments named as options of the verb that was called."""
    if isinstance(value, str):
        return _ARGUMENT.sub(lambda found: _option(found, options), value)
    if isinstance(value, dict):
        return {key: as_options(entry, options) for key, entry in value.items()}
    return [as_options(entry, options) for entry in value] if isinstance(value, list) else value


def _option(found: re.Match[str], options: Namespace) -> str:
    name, value = NAMED_OTHERWISE.get(found.group(1), found.group(1)), found.group(2)
    if not hasattr(options, name):
        return found.group()
    given = "" if value == "True" else value.strip("()").replace(" ", "").rstrip(",")
    return f"--{name.replace('_', '-')} {given}".rstrip()
