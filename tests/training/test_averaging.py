"""Averages of weights along a run."""

import math

import torch
from torch import nn

from topogen.training.averaging import Averaged
from topogen.training.trainer import TrainingState


def averaged(judge=None, **settings) -> tuple[nn.Linear, Averaged]:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    return module, Averaged(module, judge, **settings)


def test_the_average_follows_slowly_and_fast_at_first():
    module, mean = averaged(rate=0.9)
    nn.init.ones_(module.weight)
    state, expected = TrainingState(100), 0.0
    for n in range(50):
        mean.begin(state)
        rate = min(0.9, (1 + n) / (10 + n))
        expected = rate * expected + (1 - rate)
    assert math.isclose(mean.mean.weight.item(), expected, rel_tol=1e-5)


def test_the_best_is_kept_and_patience_ends():
    scores = iter([4.0, 3.0, 1.0, 2.0, 2.0])
    module, mean = averaged(lambda _: next(scores), patience=2)
    state = TrainingState(100)
    for step in range(4):
        nn.init.constant_(module.weight, float(step))
        mean.begin(state)
        mean.measured(state)
        if step == 1:
            best = mean.mean.weight.clone()
    assert torch.equal(mean.best.weight, best) and mean.score == 1.0
    assert state.stop and state.held_out == 2.0


def test_what_was_there_before_the_first_step_may_stay_the_best():
    scores = iter([1.0, 3.0])
    module, mean = averaged(lambda _: next(scores))
    mean.begin(TrainingState(10))
    nn.init.ones_(module.weight)
    mean.begin(TrainingState(10))
    mean.measured(TrainingState(10))
    assert mean.score == 1.0 and mean.best.weight.item() == 0.0


def test_it_is_saved_with_the_learner():
    _, mean = averaged(lambda _: 1.5)
    mean.measured(TrainingState(10))
    _, other = averaged()
    other.load_state_dict(mean.state_dict())
    assert other.score == 1.5 and not any(name.startswith("_source") for name in mean.state_dict())
