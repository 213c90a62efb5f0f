"""The DDPM of `ddpm` with one line changed: the table of ᾱ_{t−1} is padded on the wrong side, as a much used program once had it."""

import numpy as np

from refdpm.conformance.example import ddpm

dtype = ddpm.dtype


class WrongDDPM(ddpm.DDPM):
    """ᾱ_t in the place of ᾱ_{t−1}."""

    def previous(self, abar):
        return np.append(abar, 1.0)[:len(abar)]


def make(beta):
    return WrongDDPM(beta)
