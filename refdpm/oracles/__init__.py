"""Oracles: what the right answer is, found by another road.

An oracle answers a question about a diffusion model on data so simple that the answer can be had without the
theory this package teaches: by covariance algebra, or by numerical integration until the digits stand still.
It imports nothing from the rest of the package, so that it cannot be wrong in the same line. The tests of the
theory compare with it; its own tests compare it with a second road and with published tables.

    common            beta -> log ᾱ; a mean with its covariance
    linear_gaussian   Gaussian data, linear Gaussian reverse kernels: K, eq. 12, likelihood, by covariances
    mixture           data a mixture of Gaussians: density, score, denoiser and posterior at every level
    quadrature        one dimension, any density, any Gaussian reverse model: all on grids, Bayes by product
    swiss_roll        the noiseless roll: ceiling of K, denoiser, the best K of a schedule, the best schedule
    roll_curve          the roll as a curve: nodes for integrals along it, distance from it
    roll_field          the roll seen through noise
    schedule_search     the T levels of the smallest total cost: a shortest path
    enumeration       bits: every state and every path of short sequences, all of eqs. 1 to 14 by sums
    heartbeat         the heartbeat at 20 bits and any T: ceiling of K, likelihood, entropies, by symmetry
    empirical         a finite data set: its best kernels, denoiser and K, whatever the network
    multiplied        a model times a factor r, step by step: what that samples, and what was wanted
    wiener            images: the best normal law, and the best linear denoiser with its error
    two_sample        are two samples from one law?

A level is given as log ᾱ, never as ᾱ, so that 1 − ᾱ keeps all its digits. Everything is in nats.
"""
