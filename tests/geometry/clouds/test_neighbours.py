"""Neighbours against brute force, local PCA against its definition, quadratic sheets against surfaces known in closed form."""

import pickle

import pytest
import torch

from topogen.geometry.clouds.neighbours import Tree, components, local_fit, local_pca, nearest, nearest_distance, terms


def cloud(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def saddle(n, seed=0):
    z = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
    return torch.cat([z, (z[:, :1] ** 2 - 2 * z[:, 1:] ** 2 + 0.3 * z[:, :1])], 1)


@pytest.mark.parametrize("dim", [1, 3, 20, 21, 60])
def test_nearest_agrees_with_brute_force_on_both_engines(dim):
    x = cloud(300, dim)
    distances, indices = nearest(x, 7)
    full = (x.unsqueeze(1) - x).norm(dim=-1).fill_diagonal_(torch.inf)
    expected, places = full.sort(dim=1)
    torch.testing.assert_close(distances, expected[:, :7])
    assert torch.equal(indices, places[:, :7])


@pytest.mark.parametrize("dim", [3, 40])
def test_nearest_of_queries_includes_a_query_that_belongs_to_the_cloud(dim):
    x = cloud(100, dim)
    distances, indices = nearest(x, 3, x[10:20])
    assert torch.equal(indices[:, 0], torch.arange(10, 20))
    assert float(distances[:, 0].max()) == 0.0


@pytest.mark.parametrize("dim", [3, 40])
def test_nearest_distance_is_exact(dim):
    x, y = cloud(40, dim).float(), cloud(60, dim, seed=1)
    assert torch.allclose(nearest_distance(x, y), torch.cdist(x.double(), y, compute_mode="donot_use_mm_for_euclid_dist").amin(1), rtol=1e-13)


def test_many_dimensions_far_from_the_origin_lose_no_near_point():
    """Squares of 1e10 cannot tell 1e-4 from 0: differences do."""
    y = 1e5 + torch.eye(1, 30, dtype=torch.float64) * torch.arange(1, 7, dtype=torch.float64).unsqueeze(1) * 1e-4
    x = torch.full((1, 30), 1e5, dtype=torch.float64)
    distances, indices = nearest(y, 2, x)
    assert indices.tolist() == [[0, 1]]
    assert distances[0].tolist() == pytest.approx([1e-4, 2e-4], rel=1e-6)


def test_tree_counts_and_pairs():
    x = cloud(80, 3)
    tree, distance = Tree(x), torch.cdist(x, x)
    assert torch.equal(tree.count(x[:9], 0.8), (distance[:9] <= 0.8).sum(1))
    found = tree.pairs(0.8)
    assert found.shape == (int((distance <= 0.8).triu(1).sum()), 2)
    assert bool((found[:, 0] < found[:, 1]).all()) and float(distance[found[:, 0], found[:, 1]].max()) <= 0.8
    assert Tree(x).pairs(0.0).shape == (0, 2)


def test_nearest_excludes_self_by_index_and_counts_duplicates():
    x = torch.zeros(6, 2, dtype=torch.float64)
    distances, indices = nearest(x, 3)
    assert distances.shape == (6, 3)
    assert float(distances.max()) == 0.0
    assert all(len({i, *row}) == 4 for i, row in enumerate(indices.tolist()))


def test_nearest_is_cut_to_the_points_there_are():
    assert nearest(cloud(4, 2), 10)[0].shape == (4, 3)
    assert nearest(cloud(4, 2), 10, cloud(2, 2))[0].shape == (2, 4)


@pytest.mark.parametrize("k", [4, 30])
def test_local_pca_is_the_eigendecomposition_of_the_local_covariance(k):
    x = cloud(200, 6)
    indices = nearest(x, k, x[:5])[1]
    mean, values, frames = local_pca(x, indices)
    for row, m, v, f in zip(indices, mean, values, frames, strict=True):
        covariance = torch.cov(x[row].T)
        torch.testing.assert_close(m, x[row].mean(0))
        torch.testing.assert_close(f @ torch.diag(v) @ f.T, covariance)
        torch.testing.assert_close(f.T @ f, torch.eye(min(k, 6), dtype=x.dtype), atol=1e-10, rtol=0) if k >= 6 else None
        assert bool((v[:-1] >= v[1:] - 1e-12).all())


def test_local_fit_of_a_quadratic_surface_leaves_no_residual_and_finds_its_normal():
    x = saddle(4000)
    inner = x[x[:, :2].abs().amax(1) < 0.3]
    fit = local_fit(x, inner, nearest(x, 30, inner)[1], 2)
    normal = torch.stack([2 * inner[:, 0] + 0.3, -4 * inner[:, 1], -torch.ones(len(inner), dtype=x.dtype)], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    # The sheet is a quadratic over the tilted plane of the neighbours, not over (x, y): it agrees up to third order in the radius.
    assert float((normal.unsqueeze(1) @ fit.tangent).abs().max()) < 0.02
    assert float((fit.centre - inner).norm(dim=1).max()) < 1e-3
    assert float(fit.variance.median().sqrt()) < 1e-4


def test_local_fit_denoises_and_measures_the_noise():
    sigma = 0.01
    clean = saddle(4000)
    x = clean + sigma * cloud(4000, 3, seed=1)
    inner = clean[:, :2].abs().amax(1) < 0.35
    fit = local_fit(x, x[inner], nearest(x, 80, x[inner])[1], 2)

    def height(y):
        return (y[:, 2] - (y[:, 0] ** 2 - 2 * y[:, 1] ** 2 + 0.3 * y[:, 0])).abs()

    assert float(height(fit.centre).mean()) < 0.4 * float(height(x[inner]).mean())
    assert float(fit.variance.median().sqrt()) == pytest.approx(sigma, rel=0.1)


def test_local_fit_survives_repeated_points_and_few_neighbours():
    x = torch.zeros(10, 3, dtype=torch.float64)
    x[5:, 0] = 1
    fit = local_fit(x, x, nearest(x, 5, x)[1], 2)
    assert all(bool(part.isfinite().all()) for part in fit)


def test_terms_counts_the_monomials():
    assert [terms(d) for d in (1, 2, 3)] == [3, 6, 10]


def test_components_labels_the_pieces():
    number, labels = components(6, torch.tensor([[0, 1], [1, 2], [4, 3]]))
    assert number == 3
    assert labels.tolist() == [0, 0, 0, 1, 1, 2]


def test_nothing_is_mutated():
    x = cloud(50, 3)
    before = x.clone()
    local_fit(x, x, nearest(x, 12, x)[1], 2)
    assert torch.equal(x, before)


@pytest.mark.parametrize("ambient", [3, 40])
def test_a_tree_asked_many_times_answers_as_nearest_does(ambient):
    points, queries = cloud(300, ambient), cloud(20, ambient, 1)
    tree = pickle.loads(pickle.dumps(Tree(points)))  # noqa: S301
    for _ in range(2):
        distances, indices = tree.nearest(queries, 4)
        wanted = nearest(points, 4, queries)
        assert torch.allclose(distances, wanted[0], atol=1e-12)
        assert torch.equal(indices, wanted[1])


def test_many_points_are_asked_leaf_by_leaf_with_the_same_answers(monkeypatch):
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = nearest(points, 5), nearest(points, 5, points)
    monkeypatch.setattr("topogen.geometry.clouds.neighbours.MANY", 100)
    after = nearest(points, 5), nearest(points, 5, points)
    assert all(torch.equal(a, b) for one, other in zip(before, after, strict=True) for a, b in zip(one, other, strict=True))
