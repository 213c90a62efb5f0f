"""The accuracy of the read-outs of bits and of the heartbeat's network: β from 1e-12 to 1, heads to ±40, logits to ±60."""

from collections.abc import Iterator

import numpy as np

from refdpm import schedule
from refdpm.conformance.accuracy.common import (BELOW, HEAD, RATES, Formula, Generator, Groups, Point, formulas, independent,
                                                shares_of_ones, some_bits, some_rates, wide)
from refdpm.layers.linear import Affine
from refdpm.networks import bit_readout, heartbeat
from refdpm.networks.heartbeat import Heartbeat
from refdpm.oracles import decimals_heartbeat

FORMULAS = {
    "bit_readout": (
        Formula("bit_readout.paper", lambda z: bit_readout.paper(z), decimals_heartbeat.paper, independent(z=HEAD)),
        Formula("bit_readout.skip", lambda *x: bit_readout.skip(*x[:3], rate=x[3]), decimals_heartbeat.skip,
                independent(z=HEAD, x_t=some_bits, beta=some_rates, rate=shares_of_ones)),
        Formula("bit_readout.denoising", lambda *x: bit_readout.denoising(*x[:4], rate=x[4]), decimals_heartbeat.denoising,
                independent(z=HEAD, x_t=some_bits, beta=some_rates, log_alpha_bar_prev=BELOW, rate=shares_of_ones)),
    ),
}


def _network(rng: Generator, n: int) -> Iterator[Point]:
    """Two hidden layers, three bits, six rows at their own steps, the last step a fresh draw."""
    for rate in RATES * (n // 150):
        T = 4
        beta = np.append(0.0, wide(1e-12, 0.9)(rng, T))
        beta[T] = rng.choice([beta[T], 1.0])
        hidden = tuple(Affine(rng.normal(size=shape), rng.normal(size=shape[1])) for shape in ((3, 4), (4, 5)))
        parameters = Heartbeat(hidden, rng.normal(size=(T + 1, 5, 3)) * 3, rng.normal(size=(T + 1, 3)))
        x, t = rng.integers(0, 2, (6, 3)).astype(float), rng.integers(2, T + 1, 6)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
        p = heartbeat.reverse(parameters, x, step, t=t, rate=rate)
        weights, biases = ([part.tolist() for part in parts] for parts in zip(*hidden))
        for i, s in enumerate(t.tolist()):
            laws = decimals_heartbeat.heartbeat(weights, biases, parameters.weight[s].tolist(), parameters.bias[s].tolist(),
                                                x[i].tolist(), beta[s], step.log_alpha_bar_prev[i, 0], rate)
            for d, law in enumerate(laws):
                where = dict(x=x[i].tolist(), t=s, beta=beta[s], bit=d, rate=rate)
                yield Point("heartbeat.reverse", p.logit[i, d], law.logit, where)


GROUPS: Groups = {**{group: formulas(rows) for group, rows in FORMULAS.items()}, "heartbeat": _network}
