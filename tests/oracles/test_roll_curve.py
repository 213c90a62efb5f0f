"""roll_curve against brute force: 400,000 points of the roll, defined once more here."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial import cKDTree

from refdpm.oracles import roll_curve as rc

START, END = 1.5 * np.pi, 4.5 * np.pi


def roll(phi):
    """The definition, with the mean and the scale found by numerical integration."""
    def mean_of(f):
        return quad(f, START, END, epsabs=1e-12, limit=200)[0] / (3 * np.pi)

    centre = np.array([mean_of(lambda a: a * np.cos(a)), mean_of(lambda a: a * np.sin(a))])
    scale = np.sqrt((mean_of(lambda a: a * a) - centre @ centre) / 2)
    return (np.stack([phi * np.cos(phi), phi * np.sin(phi)], axis=-1) - centre) / scale


def midpoints(N):
    return roll(START + (END - START) * (np.arange(N) + 0.5) / N)


MANY = midpoints(400_000)


def test_definition():
    phi = np.linspace(START, END, 7)
    np.testing.assert_allclose(rc.curve(phi), roll(phi), atol=1e-12)
    np.testing.assert_allclose(rc.points(1000), midpoints(1000), atol=1e-12)
    np.testing.assert_allclose(rc.SCALE, 6.7890946, atol=5e-8)


def test_moments():
    """The midpoint rule is off by 1e-10 here. Published: .95167288, .0930312, 1.04832712."""
    np.testing.assert_allclose(MANY.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(rc.covariance(), MANY.T @ MANY / len(MANY), atol=1e-9)
    np.testing.assert_allclose(np.trace(rc.covariance()), 2, rtol=1e-14)
    np.testing.assert_allclose(rc.covariance(), [[.95167288, .0930312], [.0930312, 1.04832712]], atol=5e-9)


def test_length_and_entropy():
    """Density with respect to length: speed of φ over the speed of length. Published: 13.164240, 3.655159 bits."""
    chord = np.sqrt(np.sum(np.diff(MANY, axis=0) ** 2, axis=1))
    np.testing.assert_allclose(rc.curve_length(), chord.sum(), rtol=1e-5)
    np.testing.assert_allclose(rc.curve_entropy(), np.mean(np.log(len(chord) * chord)), rtol=1e-5)
    assert f"{rc.curve_length():.6f}" in ("13.164240", "13.164241")
    assert f"{rc.curve_entropy() / np.log(2):.6f}" == "3.655159"


@pytest.mark.parametrize("noise", [1e-3, 0.03, 0.2, 1.0, 30.0])
def test_nodes_integrate(noise):
    x, weight = rc.curve_nodes(noise, 8 * noise)
    np.testing.assert_allclose(weight.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(weight @ x, 0, atol=1e-12)
    np.testing.assert_allclose((x.T * weight) @ x, rc.covariance(), atol=1e-12)
    np.testing.assert_allclose(weight @ np.exp(x[:, 0] - x[:, 1] ** 2), np.exp(MANY[:, 0] - MANY[:, 1] ** 2).mean(), rtol=1e-9)


def test_pieces_cover_the_length():
    for longest, shortest in ((0.4, 0.4), (0.4, 1e-6), (0.01, 1e-3), (5.0, 5.0)):
        edges = rc._pieces(13.0, longest, shortest)
        assert edges[0] == 0 and edges[-1] == 13
        pieces = np.diff(edges)
        assert np.all(pieces > 0) and pieces.max() < 1.0001 * longest
        np.testing.assert_allclose(pieces, pieces[::-1], rtol=1e-6)
        np.testing.assert_allclose(pieces[0], min(shortest, pieces.max()), rtol=0.2)


def test_distance():
    """Against the nearest of MANY points: never larger; the squares differ by half a spacing, 2.5e-5, squared, times

    1 + curvature · distance, at most 1 + 1.5 · 5. Half of the points lie where the centres of curvature are.
    """
    many = np.concatenate([MANY, roll(np.array([START, END]))])
    x = np.random.default_rng(0).uniform(-1, 1, size=(1000, 2)) * np.repeat([0.5, 3.0], 500)[:, None]
    nearest, found = cKDTree(many).query(x)[0], rc.distance_to_curve(x)
    assert np.all(found <= nearest + 1e-13)
    assert np.all(nearest ** 2 - found ** 2 <= 8.5 * 2.5e-5 ** 2)
    np.testing.assert_allclose(found, rc.distance_to_curve(x, steps=40), atol=1e-13)
    np.testing.assert_allclose(rc.distance_to_curve(MANY[::997]), 0, atol=1e-14)


def test_distance_along_a_normal():
    """A point moved off the roll at a right angle, by less than half the spacing of the arms, is that far away."""
    phi = np.linspace(1.6 * np.pi, 4.4 * np.pi, 40)
    tangent = np.stack([np.cos(phi) - phi * np.sin(phi), np.sin(phi) + phi * np.cos(phi)], -1)
    normal = tangent[:, ::-1] * [1, -1] / np.sqrt(1 + phi[:, None] ** 2)
    for away in (-0.4, -1e-3, 1e-6, 0.3):
        np.testing.assert_allclose(rc.distance_to_curve(rc.curve(phi) + away * normal), abs(away), rtol=1e-9)


def test_distance_beyond_the_ends():
    """Straight on from an end, the end is nearest."""
    for phi, sign in ((START, -1), (END, 1)):
        tangent = np.array([np.cos(phi) - phi * np.sin(phi), np.sin(phi) + phi * np.cos(phi)])
        beyond = rc.curve(phi) + sign * 0.2 * tangent / np.sqrt(1 + phi ** 2)
        np.testing.assert_allclose(rc.distance_to_curve(beyond[None]), 0.2, rtol=1e-12)
