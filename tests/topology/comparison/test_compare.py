"""`compare`: the same set twice, a set with a hole more, places of what differs, plain values, determinism, refusals."""

import json

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.topology import compare


def draw(name, n, seed=0):
    return shapes.get(name).sample(n, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def extra():
    """A circle, and the same circle with a smaller one beside it at (3, 0)."""
    x = draw("circle", 500)
    return x, torch.cat([draw("circle", 500, 1), 0.5 * draw("circle", 250, 2) + torch.tensor([3.0, 0.0], dtype=torch.float64)])


@pytest.fixture(scope="module")
def found(extra):
    return compare(*extra, permutations=39, generator=generator())


def test_the_same_set_twice():
    found = compare(draw("circle", 400), draw("circle", 400, 1), permutations=39, generator=generator())
    assert not (found.only_x or found.only_y or found.x_only_proved or found.y_only_proved)
    assert found.halves.p_value > 0.05 and found.mmd.p_value > 0.05
    assert min(found.precision_recall.precision, found.precision_recall.recall) > 0.95


def test_a_circle_more_is_found_where_it_is(found):
    assert found.only_x == () and not found.x_only_proved
    hole = next(feature for feature in found.only_y if feature.degree == 1)
    assert hole.centre == pytest.approx((3.0, 0.0), abs=1e-6) and hole.death == pytest.approx(0.5, abs=1e-6)
    gap = next(feature for feature in found.only_y if feature.degree == 0)
    assert gap.death == pytest.approx(0.75, abs=0.01) and gap.centre == pytest.approx((1.75, 0.0), abs=0.1)
    assert {(e.degree, e.field, e.count) for e in found.y_only_proved} == {(0, 2, 1), (1, 2, 1), (0, 3, 1), (1, 3, 1)}
    assert found.y_beyond_x.value > 5 * found.x_beyond_y.value
    assert found.precision_recall.recall > 0.95 and found.precision_recall.precision < 0.75


def test_rows_of_a_feature_point_into_the_cloud(extra, found):
    hole = next(feature for feature in found.only_y if feature.degree == 1)
    distance = (extra[1][list(hole.rows)] - torch.tensor(hole.centre, dtype=torch.float64)).norm(dim=1)
    assert distance.tolist() == pytest.approx([0.5] * 3, abs=1e-6)


def test_text_and_json(found):
    json.dumps(found.to_dict(), allow_nan=False)
    text = found.to_text()
    for words in ("only in y: a hole", "[proved-for-sample] y has 1 more of H_1", "MTop-Div", "precision", "Wasserstein", "p = "):
        assert words in text


def test_same_seed_same_answer(extra, found):
    assert compare(*extra, permutations=39, generator=generator()) == found


def test_rips_in_four_dimensions():
    flat = draw("flat_torus", 200)
    circle = torch.nn.functional.pad(draw("circle", 300), (0, 2))
    found = compare(flat, circle, permutations=19, landmarks=100, generator=generator())
    assert found.ambient_dim == 4 and found.halves.p_values[1] == pytest.approx(0.05)


def test_refusals():
    x = draw("circle", 50)
    with pytest.raises(InvalidInputError, match=r"R\^2 and R\^3"):
        compare(x, draw("sphere", 50))
    with pytest.raises(InvalidInputError, match="y: found 5 points"):
        compare(x, x[:5])
    with pytest.raises(InvalidInputError, match="landmarks"):
        compare(x, x, landmarks=1)
    with pytest.raises(InvalidInputError, match="fields"):
        compare(x, x, fields=(4,))
