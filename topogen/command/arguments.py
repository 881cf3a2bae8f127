"""The arguments of the command `topogen`, by argparse."""

from __future__ import annotations

import argparse
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from topogen._version import __version__

if TYPE_CHECKING:
    from topogen.distributions.base import Density
    from topogen.entry_tables import Table
    from topogen.learning.base import ManifoldKind

__all__ = ["MESHES", "parse_arguments", "wants_mesh"]

MESHES = (".ply", ".off", ".obj", ".stl")

EPILOG = "exit codes: 0 done or confirmed, 1 refuted, 2 usage, 3 unreadable or invalid input, 4 inconclusive or over budget, 130 interrupted"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of a call; exits with code 2 on a usage error, 0 after --help and --version."""
    parser = argparse.ArgumentParser(prog="topogen", description="Learn a manifold from a point cloud and verify its topology.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"topogen {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Verb)
    for name, help_text, build in _VERBS:
        verb = verbs.add_parser(name, help=help_text, description=help_text, epilog=EPILOG)
        build(verb)
        _common(verb)
    options = parser.parse_args(argv)
    misuse = _misuse(options)
    if misuse:
        verbs.choices[options.verb].error(misuse)
    return options


def _misuse(options: argparse.Namespace) -> str:
    """What is missing where either of two options would do."""
    if options.verb == "verify" and options.against is None and options.expect is None:
        return "--against, --expect: nothing to verify against; give a cloud, a name such as torus, or Betti numbers"
    if options.verb == "sample" and options.n is None and not wants_mesh(options):
        return "-n: say how many points to draw, as in -n 1000"
    return ""


def wants_mesh(options: argparse.Namespace) -> bool:
    """Whether `sample` is to write the zero set as a mesh: where that is asked for, for stl, and for the other mesh formats without -n."""
    suffix = os.path.splitext(options.output)[1].lower()
    asked: bool | None = options.mesh
    return asked if asked is not None else suffix == ".stl" or (suffix in MESHES and options.n is None)


def _inspect(verb: argparse.ArgumentParser) -> None:
    _cloud(verb)
    _dim(verb)
    _fields(verb)


def _fit(verb: argparse.ArgumentParser) -> None:
    _cloud(verb)
    verb.add_argument("-o", "--output", required=True, metavar="MODEL", help="folder to save the model in")
    verb.add_argument("--checkpoint", metavar="FILE", help="file that training resumes from and keeps rewriting")
    _dim(verb)
    _fields(verb)
    _learning(verb)


def _sample(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", help="folder of a saved model")
    verb.add_argument("-n", type=_positive, metavar="N", help="number of points")
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="npy npz csv tsv xyz ply off obj stl; without -n mesh formats hold the zero set")
    verb.add_argument("--mesh", action=argparse.BooleanOptionalAction, default=None, help="write the zero set of a surface in R^3 as a mesh, or do not")
    verb.add_argument("--energy", metavar="FILE.py:FUNCTION", help="tilt the model's density by exp(-energy); the function maps rows (n, D) to (n,)")
    verb.add_argument("--steps", type=_positive, metavar="N", help="steps of the flow of a diffusion or flow model (default: as many as its accuracy needs)")
    verb.add_argument("--resolution", type=_positive, default=96, help="cells of the mesh's grid along the longest side (default 96)")


def _project(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", help="folder of a saved model")
    _cloud(verb)
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="file for the projected points")


def _score(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("models", nargs="+", metavar="model", help="folder of a saved model; of several, paired differences with standard errors")
    _cloud(verb)
    verb.add_argument("-o", "--output", metavar="FILE", help="file for the log density of every point, one number a line")


def _verify(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("subject", help="a cloud file, a mesh (verified as it is; samples of it with --points), or the folder of a saved model")
    verb.add_argument("--against", metavar="CLOUD", help="a cloud to compare with; or a name, as --expect")
    verb.add_argument("--expect", metavar="NAME", help="torus, klein_bottle, 'genus 2', rp2, ..., or Betti numbers such as 1,2,1")
    verb.add_argument("-o", "--output", metavar="FOLDER", help="folder for verification.json, report.txt and barcode.png")
    verb.add_argument("--grid", type=_positive, metavar="N", help="certify a model in R^2 or R^3 by N cells along its longest side as well; 64 to 128")
    verb.add_argument("--closed", action="store_true", help="the set has no boundary; where points are missing there are gaps")
    verb.add_argument(
        "--scale", type=_positive_number, metavar="EPS", help="how far the clouds can be from their sets and back, where that is known (default: estimated)"
    )
    verb.add_argument(
        "--density-ratio", type=_ratio, metavar="RATIO",
        help="largest over smallest density of the clouds on their sets, where that is known and points are independent: verdicts are then statistical",
    )  # fmt: skip
    _judging(verb)
    _fields(verb)
    _dim(verb)
    _reading(verb)


def _compare(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("cloud", help="a cloud file, the data")
    verb.add_argument("other", help="another, such as samples of a model")
    verb.add_argument(
        "--max-degree", type=_degree, metavar="K", help="compare bars up to this degree (default: 2 in space, 1 in the plane and above three dimensions)"
    )
    verb.add_argument("--permutations", type=_positive, default=99, metavar="N", help="of the test of split halves (default 99)")
    _fields(verb)
    _reading(verb)


def _shapes(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("name", nargs="?", help="a shape; without it, a table of all")
    verb.add_argument("-n", type=_positive, default=1000, metavar="N", help="number of points (default 1000)")
    verb.add_argument("-o", "--output", metavar="FILE", help="file for uniform samples of the shape")
    verb.add_argument("--noise", type=float, default=0.0, help="standard deviation per coordinate of noise to add")


def _run(verb: argparse.ArgumentParser) -> None:
    _cloud(verb)
    verb.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for everything that is found")
    verb.add_argument("--expect", metavar="NAME", help="the topology to verify against, besides the cloud's own")
    verb.add_argument("-n", type=_positive, default=10_000, metavar="N", help="number of samples to write (default 10000)")
    _judging(verb)
    _dim(verb)
    _fields(verb)
    _learning(verb)


_VERBS: tuple[tuple[str, str, Callable[[argparse.ArgumentParser], None]], ...] = (
    ("inspect", "find out what a cloud is, or certify the atlas of a saved model", _inspect),
    ("fit", "learn a model from a cloud", _fit),
    ("sample", "draw from a model, or write its zero set as a mesh", _sample),
    ("project", "bring points onto a model's manifold", _project),
    ("score", "log density of points under a model, or compare models by it", _score),
    ("verify", "confirm or refute the topology of a cloud or model", _verify),
    ("compare", "put two clouds side by side: distances, tests, what only one of them has", _compare),
    ("shapes", "list shapes of known topology, or sample one", _shapes),
    ("run", "inspect, fit, sample and verify in a row", _run),
)


def _cloud(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("cloud", help="npy npz csv tsv xyz ply off obj stl")
    _reading(verb)


def _reading(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("reading clouds")
    group.add_argument("--columns", help="columns to use: 0,1,2 or 1-3 or x,y,z")
    group.add_argument("--header", choices=("auto", "yes", "no"), default="auto", help="whether a table has a header")
    group.add_argument("--latlon", action="store_true", help="two columns of degrees, taken to the unit sphere")
    group.add_argument("--angles", choices=("radians", "degrees"), help="columns are angles, each taken to its cosine and sine")
    group.add_argument("--vertices", action="store_true", help="of a mesh take the vertices, not samples of its faces")
    group.add_argument("--drop-outliers", action="store_true", help="leave out points that lie far from all others, and name them on stderr")
    group.add_argument("--points", type=_positive, metavar="N", help="samples of a mesh (default 20000)")


def _dim(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--dim", type=_positive, help="dimension of the manifold (default: estimated)")


def _judging(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--samples", type=_two_or_more, metavar="N", help="samples of a model whose homology is judged (default: 10000, up to 50000 while the answer is open)"
    )
    verb.add_argument(
        "--landmarks", type=_two_or_more, metavar="N",
        help="points of each cloud that carry its homology (default: as many as are cheap); the predicted cost is told on stderr, --max-memory bounds it",
    )  # fmt: skip


def _fields(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--fields", type=_primes, default=(2, 3), metavar="P,P", help="primes p of the Betti numbers over Z/p (default 2,3)")


def _learning(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--manifold", type=_manifold_name, default="auto", metavar="KIND", help="what is learned of the set; kinds are listed below (default: auto)"
    )
    verb.add_argument(
        "--density", type=_density_name, default="auto", metavar="NAME", help="what is learned on the manifold; densities are listed below (default: auto)"
    )
    verb.add_argument("--constraint", choices=("auto", "local", "neural"), default="auto", help="how the constraint is learned (default: auto)")
    verb.add_argument("--density-steps", type=_positive, metavar="N", help="training steps of a diffusion or flow (default 8000) or of flows (default 1500)")
    verb.add_argument("--budget-seconds", type=_positive_number, metavar="S", help="for the choice of density auto, as predicted on one core (default 120)")
    verb.add_argument("--closed", action="store_true", help="the manifold has no boundary; where data are missing there are gaps")
    verb.add_argument("--steps", type=_positive, help="training steps of a network (default 3000, 1500 for noisy points)")


def _manifold_name(text: str) -> str:
    return text if text == "auto" else _one_of(text, [name for name, kind in _manifolds().items() if kind.fit is not None])


def _density_name(text: str) -> str:
    return text if text == "auto" else _one_of(text, list(_densities()))


def _one_of(text: str, names: list[str]) -> str:
    if text not in names:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from auto, {', '.join(names)})")
    return text


def _manifolds() -> Table[ManifoldKind]:
    from topogen.learning.manifold_table import MANIFOLDS

    return MANIFOLDS


def _densities() -> Table[Density]:
    from topogen.distributions.density_table import DENSITIES

    return DENSITIES


class _Verb(argparse.ArgumentParser):
    """The parser of a verb. The tables are read when help that lists them is asked for: they import torch, which takes seconds."""

    def format_help(self) -> str:
        """The help, with the kinds of manifolds and densities where the verb learns some."""
        if any("--density" in action.option_strings for action in self._actions):
            kinds = [(name, kind.help) for name, kind in _manifolds().items() if kind.fit is not None]
            self.epilog = f"{_listed('manifolds', kinds)}{_listed('densities', [(name, entry.help) for name, entry in _densities().items()])}\n{EPILOG}"
            self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()


def _listed(title: str, rows: list[tuple[str, str]]) -> str:
    return f"{title}:\n" + "".join(f"  {name:<22}{text}\n" for name, text in rows)


def _common(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout")
    group.add_argument("--seed", type=_seed, default=0)
    group.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors")
    group.add_argument("--threads", type=_positive, help="threads of torch")
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    group.add_argument("--max-memory", type=_bytes, metavar="SIZE", help="memory for persistent homology, such as 2G")
    group.add_argument("--timeout", type=_positive_number, metavar="SECONDS", help="stop after so long with exit code 4")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {text}")
    return value


def _two_or_more(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2, found {text}")
    return value


def _degree(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {text}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"expected 0 to 2^63 - 1, found {text}")
    return value


def _positive_number(text: str) -> float:
    value = float(text)
    if not 0 < value < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def _ratio(text: str) -> float:
    value = float(text)
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return value


def _primes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected primes such as 2,3, found {text!r}") from error


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    factor = units.get(text[-1:].upper(), 1)
    try:
        value = int(float(text.rstrip("kKmMgG")) * factor)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M or 2G, found {text!r}") from error
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive size, found {text!r}")
    return value
