"""Hostile clouds: whatever a tensor holds, the public functions answer or raise an exception of ours, and the interpreter lives on."""

import random
import warnings

import pytest
import torch

from topogen.errors import TopogenError
from topogen.topology import (
    Budget,
    compare,
    confidence_radius,
    farthest_points,
    hausdorff,
    homology,
    loops,
    persistence,
    robust_homology,
    sampling_density,
    significance,
)

QUICK, FULL = 250, 10_000

SPICES = (
    lambda x, rng: x,
    lambda x, rng: _planted(x, rng, float("nan")),
    lambda x, rng: _planted(x, rng, float("inf")),
    lambda x, rng: _planted(x, rng, -float("inf")),
    lambda x, rng: _planted(x, rng, rng.choice([1e300, -1e308, 1.7e308])),
    lambda x, rng: x * 1e300,
    lambda x, rng: x * rng.choice([1e-300, 5e-324, 1e-160, 1e160]),
    lambda x, rng: x[torch.randint(0, max(1, len(x) // 3), (len(x),), generator=torch.Generator().manual_seed(0))] if len(x) else x,
    lambda x, rng: torch.zeros_like(x),
    lambda x, rng: x[:, :1].expand(-1, x.shape[1]) if x.shape[1] else x,
    lambda x, rng: x.round(),
    lambda x, rng: (100 * x).long(),
    lambda x, rng: x.mT,
    lambda x, rng: x[::2],
    lambda x, rng: x.float(),
    lambda x, rng: x.half(),
    lambda x, rng: x.bool(),
    lambda x, rng: x.to(torch.complex128),
    lambda x, rng: x.reshape(-1),
    lambda x, rng: x.unsqueeze(0),
    lambda x, rng: x[:0],
    lambda x, rng: x[:, :0],
    lambda x, rng: x[:1],
    lambda x, rng: x.clone().requires_grad_(),
    lambda x, rng: _read_only(x),
    lambda x, rng: x.to("meta"),
    lambda x, rng: x.to_sparse(),
    lambda x, rng: x.tolist(),
    lambda x, rng: x + 1e16,
    lambda x, rng: torch.cat([x, x + 1e-15]),
)


def _planted(x, rng, value):
    x = x.clone()
    if x.numel():
        x.view(-1)[rng.randrange(x.numel())] = value
    return x


def _read_only(x):
    array = x.numpy().copy()
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that writing would be undefined: nobody does
        return torch.from_numpy(array)


def cloud(rng):
    """One to forty points in up to five dimensions, spiced once or twice."""
    n, dim = rng.randint(1, 40), rng.randint(1, 5)
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(rng.randrange(2**30)), dtype=torch.float64)
    for _ in range(rng.choice([1, 1, 2])):
        try:
            x = rng.choice(SPICES)(x, rng)
        except (RuntimeError, AttributeError, IndexError, TypeError, NotImplementedError, UserWarning):  # a spice that does not go with the one before
            return x
    return x


def _seeded():
    return torch.Generator().manual_seed(0)


BUDGET = Budget(max_bytes=2**28)

CALLS = (
    lambda x, y: persistence(x, max_degree=1, fields=(2,), budget=BUDGET),
    lambda x, y: persistence(x, max_degree=2, fields=(3,), engine="rips", budget=BUDGET),
    lambda x, y: homology(x, budget=BUDGET, generator=_seeded()),
    lambda x, y: farthest_points(x, 5),
    lambda x, y: loops(x, landmarks=20),
    lambda x, y: robust_homology(x, resamples=2, budget=BUDGET, generator=_seeded()),
    lambda x, y: confidence_radius(x, 1, draws=3, generator=_seeded()),
    lambda x, y: sampling_density(x),
    lambda x, y: hausdorff(x, y),
    lambda x, y: significance(persistence(x, max_degree=1, fields=(2,), budget=BUDGET)[2], 1),
)


def season(count, seed):
    """Calls with hostile clouds; returns how many answered and how many were refused."""
    rng = random.Random(seed)
    answered = refused = 0
    for number in range(count):
        x, y = cloud(rng), cloud(rng)
        call = CALLS[number % len(CALLS)] if number % 100 else lambda a, b: compare(a, b, permutations=3, landmarks=20, budget=BUDGET, generator=_seeded())
        try:
            call(x, y)
            answered += 1
        except TopogenError as error:
            assert str(error)
            refused += 1
    return answered, refused


def test_only_our_exceptions():
    answered, refused = season(QUICK, 0)
    assert answered > QUICK / 4 and refused > QUICK / 10


@pytest.mark.slow
def test_only_our_exceptions_ten_thousand_times():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answered, refused = season(FULL, 1)
    assert answered > FULL / 4 and refused > FULL / 10
