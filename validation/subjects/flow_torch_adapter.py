"""The flow under the names of the kit."""
import torch as _torch

import flow_torch as _flow

dtype = "float32"
_path = _flow.LinearPath()


def array(a):
    a = _torch.as_tensor(a)
    return a.float() if a.is_floating_point() else a


def path_sample(x_0, noise, time):
    return _path.mix(x_0, noise, time)


def path_velocity(x_0, noise):
    return _path.target(x_0, noise)


def path_loss(x_0, noise, time, network):
    return _flow.FlowMatching(network).loss(x_0, noise, time)


def x_0_from_velocity(velocity, x_t, time):
    return _path.data_from_v(velocity, x_t, time)


def noise_from_velocity(velocity, x_t, time):
    return _path.noise_from_v(velocity, x_t, time)


def score_from_velocity(velocity, x_t, time):
    return _path.score_from_v(velocity, x_t, time)


def path_alpha_bar(time):
    return _path.alpha_bar(time)


def path_shifted(time, shift):
    return _flow.shift_time(time, shift)


def path_drawn(noise, mean, spread):
    return _flow.FlowMatching(None, loc=mean, scale=spread).draw_time(normal=noise)


def path_step(x_t, time, time_next, network):
    return _flow.ODESampler(network).euler(x_t, time, time_next)


def path_stochastic_step(x_t, time, time_next, network, noise, diffusion):
    return _flow.ODESampler(network).sde(x_t, time, time_next, noise, diffusion)


def path_euler_sample(x_t, count, network):
    return _flow.ODESampler(network).sample(x_t, count)


def guided_prediction(conditional, unconditional, weight):
    return _flow.cfg(conditional, unconditional, weight)


def rescaled_guidance(guided, conditional, share):
    return _flow.cfg_rescale(guided, conditional, share)
