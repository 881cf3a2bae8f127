"""Rejection: the law that is left, exact counts, seeds, and an end where nothing can be kept."""

import pytest
import torch
from torch import Tensor

from topogen.distributions.uniform.rejection import BATCH, rejection_sample
from topogen.errors import ProjectionError

NOTHING = torch.zeros(0, 1, dtype=torch.float64)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def slanted(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x with density 2 x on [0, 1] and weights 1 / x, clamped to at most 50."""
    x = torch.rand(n, 1, dtype=torch.float64, generator=generator).sqrt()
    return x, (1 / x.squeeze(1)).clamp_max(50)


def test_weights_make_a_slanted_law_even() -> None:
    """Mean 1/2 and mean square 1/3 of the unit interval within 3.3 s.e. (false alarm .1 % each); without the weights the mean is 2/3."""
    x = rejection_sample(slanted, 20_000, 50.0, NOTHING, seed(0), rate=0.1, failure="")
    assert x.shape == (20_000, 1)
    assert abs(float(x.mean()) - 1 / 2) < 3.3 * float(x.std()) / 20_000**0.5
    assert abs(float(x.square().mean()) - 1 / 3) < 3.3 * float(x.square().std()) / 20_000**0.5
    assert torch.equal(x, rejection_sample(slanted, 20_000, 50.0, NOTHING, seed(0), rate=0.1, failure=""))


def test_no_rows_are_asked_for() -> None:
    assert rejection_sample(slanted, 0, 50.0, NOTHING, seed(0), rate=0.1, failure="").shape == (0, 1)


def test_an_empty_batch_ends_in_an_error_that_says_how_many() -> None:
    never = lambda n, generator: (torch.zeros(n, 1, dtype=torch.float64), torch.zeros(n, dtype=torch.float64))  # noqa: E731
    with pytest.raises(ProjectionError, match=f"none of {BATCH} stars were hit"):
        rejection_sample(never, 10, 1.0, NOTHING, seed(0), rate=1e-9, failure="stars were hit")
    with pytest.raises(ProjectionError):  # from small batches too: they grow until a whole one is empty
        rejection_sample(never, 10, 1.0, NOTHING, seed(0), rate=0.5, failure="")
