"""Paired comparisons: the order, the standard error, points that some model loses, and how often equal models are told apart."""

import pytest
import torch

from topogen.distributions.score_comparison import compare_scores
from topogen.errors import InvalidInputError


def test_the_best_is_first_and_differences_are_paired():
    generator = torch.Generator().manual_seed(0)
    hard = 5 * torch.randn(1000, generator=generator, dtype=torch.float64)
    found = compare_scores({"worse": hard - 0.1, "better": hard})
    assert found.names == ("better", "worse") and found.behind[0].value == 0
    assert found.behind[1].value == pytest.approx(0.1) and found.behind[1].standard_error < 1e-9
    assert "0.1000 +- 0.0000 behind" in found.to_text() and "not told apart" not in found.to_text()


def test_points_that_one_model_loses_are_counted_and_left_out():
    one, two = torch.zeros(10), torch.arange(10.0)
    two[3] = -torch.inf
    found = compare_scores({"one": one, "two": two})
    assert found.scored == 9 and dict(zip(found.names, found.lost, strict=True)) == {"one": 0, "two": 1}
    assert found.means[0] == pytest.approx(42 / 9) and "1 points without a density" in found.to_text()
    assert found.to_dict()["models"][1]["lost"] == 0


def test_equal_models_are_rarely_told_apart():
    """Two standard errors: 2.3 of 100 on one side; more than 40 of 1000 have probability below 1e-3."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1000, 2, 200, generator=generator, dtype=torch.float64)
    told = sum("not told apart" not in compare_scores({"a": pair[0], "b": pair[1]}).to_text() for pair in scores)
    assert 10 < told < 80


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InvalidInputError, match="at least two models"):
        compare_scores({"a": torch.zeros(3)})
    with pytest.raises(InvalidInputError, match="at least two models at the same points"):
        compare_scores({"a": torch.zeros(3), "b": torch.zeros(4)})
    with pytest.raises(InvalidInputError, match="1 points have a density under all models"):
        compare_scores({"a": torch.tensor([0.0, -torch.inf]), "b": torch.zeros(2)})
