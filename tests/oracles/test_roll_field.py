"""roll_field against the plainest sum: always all of the roll, no windows, no tiles, no grading at the ends."""

import numpy as np
import pytest

from refdpm.oracles import roll_curve as rc
from refdpm.oracles import roll_field as rf


def by_sum(y, noise, N=6000):
    """log density, E and Cov from N equal parts of φ with five Gauss points in each."""
    node, weight_0 = np.polynomial.legendre.leggauss(5)
    x_0 = rc.curve((rc.START + 3 * np.pi / N * (np.arange(N)[:, None] + (1 + node) / 2)).ravel())
    weight_0 = np.tile(weight_0, N) / (2 * N)
    rows = []
    for a in y:
        log_weight = -0.5 * np.sum((a - x_0) ** 2, axis=1) / noise ** 2
        top = log_weight.max()
        weight = np.exp(log_weight - top) * weight_0
        log_density = np.log(weight.sum()) + top - np.log(2 * np.pi * noise ** 2)
        weight /= weight.sum()
        mean = weight @ x_0
        off = x_0 - mean
        rows.append((log_density, mean, (off.T * weight) @ off))
    return [np.array(column) for column in zip(*rows)]


def examples(noise, away):
    """Points a few noises from the roll, some more up to `away` from it, and some straight beyond its two ends."""
    rng = np.random.default_rng(1)
    near = rc.points(20) + noise * rng.normal(size=(20, 2))
    far = rc.points(7) + away * rng.uniform(-1, 1, size=(7, 2))
    ends = rc.curve(np.array([rc.START, rc.END])) + 6 * noise * np.array([[-0.977, 0.208], [0.998, 0.070]]) * [[-1], [-1]]
    return rng.permutation(np.concatenate([near, far, ends]))


@pytest.mark.parametrize("noise, away", [(0.01, 0.1), (0.05, 1.5), (0.2, 2.0), (0.7, 5.0), (20.0, 100.0)])
def test_field(noise, away):
    y = examples(noise, away)
    found, (log_density, mean, cov) = rf.field_at(y, noise), by_sum(y, noise)
    np.testing.assert_allclose(found.log_density, log_density, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.moments.mean, mean, rtol=1e-9, atol=1e-9 * noise)
    np.testing.assert_allclose(found.moments.cov, cov, rtol=1e-8, atol=1e-9 * min(noise, 1) ** 2)


def test_field_at_very_large_noise():
    """Nothing is left but the roll itself, to first order in 1/noise²."""
    found = rf.field_at(np.array([[1.0, -2.0], [3e8, 0.0]]), 1e8)
    np.testing.assert_allclose(found.moments.cov, np.broadcast_to(rc.covariance(), (2, 2, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.moments.mean, 0, atol=1e-6)


def test_neighbours_of_opposite_sides():
    """Two points share a nearest node, on either side of the roll; for one of them the next arm counts as well."""
    phi, noise = 4.1 * np.pi, 0.05
    tangent = np.array([np.cos(phi) - phi * np.sin(phi), np.sin(phi) + phi * np.cos(phi)]) / np.sqrt(1 + phi ** 2)
    y = rc.curve(np.array(phi)) + np.array([[0.45], [-0.45]]) * [-tangent[1], tangent[0]]
    found, (log_density, mean, cov) = rf.field_at(y, noise), by_sum(y, noise)
    np.testing.assert_allclose(found.log_density, log_density, rtol=1e-9)
    np.testing.assert_allclose(found.moments.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(found.moments.cov, cov, rtol=1e-8)


def test_one_point():
    alone, together = rf.field_at(np.array([[0.5, 0.1]]), 0.1), rf.field_at(examples(0.1, 1.0), 0.1)
    np.testing.assert_allclose(alone.moments.cov, by_sum([[0.5, 0.1]], 0.1)[2], rtol=1e-7)
    assert together.log_density.shape == (29,) and together.moments.var.shape == (29, 2)


@pytest.mark.parametrize("noise, spacing", [(0.004, 1.0), (0.03, 0.7), (0.15, 0.7), (0.4, 0.7), (1.0, 0.7), (50.0, 0.7)])
def test_lattice(noise, spacing):
    """What does not depend on a hidden integral: mass 1, the moments of y, and the law of total covariance."""
    weight, (_, moments) = rf.lattice(noise, spacing)
    np.testing.assert_allclose(weight.sum(), 1, rtol=1e-8)
    np.testing.assert_allclose(weight @ moments.mean, 0, atol=1e-7)
    total = np.einsum("n,nij->ij", weight, moments.cov) + (moments.mean.T * weight) @ moments.mean
    np.testing.assert_allclose(total, rc.covariance(), atol=1e-7)


def test_lattice_mean_of_a_function():
    """Means of two functions of y, against y = x_0 + ρ ε with midpoints for x_0 and Gauss–Hermite points for ε."""
    noise, node = 0.3, np.polynomial.hermite_e.hermegauss(20)
    x_0 = rc.points(150)
    eps, weight_of_eps = np.stack(np.meshgrid(node[0], node[0]), -1).reshape(-1, 2), np.outer(node[1], node[1]).ravel()
    used = weight_of_eps > 1e-6 * weight_of_eps.max()
    y = (x_0[:, None] + noise * eps[used]).reshape(-1, 2)
    weight, field = rf.lattice(noise, 0.7)
    direct, mass = rf.field_at(y, noise), np.tile(weight_of_eps[used] / weight_of_eps[used].sum(), len(x_0)) / len(x_0)
    for f in (lambda field: np.log1p(9 * field.moments.var[:, 0]), lambda field: field.log_density):
        np.testing.assert_allclose(weight @ f(field), mass @ f(direct), atol=2e-4)
