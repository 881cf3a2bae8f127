"""Every density that "auto" may choose on the same data: how far each is behind the truth (nats), and what auto takes.

`pytest tests/benchmarks/test_densities.py -s` prints the rows; TOPOGEN_SEEDS says how many seeds.
"""

import math
import os
import time

import pytest
import torch
from rows import Row, markdown, row
from test_atlas_density import WrappedNormals
from torch import Tensor

from topogen.distributions import DENSITIES, DensityRequest
from topogen.distributions.density_choice import choose_density
from topogen.manifolds.shapes import Circle, Sphere, Torus

SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "3")))
TRIED = ("uniform", "charts", "energy", "flows")
KAPPA = 2.0


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class VonMises:
    """exp(kappa x_1) / Z on the unit circle, by rejection."""

    shape, n = Circle(), 1000

    def __init__(self, seed: int) -> None:
        pass

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.shape.sample(20 * n, generator=generator)
        return drawn[torch.rand(len(drawn), generator=generator, dtype=torch.float64) < (KAPPA * (drawn[:, 0] - 1)).exp()][:n]

    def log_density(self, x: Tensor) -> Tensor:
        return KAPPA * x[:, 0] - math.log(2 * math.pi) - torch.special.i0(torch.tensor(KAPPA, dtype=torch.float64)).log()


class Correlated:
    """exp(3 x_1 x_2 + x_3) / Z on the unit sphere, by rejection; Z by 10^6 uniform points."""

    shape, n = Sphere(2), 5000

    def __init__(self, seed: int) -> None:
        x = self.shape.sample(1_000_000, generator=seeded(99))
        self.log_z = math.log(4 * math.pi) + float(self._tilt(x).exp().mean().log())

    def _tilt(self, x: Tensor) -> Tensor:
        return 3 * x[:, 0] * x[:, 1] + x[:, 2]

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.shape.sample(30 * n, generator=generator)
        return drawn[torch.rand(len(drawn), generator=generator, dtype=torch.float64) < (self._tilt(drawn) - 2.5).exp()][:n]

    def log_density(self, x: Tensor) -> Tensor:
        return self._tilt(x) - self.log_z


class SixNormals(WrappedNormals):
    """Six wrapped normals on the torus."""

    shape, n = Torus(), 8000

    def __init__(self, seed: int) -> None:
        super().__init__(seed, self.shape)


CASES = {"circle": VonMises, "sphere": Correlated, "torus": SixNormals}


def measure(name: str, seed: int) -> Row:
    case, generator = CASES[name](seed), seeded(seed)
    data, test = case.draw(case.n, generator), case.draw(5000, generator)
    found: Row = {}
    for density in TRIED:
        start = time.process_time()
        fitted = DENSITIES[density].fit(DensityRequest(data, case.shape, data, seeded(seed), quiet=True))
        values = fitted.distribution.log_prob(test)
        held = torch.isfinite(values)
        gap = (case.log_density(test) - values)[held]
        found |= {density: float(gap.mean()), f"{density}_lost": int((~held).sum()), f"{density}_seconds": time.process_time() - start}
        if density == "flows":
            found["discs"] = fitted.distribution.atlas.count
    chosen = choose_density(DENSITIES, DensityRequest(data, case.shape, data, seeded(seed), quiet=True))
    found["auto"] = float((case.log_density(test) - chosen.distribution.log_prob(test)).mean())
    found["auto_takes"] = next(note for note in chosen.notes if note.startswith("density: ")).split()[1].rstrip(",")
    return {"points": case.n, **found}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_densities(name, seed):
    found = row("densities", f"{name}-{seed}", lambda: measure(name, seed))
    print("\n" + markdown([found], tuple(found)))
    assert found["auto"] <= found["uniform"]
