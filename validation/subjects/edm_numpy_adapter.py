"""My EDM functions under the names of the kit."""
import edm_numpy as edm


def sigma_of_t(t, beta):
    return edm.vp_sigmas(beta)[t]


def sigma_state(x_t, t, beta):
    return edm.vp_to_ve(x_t, t, beta)


def sigma_sample(x_0, noise, sigma):
    return edm.diffuse(x_0, noise, sigma)


def sigma_scalings(sigma, sigma_data):
    return edm.scalings(sigma, sigma_data)


def sigma_denoised(x_t, sigma, network, sigma_data):
    return edm.denoise(network, x_t, sigma, sigma_data)


def sigma_weight(sigma, sigma_data):
    return edm.loss_weight(sigma, sigma_data)


def sigma_loss(x_0, noise, sigma, network, sigma_data):
    return edm.edm_loss(network, x_0, noise, sigma, sigma_data)


def sigma_drawn(noise, p_mean, p_std):
    return edm.draw_sigma(noise, p_mean, p_std)


def sigma_density(sigma, p_mean, p_std):
    return edm.sigma_pdf(sigma, p_mean, p_std)


def sigma_levels(count, sigma_max, sigma_min, rho):
    return edm.karras_sigmas(count, sigma_min, sigma_max, rho)


def sigma_slope(x_t, denoised, sigma):
    return edm.to_d(x_t, sigma, denoised)


def sigma_euler_step(x_t, sigma, sigma_next, network):
    return edm.euler_step(network, x_t, sigma, sigma_next)


def sigma_heun_step(x_t, sigma, sigma_next, network):
    return edm.heun_step(network, x_t, sigma, sigma_next)


def sigma_churned_step(x_t, noise, sigma, sigma_next, network, count, s_churn, s_min, s_max, s_noise):
    return edm.stochastic_heun_step(network, x_t, noise, sigma, sigma_next, count, s_churn, s_min, s_max, s_noise)


def sigma_ancestral_split(sigma, sigma_next, share):
    return edm.get_ancestral_step(sigma, sigma_next, share)


def sigma_ancestral_step(x_t, noise, sigma, sigma_next, network, share):
    return edm.ancestral_euler_step(network, x_t, noise, sigma, sigma_next, share)


def sigma_multistep(x_t, denoised, denoised_before, sigma_before, sigma, sigma_next):
    return edm.dpmpp_2m_step(x_t, denoised, denoised_before, sigma_before, sigma, sigma_next)


def sigma_euler_sample(x_t, sigmas, network):
    return edm.sample_euler(network, x_t, sigmas)


def sigma_heun_sample(x_t, sigmas, network):
    return edm.sample_heun(network, x_t, sigmas)


def sigma_multistep_sample(x_t, sigmas, network):
    return edm.sample_dpmpp_2m(network, x_t, sigmas)


def sigma_log_likelihood(x_0, sigmas, network):
    return edm.ode_log_likelihood(network, network.trace, x_0, sigmas)


def sinusoidal(time, width):
    return edm.positional_embedding(time, width)
