"""The command `topogen`: one verb per arrow of the way of the data, thin over the library.

Results go to stdout (with --json one JSON document), everything else to stderr. Exit codes: 0 done or claim confirmed, 1 claim refuted, 2 usage, 3 unreadable
or invalid input, 4 inconclusive or over budget, 70 internal error, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from topogen.errors import InvalidInputError, TopogenError

__all__ = ["main"]

SCHEMA_VERSION = 1
OVER_BUDGET, INTERNAL, INTERRUPTED = 4, 70, 130


class _TimeUp(BaseException):
    """--timeout is over. No Exception, so that nothing on the way up takes it for a failure it can deal with."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with arguments `argv` (default: those of the process) and return its exit code."""
    from topogen.arguments import parse

    try:
        options = parse(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    return _guarded(options)


def _guarded(options: Namespace) -> int:
    try:
        with _timeout(options.timeout):
            return _run(options)
    except TopogenError as error:
        return _fail(options, str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(options, f"{error.filename or 'output'}: {error.strerror or error}", 3)
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

    from topogen import verbs

    if options.threads:
        torch.set_num_threads(options.threads)
    _check_device(options.device)
    started = time.perf_counter()
    document, text, code = verbs.VERBS[options.verb](options, _say(options))
    if options.json:
        header = _header(options)
        print(json.dumps({**header, "seconds": round(time.perf_counter() - started, 3), **document, **header}, allow_nan=False))
    elif text:
        print(text)
    sys.stdout.flush()
    return code


def _header(options: Namespace) -> dict[str, Any]:
    from importlib import metadata

    import topogen

    versions = {"topogen": topogen.__version__, **{name: metadata.version(name) for name in ("torch", "gudhi", "geoopt")}}
    return {"schema_version": SCHEMA_VERSION, "command": options.verb, "seed": options.seed, "versions": versions}


def _say(options: Namespace) -> Any:
    def say(line: str) -> None:
        if not options.quiet:
            print(f"topogen: {line}", file=sys.stderr, flush=True)

    return say


def _fail(options: Namespace, message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"topogen: error: {line}", file=sys.stderr)
    if options.json:
        print(json.dumps({**_header(options), "error": line, "exit_code": code}))
    return code


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise InvalidInputError("--device: cuda is not available here; leave the option out or use cpu")
    raise InvalidInputError("--device: fitting and sampling run on the CPU in this version; use cpu")


@contextmanager
def _timeout(seconds: float | None) -> Iterator[None]:
    """Raise _TimeUp in the main thread after `seconds`."""
    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
