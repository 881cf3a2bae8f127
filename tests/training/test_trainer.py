"""The training loop: it learns, measures, stops, rescues, resumes, and leaves no trace outside."""

import math

import pytest
import torch
from torch import Tensor, nn

from topogen.errors import CheckpointError, DivergenceError, InvalidInputError
from topogen.training.trainer import EarlyStopping, Settings, TrainingState, train


class Mean(nn.Module):
    """Learns the mean of its rows; the loss turns into NaN at the calls listed in `bad`."""

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(2))
        self.calls, self.bad = 0, bad

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        self.calls += 1
        noisy = points + 0.01 * torch.randn(points.shape, generator=generator)
        loss = ((noisy - self.guess) ** 2).sum(-1).mean()
        return loss * torch.nan if self.calls in self.bad else loss


ROWS = torch.randn(200, 2, generator=torch.Generator().manual_seed(3)) + torch.tensor([2.0, -1.0])
SHORT = Settings(steps=300, batch_size=64, rate=0.05, measure_every=50)


def run(learner: nn.Module, settings: Settings = SHORT, **options):
    return train(learner, ROWS, settings, generator=torch.Generator().manual_seed(7), quiet=True, **options)


def test_it_learns_and_reports():
    learner = Mean()
    report = run(learner)
    assert torch.allclose(learner.guess, ROWS.mean(0), atol=0.1)
    assert report.steps == 300 and report.rescued == 0
    assert [row[0] for row in report.history] == [50, 100, 150, 200, 250, 300]
    assert report.held_out == report.history[-1][2] and math.isfinite(report.held_out)


def test_what_is_left_out_is_the_learners_own():
    own = Settings(steps=40, batch_size=32, rate=0.1, held_out=0.25, measure_every=20, rescues=1)
    assert Settings(steps=7, held_out=0.0).filled(own) == Settings(steps=7, batch_size=32, rate=0.1, held_out=0.0, measure_every=20, rescues=1)
    assert Settings().filled(own) == own
    first, second = Mean(), Mean()
    run(first, Settings(steps=20))
    run(second, Settings(steps=20, batch_size=512, rate=2e-3, held_out=0.1, measure_every=200, rescues=3))
    assert torch.equal(first.guess, second.guess)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"measure_every": -1}, {"rate": 0.0}, {"held_out": 1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))}: expected"):
        Settings(**wrong)


def test_same_seed_same_bits_and_no_global_state():
    before = torch.get_rng_state()
    first, second = Mean(), Mean()
    run(first)
    run(second)
    assert torch.equal(first.guess, second.guess)
    assert torch.equal(before, torch.get_rng_state())


def test_a_rescued_run_goes_on_with_half_the_rate():
    learner = Mean(bad=(120,))
    report = run(learner)
    assert report.rescued == 1 and report.steps == 300
    assert torch.isfinite(learner.guess).all()


def test_divergence_names_the_step_and_leaves_good_weights():
    learner = Mean(bad=tuple(range(120, 2000)))
    with pytest.raises(DivergenceError, match=r"diverged at step 1\d\d: loss nan, last finite loss"):
        run(learner)
    assert torch.isfinite(learner.guess).all() and learner.guess.abs().sum() > 0


def test_a_resumed_run_is_bit_identical(tmp_path):
    whole = Mean()
    run(whole)

    class Killed(Exception):
        pass

    class Kill:
        def begin(self, state: TrainingState) -> None:
            if state.step == 130:
                raise Killed

        def measured(self, state: TrainingState) -> None: ...

    file = tmp_path / "run.ckpt"
    with pytest.raises(Killed):
        run(Mean(), checkpoint=file, callbacks=[Kill()])
    resumed = Mean()
    report = run(resumed, checkpoint=file)
    assert report.steps == 300
    assert torch.equal(whole.guess, resumed.guess)


def test_torn_checkpoints_are_refused(tmp_path):
    file = tmp_path / "run.ckpt"
    run(Mean(), checkpoint=file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        run(Mean(), checkpoint=file)
    torch.save({"schema": 99}, file)
    with pytest.raises(CheckpointError, match="schema 1"):
        run(Mean(), checkpoint=file)


def test_early_stopping_waits_for_its_share_of_the_steps():
    stopping = EarlyStopping(patience=2, margin=0.0, after=0.5)
    state = TrainingState(steps=100)
    for step, held_out in [(10, 1.0), (20, 2.0), (30, 3.0), (50, 1.0), (60, 1.1)]:
        state.history.append((step, 0.0, held_out))
        stopping.measured(state)
    assert not state.stop
    state.history.append((70, 0.0, 1.2))
    stopping.measured(state)
    assert state.stop


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rate": 0.0}, {"held_out": 1.0}, {"batch_size": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        Settings(**wrong)


def test_rows_are_checked():
    with pytest.raises(InvalidInputError, match="at least 2 rows"):
        train(Mean(), torch.zeros(1, 2), SHORT)
