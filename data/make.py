"""Write the clouds of this folder, or check them: `python data/make.py` and `python data/make.py --check`.

Every cloud is drawn uniformly from a shape of `topogen.manifolds.shapes` with a fixed seed, noise is normal in every coordinate with a standard deviation of
1 % of the shape's diameter. Coordinates are rounded to five decimals, so the files are the same byte for byte wherever they are made.
`manifest.json` states for each file where it comes from and what is true of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from topogen.manifolds import shapes

FOLDER = Path(__file__).resolve().parent
DECIMALS = 5


@dataclasses.dataclass(frozen=True)
class Cloud:
    """One file: `n` points of `shape(**parameters)`, noise of `noise` times its diameter."""

    file: str
    shape: str
    n: int
    seed: int
    noise: float = 0.0
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


CLOUDS = [
    Cloud("circle.csv", "Circle", 1000, 1),
    Cloud("figure_eight.csv", "FigureEight", 1000, 2),
    Cloud("linked_circles.csv", "LinkedCircles", 1500, 3),
    Cloud("trefoil_knot_noisy.csv", "TrefoilKnot", 2000, 4, 0.01),
    Cloud("sphere.csv", "Sphere", 2000, 5),
    Cloud("torus.csv", "Torus", 5000, 6),
    Cloud("torus_noisy.csv", "Torus", 5000, 7, 0.01),
    Cloud("flat_torus_noisy.npy", "FlatTorus", 5000, 8, 0.01),
    Cloud("klein_bottle.npy", "KleinBottle", 5000, 9),
    Cloud("projective_plane.npy", "ProjectivePlane", 5000, 10),
    Cloud("moebius_band.csv", "MoebiusBand", 3000, 11),
    Cloud("swiss_roll.csv", "SwissRoll", 3000, 12),
    Cloud("two_spheres_noisy.csv", "TwoSpheres", 3000, 13, 0.01),
    Cloud("rotations.npy", "SpecialOrthogonal", 3000, 14),
    Cloud("genus_two.csv", "GenusTwo", 5000, 15),
]


def main(arguments: list[str]) -> int:
    """Write all files, or with --check compare them; returns 0, or 1 if a file differs."""
    parser = argparse.ArgumentParser(description="Write or check the clouds of this folder.")
    parser.add_argument("--check", action="store_true", help="compare the files with what would be written, byte for byte")
    check = parser.parse_args(arguments).check
    contents = files()
    if not check:
        for name, content in contents.items():
            (FOLDER / name).write_bytes(content)
        return 0
    differing = [name for name, content in contents.items() if not (FOLDER / name).exists() or (FOLDER / name).read_bytes() != content]
    for name in differing:
        print(f"{name}: not what data/make.py writes", file=sys.stderr)
    return 1 if differing else 0


def files() -> dict[str, bytes]:
    """Content of every file by its name, the manifest last."""
    contents, entries = {}, []
    for cloud in CLOUDS:
        shape = getattr(shapes, cloud.shape)(**cloud.parameters)
        contents[cloud.file] = _encode(cloud.file, _points(cloud, shape))
        entries.append(_entry(cloud, shape, contents[cloud.file]))
    contents["manifest.json"] = (json.dumps({"schema_version": 1, "clouds": entries}, indent=1) + "\n").encode()
    return contents


def _points(cloud: Cloud, shape: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(cloud.seed)
    x = shape.sample(cloud.n, generator)
    if cloud.noise:
        x = x + cloud.noise * shape.diameter * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    rounded: np.ndarray = np.round(x.numpy(), DECIMALS)
    return rounded + 0.0  # + 0.0 turns -0.0 into 0.0


def _encode(name: str, points: np.ndarray) -> bytes:
    if name.endswith(".npy"):
        buffer = io.BytesIO()
        np.save(buffer, points, allow_pickle=False)
        return buffer.getvalue()
    header = ",".join(f"x{k + 1}" for k in range(points.shape[1]))
    return "\n".join([header, *(",".join(f"{value:.{DECIMALS}f}" for value in row) for row in points), ""]).encode()


def _entry(cloud: Cloud, shape: Any, content: bytes) -> dict[str, Any]:
    is_manifold = isinstance(shape, shapes.Shape)
    return {
        "file": cloud.file,
        "shape": shape.name,
        "parameters": _parameters(shape),
        "seed": cloud.seed,
        "n": cloud.n,
        "ambient_dim": shape.ambient_dim,
        "noise_sigma": round(cloud.noise * shape.diameter, 9),
        "dim": shape.dim,
        "betti": {str(field): list(shape.betti(field)) for field in (2, 3)},
        "is_manifold": is_manifold,
        "orientable": shape.orientable if is_manifold else None,
        "closed": shape.closed if is_manifold else None,
        "volume": float(f"{shape.volume:.10g}"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _parameters(shape: Any) -> dict[str, float]:
    names = ("radius", "offset", "R", "r", "w", "scale", "height", "n")
    return {name: round(getattr(shape, name), 12) for name in names if hasattr(shape, name)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
