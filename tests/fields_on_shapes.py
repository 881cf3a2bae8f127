"""Small fits that the tests of diffusions and flows share: a von Mises law on the circle, whose truth is known."""

import functools

import torch

from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.fields.prepare import Sizes, field_settings
from topogen.distributions.flow.fit import fit_flow
from topogen.distributions.uniform.uniform import Uniform
from topogen.manifolds import shapes

CONCENTRATION = 2.0
FITS = {"diffusion": fit_diffusion, "flow": fit_flow}
SMALL = Sizes(width=64, depth=2, features=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def law() -> torch.distributions.VonMises:
    return torch.distributions.VonMises(torch.tensor(1.0, dtype=torch.float64), torch.tensor(CONCENTRATION, dtype=torch.float64))


def on_circle(n: int, seed: int) -> torch.Tensor:
    """Draws (n, 2), by inversion on a grid so that the generator is ours."""
    grid = torch.linspace(-torch.pi, torch.pi, 20_001, dtype=torch.float64)
    share = law().log_prob(grid).exp().cumsum(0)
    angle = grid[torch.searchsorted(share / share[-1], torch.rand(n, generator=seeded(seed), dtype=torch.float64)).clamp(max=20_000)]
    return torch.stack([angle.cos(), angle.sin()], 1)


def true_log_density(x: torch.Tensor) -> torch.Tensor:
    return law().log_prob(torch.atan2(x[:, 1], x[:, 0]))


@functools.cache
def small(kind: str):
    """The fit that tests only look at."""
    return fitted(kind, steps=700)


def fitted(kind: str, steps: int = 900, seed: int = 0, n: int = 3000, **settings):
    circle = shapes.get("circle")
    settings = {"sizes": SMALL, "settings": field_settings(steps), "uniform": Uniform(circle), "quiet": True, **settings}
    if kind == "diffusion":
        settings = {"horizon": 0.5, **settings}
    return FITS[kind](on_circle(n, 10 + seed), circle, generator=seeded(seed), **settings)
