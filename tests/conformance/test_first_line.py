"""What somebody who does not know the kit reads first, of mistakes in plain NumPy that owes the kit nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance.judge import Effort
from refdpm.conformance.report import headline
from refdpm.conformance.session import check


def first_line(functions):
    return headline(check(SimpleNamespace(__name__="program", **functions), effort=Effort(max_examples=3)))


class Chain:
    """A chain of numbers, one schedule at a time, and the loss of a network that predicts noise."""

    def __init__(self, beta):
        self.abar = np.append(1.0, np.cumprod(1 - np.asarray(beta, dtype=float)))

    def at(self, t, x):
        return self.abar[t].reshape(-1, *[1] * (x.ndim - 1))

    def marginal_sample(self, x_0, t, noise):
        a = self.at(t, x_0)
        return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise

    def x_0_from_noise(self, noise, x_t, t):
        a = self.at(t, x_t)
        return (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a)

    def x_0_from_model(self, x_t, t, model):
        return self.x_0_from_noise(model(x_t, t), x_t, t)

    def weight(self, snr):
        return np.minimum(snr, 5.0) / snr

    def mean(self, weight, error):
        return (weight * error).mean()

    def training_loss(self, x_0, t, noise, model):
        a = self.at(t, x_0)
        return self.mean(self.weight(a / (1 - a)), (noise - model(self.marginal_sample(x_0, t, noise), t)) ** 2)


def of_chain(**otherwise):
    return first_line({"make": type("Changed", (Chain,), otherwise)})


def test_the_programs_without_their_mistakes_pass():
    assert "pass" in of_chain() and "wrong" not in of_chain()


# a wrong weight of a loss tells nothing of the weight that is meant
@pytest.mark.parametrize("weight, says", [
    (lambda self, snr: np.maximum(snr, 5.0) / snr, "cases exchanged: gamma and ᾱ_t/(1 − ᾱ_t); if its loss_weight is min_snr"),
    (lambda self, snr: np.minimum(1 / snr, 5.0) / snr, "ᾱ_t/(1 − ᾱ_t) the other way round in"),
    (lambda self, snr: np.minimum(snr, 5.0), "divisor left out: ᾱ_t/(1 − ᾱ_t)")])
def test_a_wrong_weight_of_a_loss_is_found_among_all_weights(weight, says):
    assert says in of_chain(weight=weight)


@pytest.mark.parametrize("mean, says", [
    (lambda self, w, error: w.mean() * error.mean(), "is averaged by itself, and not together with"),
    (lambda self, w, error: (w * error).sum() / w.sum(), "divided by the sum of (gamma if ᾱ_t/(1 − ᾱ_t) > gamma, else ᾱ…"),
    (lambda self, w, error: (w * error).mean() / len(error), "it is divided by the number of rows")])
def test_a_mean_in_the_place_of_another(mean, says):
    assert says in of_chain(mean=mean)
