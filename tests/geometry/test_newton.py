"""The batched Newton loop on problems in closed form: rows keep to themselves, stop by themselves and stay where they stopped."""

import pytest
import torch
from torch import Tensor

from topogen.geometry.newton import clipped, damped, iterate, saddle_free, select_rows, solved

TOLERANCE = 1e-13


def roots_of(x: Tensor, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Newton's step for the square root of a; a row that is not finite or not positive stops."""
    x = (x + a / x) / 2
    return (x,), ((x * x - a).abs() > TOLERANCE * a) & torch.isfinite(x) & (x > 0)


def shared(x: Tensor, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """The planted defect: rows that look at one another."""
    (x,), going = roots_of(x, a)
    return (x + 1e-9 * x.mean(),), going


@pytest.fixture
def numbers() -> Tensor:
    return torch.logspace(-6, 6, 25, dtype=torch.float64)


def alone(step, x: Tensor, a: Tensor, **options):
    found = [iterate(step, (x[i : i + 1],), (a[i : i + 1],), max_iterations=60, **options) for i in range(len(x))]
    return [torch.cat(parts) for parts in zip(*((f.state[0], f.steps, f.active) for f in found), strict=True)]


def equals_its_rows(step, a: Tensor, **options) -> bool:
    found = iterate(step, (torch.ones_like(a),), (a,), max_iterations=60, **options)
    return all(
        torch.equal(one, other) for one, other in zip((*found.state, found.steps, found.active), alone(step, torch.ones_like(a), a, **options), strict=True)
    )


@pytest.mark.parametrize("gather", [True, False])
def test_a_batch_is_its_rows_bit_for_bit(numbers, gather):
    assert equals_its_rows(roots_of, numbers, gather=gather)
    assert not equals_its_rows(shared, numbers, gather=gather)


@pytest.mark.parametrize("gather", [True, False])
def test_roots_are_found_and_the_steps_of_each_row_counted(numbers, gather):
    found = iterate(roots_of, (torch.ones_like(numbers),), (numbers,), max_iterations=60, gather=gather)
    torch.testing.assert_close(found.state[0], numbers.sqrt(), rtol=1e-12, atol=0)
    assert not found.active.any()
    for a, expected in zip(numbers.tolist(), found.steps.tolist(), strict=True):
        x, steps = 1.0, 0
        while steps == 0 or abs(x * x - a) > TOLERANCE * a:
            x, steps = (x + a / x) / 2, steps + 1
        assert steps == expected
    assert len(set(found.steps.tolist())) > 5


@pytest.mark.parametrize("gather", [True, False])
def test_rows_that_stopped_stay_as_they_were(numbers, gather):
    start = torch.ones_like(numbers)
    early = iterate(roots_of, (start,), (numbers,), max_iterations=8, gather=gather)
    late = iterate(roots_of, (start,), (numbers,), max_iterations=60, gather=gather)
    assert 0 < int(early.active.sum()) < len(numbers)
    assert torch.equal(early.state[0][~early.active], late.state[0][~early.active])
    assert torch.equal(early.steps[~early.active], late.steps[~early.active])
    assert (early.steps[early.active] == 8).all()


@pytest.mark.parametrize("gather", [True, False])
def test_going_on_where_the_rounds_ran_out_is_one_long_run(numbers, gather):
    whole = iterate(roots_of, (torch.ones_like(numbers),), (numbers,), max_iterations=60, gather=gather)
    first = iterate(roots_of, (torch.ones_like(numbers),), (numbers,), max_iterations=7, gather=gather)
    second = iterate(roots_of, first.state, (numbers,), max_iterations=53, active=first.active, gather=gather)
    assert torch.equal(second.state[0], whole.state[0])
    assert torch.equal(first.steps + second.steps, whole.steps)


@pytest.mark.parametrize("gather", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0, -4.0])
def test_rows_that_fail_do_not_disturb_the_others(numbers, gather, bad):
    spoilt = numbers.clone()
    spoilt[::3] = bad
    good = torch.ones_like(numbers, dtype=torch.bool)
    good[::3] = False
    with_them = iterate(roots_of, (torch.ones_like(numbers),), (spoilt,), max_iterations=60, gather=gather)
    without = iterate(roots_of, (torch.ones_like(numbers[good]),), (numbers[good],), max_iterations=60, gather=gather)
    assert torch.equal(with_them.state[0][good], without.state[0])
    assert torch.equal(with_them.steps[good], without.steps)


@pytest.mark.parametrize("gather", [True, False])
def test_rows_outside_of_the_mask_take_no_step(numbers, gather):
    start = torch.full_like(numbers, 3.0)
    chosen = torch.arange(len(numbers)) % 2 == 0
    found = iterate(roots_of, (start,), (numbers,), max_iterations=60, active=chosen, gather=gather)
    assert (found.state[0][~chosen] == 3).all()
    assert (found.steps[~chosen] == 0).all()
    torch.testing.assert_close(found.state[0][chosen], numbers[chosen].sqrt(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gather", [True, False])
@pytest.mark.parametrize("rounds", [0, 5])
def test_nothing_to_do_is_done_without_a_call(gather, rounds):
    def never(*_):
        raise AssertionError("called on no rows")

    empty = torch.zeros(0, dtype=torch.float64)
    found = iterate(never, (empty,), (empty,), max_iterations=rounds, gather=gather)
    assert found.state[0].shape == found.steps.shape == found.active.shape == (0,)
    idle = iterate(never, (torch.ones(3),), max_iterations=rounds, active=torch.zeros(3, dtype=torch.bool), gather=gather)
    assert torch.equal(idle.state[0], torch.ones(3))
    untouched = iterate(never, (torch.ones(3),), max_iterations=0, gather=gather)
    assert untouched.active.all()
    assert (untouched.steps == 0).all()


@pytest.mark.parametrize("gather", [True, False])
def test_the_start_is_not_written_to_and_only_rows_still_going_are_gathered(numbers, gather):
    start, seen = torch.ones_like(numbers), []

    def watched(x, a):
        seen.append(len(x))
        return roots_of(x, a)

    before = numbers.clone()
    iterate(watched, (start,), (numbers,), max_iterations=60, gather=gather)
    assert (start == 1).all()
    assert torch.equal(numbers, before)
    assert seen == sorted(seen, reverse=True)
    assert (seen[-1] < len(numbers)) == gather


def test_systems_are_solved_row_by_row():
    generator = torch.Generator().manual_seed(0)
    for r in (1, 3):
        a = torch.randn(20, r, r, dtype=torch.float64, generator=generator)
        b = torch.randn(20, r, dtype=torch.float64, generator=generator)
        b[3] = torch.nan
        x = solved(a, b)
        assert x[3].isnan().all()
        rest = torch.arange(20) != 3
        torch.testing.assert_close((a @ x.unsqueeze(-1)).squeeze(-1)[rest], b[rest])


def test_saddle_free_steps_descend_and_leave_flat_directions_alone():
    hessian = torch.diag_embed(torch.tensor([[2.0, -4.0], [5.0, 0.0]], dtype=torch.float64))
    gradient = torch.tensor([[2.0, 4.0], [5.0, 7.0]], dtype=torch.float64)
    torch.testing.assert_close(saddle_free(hessian, gradient), torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(saddle_free(hessian[:1, 1:, 1:], gradient[:1, 1:]), torch.ones(1, 1, dtype=torch.float64))


def test_steps_are_clipped_to_their_length_and_no_shorter():
    step = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(clipped(step, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(clipped(step, torch.tensor([[10.0], [0.25], [1.0]])), torch.tensor([[3.0, 4.0], [0.15, 0.2], [0.0, 0.0]], dtype=torch.float64))
    assert torch.equal(clipped(step, torch.inf), step)


def test_damped_steps_find_the_minimum_where_whole_ones_overshoot():
    def toward(x: Tensor, share: Tensor):
        trial = x - share * (x * (1 + x * x))  # whole Newton steps for sqrt(1 + x^2), which diverge from |x| > 1
        good = trial.abs().squeeze(-1) <= x.abs().squeeze(-1)
        x, share = damped(good, trial, x, share)
        return (x, share), x.abs().squeeze(-1) > 1e-12

    start = torch.tensor([[0.5], [2.0], [-30.0]], dtype=torch.float64)
    found = iterate(toward, (start, torch.ones_like(start)), max_iterations=200)
    assert not found.active.any()
    assert found.state[0].abs().max() <= 1e-12
    assert found.steps.tolist() == sorted(found.steps.tolist())


def test_rows_of_the_mask_are_new_whatever_their_shape():
    mask = torch.tensor([True, False])
    new, old = (tuple(torch.full((2, *shape), value) for shape in ((), (3,), (3, 2))) for value in (1.0, 0.0))
    assert all(bool((part[0] == 1).all()) and bool((part[1] == 0).all()) for part in select_rows(mask, new, old))
