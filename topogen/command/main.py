"""The command `topogen`: one verb per arrow of the way of the data, thin over the library.

Results go to stdout (with --json one JSON document), everything else to stderr. Exit codes: 0 done or claim confirmed, 1 claim refuted, 2 usage, 3 unreadable
or invalid input, 4 inconclusive or over budget, 70 internal error, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TextIO

from topogen.errors import InvalidInputError, TopogenError

__all__ = ["main"]

SCHEMA_VERSION = 1
UNWRITABLE, OVER_BUDGET, INTERNAL, INTERRUPTED = 3, 4, 70, 130
SOON, AGAIN = 0.02, 2.0


class _TimeUp(BaseException):
    """--timeout is over. No Exception, so that nothing on the way up takes it for a failure it can deal with."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with arguments `argv` (default: those of the process) and return its exit code."""
    from topogen.command.arguments import parse_arguments

    try:
        options = parse_arguments(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    return _guarded(options)


def _guarded(options: Namespace) -> int:
    try:
        with _timeout(options.timeout):
            return _run(options)
    except TopogenError as error:
        from topogen.command.advice import as_options

        return _fail(options, as_options(str(error), options), error.exit_code)
    except BrokenPipeError:  # a reader of progress went away in the middle of the work: not done, and nobody to tell
        _mute(sys.stderr)
        return UNWRITABLE
    except OSError as error:
        return _fail(options, f"{error.filename or 'output'}: {error.strerror or error}", UNWRITABLE)
    except _TimeUp:
        return _fail(options, f"--timeout: {options.timeout:g} seconds are over; give more time, fewer --steps or fewer points", OVER_BUDGET)
    except KeyboardInterrupt:
        return _fail(options, "interrupted", INTERRUPTED)
    except MemoryError:
        return _fail(options, "out of memory; use fewer points or samples", OVER_BUDGET)
    except Exception as error:  # noqa: BLE001  the last line of defence: Python's own exit code 1 would read as "refuted"
        traceback.print_exc()
        return _fail(options, f"internal error: {type(error).__name__}: {error}", INTERNAL)


def _run(options: Namespace) -> int:
    import torch

    from topogen.command import verbs
    from topogen.command.advice import as_options

    if options.threads:
        torch.set_num_threads(options.threads)
    _check_device(options.device)
    started = time.perf_counter()
    document, text, code = verbs.VERBS[options.verb](options, _say(options))
    document, text = as_options(document, options), as_options(text, options)
    if options.json:
        header = _header(options)
        header["seconds"] = round(time.perf_counter() - started, 3)
        text = json.dumps({**header, **document, **header}, allow_nan=False)
    if text:
        with contextlib.suppress(BrokenPipeError):  # nobody reads on; the code still tells what was found
            _print(text, sys.stdout)
    return code


def _header(options: Namespace) -> dict[str, Any]:
    from importlib import metadata

    from topogen._version import __version__

    versions = {"topogen": __version__, **{name: metadata.version(name) for name in ("torch", "gudhi", "geoopt")}}
    return {"schema_version": SCHEMA_VERSION, "command": options.verb, "seed": options.seed, "versions": versions}


def _say(options: Namespace) -> Any:
    def say(line: str) -> None:
        if not options.quiet:
            with contextlib.suppress(BrokenPipeError):  # progress that nobody reads is no reason to stop
                _print(f"topogen: {line}", sys.stderr)

    return say


def _fail(options: Namespace, message: str, code: int) -> int:
    line = " ".join(message.split())
    with contextlib.suppress(OSError):
        _print(f"topogen: error: {line}", sys.stderr)
    if options.json:
        with contextlib.suppress(OSError):
            _print(json.dumps({**_header(options), "error": line, "exit_code": code}), sys.stdout)
    return code


def _print(text: str, stream: TextIO) -> None:
    """Print now. A stream that refuses is not tried again, not even by Python at its end, which would make up an exit code of its own."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        _mute(stream)
        raise


def _mute(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise InvalidInputError("--device: cuda is not available here; leave the option out or use cpu")
    raise InvalidInputError("--device: fitting and sampling run on the CPU in this version; use cpu")


@contextlib.contextmanager
def _timeout(seconds: float | None) -> Iterator[None]:
    """Raise _TimeUp in the main thread after `seconds`, or when the import under way then is done: a torn one ends in any error, or in none.

    The alarm rings again every AGAIN seconds, for C code that swallows what Python raises below it; long enough to clean up in between.
    """
    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            signal.setitimer(signal.ITIMER_REAL, SOON, AGAIN)
            return
        raise _TimeUp

    if threading.current_thread() is not threading.main_thread():
        raise InvalidInputError("--timeout: works in the main thread only; leave the option out or call the command as a process")
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _importing(frame: FrameType | None) -> bool:
    """Whether an import is under way in this frame or above it, up to where the command began (which may itself be called from an import)."""
    while frame is not None and frame.f_code is not _guarded.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
