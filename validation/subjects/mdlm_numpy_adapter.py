"""My masked diffusion under the names of the kit."""
import mdlm_numpy as mdlm


def log_softmax(x):
    return mdlm.log_softmax(x)


def mask_schedule(mask_time, floor):
    s = mdlm.CosineSchedule(floor)
    return s.alpha(mask_time), s.weight(mask_time)


def mask_sigma(mask_time, sigma_min, sigma_max):
    g = mdlm.GeometricNoise(sigma_min, sigma_max)
    return g.total(mask_time), g.rate(mask_time)


def masked_reverse(x_t, logits, sigma, mask, sigma_next):
    return mdlm.MaskedDiffusion(mask).reverse_probs(logits, x_t, sigma, sigma_next)


def masked_loss(x_0, x_t, logits, sigma, dsigma, mask):
    return mdlm.MaskedDiffusion(mask).nelbo(logits, x_0, x_t, sigma, dsigma)


def absorbing_ratio(x_0, x_t, logits, sigma, mask):
    return mdlm.MaskedDiffusion(mask).concrete_score(x_0, x_t, sigma, logits.shape[-1])


def categorical_draw(law_p, uniform):
    return mdlm.gumbel_argmax(law_p, uniform)


def categorical_kl(law_q, law_p):
    return mdlm.kl_divergence(law_q, law_p)


def alpha_bar(beta):
    return mdlm.AbsorbingChain(beta, 2).acp


def transition_matrix(t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).q_onestep_mat(t)


def cumulative_matrix(t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).q_mat(t)


def categorical_marginal(x_0, t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).marginal(x_0, t)


def categorical_posterior(x_0, x_t, t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).posterior(x_0, x_t, t)


def categorical_reverse(logits, x_t, t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).reverse(logits, x_t, t)


def categorical_step_kl(logits, x_0, x_t, t, beta, classes):
    return mdlm.AbsorbingChain(beta, classes).bound_term(logits, x_0, x_t, t)


def matrix_product(matrices):
    return mdlm.chain_product(matrices)


def matrix_posterior(x_0, x_t, step, before):
    return mdlm.matrix_bayes(step, before, x_0, x_t)
