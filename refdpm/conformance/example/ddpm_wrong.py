"""The DDPM of `ddpm` with one line changed: the table of ᾱ_{t−1} is padded on the wrong side, as in a much used program once."""

import numpy as np

from refdpm.conformance.example import ddpm

dtype = ddpm.dtype


class WrongDDPM(ddpm.DDPM):
    """ᾱ_t in the place of ᾱ_{t−1}."""

    def previous(self, abar):
        return np.append(abar, 1.0)[:len(abar)]


def make(beta):
    """What the kit asks for: the object that has the functions, for a schedule (T,)."""
    return WrongDDPM(beta)
