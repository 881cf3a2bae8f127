"""A user's function named on the command line as FILE.py:function. The file is run as Python: name only files you trust."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topogen.errors import InvalidInputError

__all__ = ["load_function"]


def load_function(name: str) -> Callable[..., Any]:
    """The function of FILE.py:function; raises InvalidInputError where the name, the file or the function is missing, or the file fails when it is run."""
    path, _, function = name.rpartition(":")
    if not path or not function.isidentifier():
        raise InvalidInputError(f"{name}: expected FILE.py:function, the name of a Python file and of a function in it")
    file = Path(path)
    if not file.is_file() or file.suffix != ".py":
        raise InvalidInputError(f"{path}: no such Python file; expected FILE.py:function")
    found = getattr(_run(file), function, None)
    if not callable(found):
        raise InvalidInputError(f"{path}: has no function {function!r}")
    return found  # type: ignore[no-any-return]


def _run(file: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"_topogen_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{file}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidInputError(f"{file}: fails when it is run: {type(error).__name__}: {error}") from error
    return module
