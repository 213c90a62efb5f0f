"""What came later, derived from the paper's chain: predictions, variances, a decoder, DDPM's bound, DDIM, flows, symbols, guidance.

For real numbers nothing about the forward process is new.  q(x_t | x_0) = N(√ᾱ_t x_0, 1−ᾱ_t) and its posterior are those of
`gaussian`, a schedule is one of `schedule`, and every level comes as ℓ = log ᾱ.  What is new is how a network speaks about the
reverse step, how x_0 is counted once it is a level out of 256, and which of the many chains with the same marginals is run
backwards.  The chain of symbols is the one of `binomial`, r = ½, with more than two values.

    parametrisation   x_0, noise, v, score and posterior mean say the same, given x_t
    mean              the mean of the reverse step from any of them, and back, by name
    weights           what an error in one of them is in another, and in the divergence of a step: signal-to-noise ratios
    variance          the variance of the reverse step: β̃, β, or between; what to do at t = 1, where β̃ = 0
    decoder           the exact mass that a normal law has in the bin of a level
    model             a network that predicts, read as one that `bound`, `likelihood` and `sample` know
    objective         the bound with that decoder, in bits per dimension, and how it differs from K
    loss              what is minimised in training: squared errors of a prediction, with the weights of several authors
    sampler           the steps of DDIM, of which ancestral sampling is one; fewer steps than the chain has
    sigma             the chain divided by √ᾱ, and what a network is told then
    solver            steps along the flow of that chain: Euler, Heun, DPM-Solver++ 2M, ancestral steps
    path              straight paths from data to noise, as in flow matching
    categorical       the chain of symbols of K classes, and its reverse step from logits
    masked            its limit of many steps, with a mask
    guidance          a prediction drawn towards a class, with a classifier or without

Where a docstring states no shape, the value has the shape to which the arrays of its arguments are broadcast.  Throughout, with
the columns of a `Step`:

    a = ᾱ_{t−1}        v = 1 − ᾱ_{t−1}        w = 1 − ᾱ_t = v + aβ        ᾱ_t = a(1−β)        c_0 = √a β/w        c_t = √(1−β) v/w

Sources: Ho, Jain, Abbeel 2020 (noise, decoder); Nichol, Dhariwal 2021 (range of variances); Song, Meng, Ermon 2021 (DDIM); Kingma,
Salimans, Poole, Ho 2021 (signal-to-noise ratios); Salimans, Ho 2022 (v); Hoogeboom et al. 2021 and Austin et al. 2021 (symbols).
The modules name those of the rest.
"""
