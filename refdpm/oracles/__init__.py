"""Oracles: what the right answer is, found by another road.

An oracle answers a question about a diffusion model on data so simple that the answer can be had without the
theory this package teaches: covariance algebra, enumeration, or numerical integration until the digits stand still.
It imports nothing from the rest of the package, so that it cannot be wrong in the same line; the tests of the theory
compare with it, and its own tests compare it with a second road, or with what the paper's readers have published.

    common            beta -> log ᾱ, and the container of a mean with its covariance
    linear_gaussian   Gaussian data, linear Gaussian reverse kernels: K, eq. 12, the likelihood, in covariance matrices
    mixture           data a mixture of Gaussians: density, denoiser, score and posterior at every level
    quadrature        one dimension, any density, any Gaussian reverse model: everything on grids, Bayes by product
    swiss_roll        the noiseless roll: ceiling of K, denoiser, the best K of a schedule
    roll_curve        the roll as a curve: its nodes, its nearest point, and integrals along it
    best_schedule     the T levels with the smallest sum of step costs, as a shortest path

Everything is in nats. A level is given as log ᾱ, never as ᾱ, so that 1 − ᾱ keeps all its digits.
"""
