"""The clauses of σ, of solvers, of straight paths and of a schedule of masks: code that owes nothing to this package passes, in
either precision and direction; slips in it are found and called what they are."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance.adapter import Network
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.judge import Effort
from refdpm.conformance.session import check

QUICK = Effort(max_examples=4, shrinks=0)


# -- as it is published -------------------------------------------------------------------------------------------------

def scalings(sigma, data):
    total = sigma ** 2 + data ** 2
    return data ** 2 / total, sigma * data / np.sqrt(total), total ** -0.5, np.log(sigma) / 4


def denoise(net, x, sigma, data):
    skip, out, into, told = scalings(sigma, data)
    return skip * x + out * net(into * x, told)


def d(net, x, at):
    return (x - net(x, at)) / at


def heun(net, x, at, to):
    first = d(net, x, at)
    there = x + (to - at) * first
    return x + (to - at) * (first + d(net, there, to)) / 2 if to > 0 else there


def churned(net, x, noise, at, to, count, churn, low, high, scale, least=min):
    raised = at * (1 + (least(churn / count, 2 ** 0.5 - 1) if low <= at <= high else 0))
    return heun(net, x + np.sqrt(raised ** 2 - at ** 2) * scale * noise, raised, to)


def split(at, to, eta):
    up = np.minimum(to, eta * np.sqrt(to ** 2 * (at ** 2 - to ** 2) / at ** 2))
    return np.sqrt(to ** 2 - up ** 2), up


def ancestral(net, x, noise, at, to, eta):
    down, up = split(at, to, eta)
    return x + (down - at) * d(net, x, at) + up * noise


def two_looks(x, now, before, at_before, at, to):
    h, r = np.log(at / to), np.log(at_before / at) / np.log(at / to)
    return to / at * x - np.expm1(-h) * ((1 + 0.5 / r) * now - 0.5 / r * before)


def log_likelihood(net, x, levels, sign=1.0, start=1.0):
    """State and change of volume together, by Heun's rule."""
    volume, size = 0.0, x.shape[1]
    for at, to in zip(levels, levels[1:]):
        there = x + (to - at) * d(net, x, at)
        volume = volume + (to - at) / 2 * ((size - net.trace(x, at)) / at + (size - net.trace(there, to)) / to)
        x = x + (to - at) * (d(net, x, at) + d(net, there, to)) / 2
    return sign * volume - ((x / levels[-1]) ** 2 + np.log(2 * np.pi) + 2 * start * np.log(levels[-1])).sum(axis=1) / 2


def chain(step):
    def run(net, x, levels):
        for at, to in zip(levels, levels[1:]):
            x = step(net, x, at, to)
        return x
    return run


def chain_of_two_looks(net, x, levels):
    looks = []
    for n, (at, to) in enumerate(zip(levels, levels[1:])):
        looks.append(net(x, at))
        x = two_looks(x, *looks[:-3:-1], levels[n - 1], at, to) if n and to > 0 else x + (to - at) * (x - looks[-1]) / at
    return x


def noisy_chain(step):
    def run(net, x, sigmas, noise, *more):
        for at, to, z in zip(sigmas, sigmas[1:], noise):
            x = step(net, x, z, at, to, *more)
        return x
    return run


def levels(count, low, high, rho):
    share = np.linspace(0, 1, count)
    return np.append((share * low ** (1 / rho) + (1 - share) * high ** (1 / rho)) ** rho, 0)


FUNCTIONS = dict(
    sigma_sample=lambda x_0, noise, sigma: x_0 + sigma * noise,
    sigma_scalings=lambda sigma, sigma_data: scalings(sigma, sigma_data),
    sigma_denoised=lambda net, x, sigma, sigma_data: denoise(net, x, sigma, sigma_data),
    sigma_weight=lambda sigma, sigma_data: scalings(sigma, sigma_data)[1] ** -2,
    sigma_loss=lambda net, x_0, noise, sigma, sigma_data: np.mean(
        ((denoise(net, x_0 + sigma * noise, sigma, sigma_data) - x_0) / scalings(sigma, sigma_data)[1]) ** 2),
    sigma_drawn=lambda p_mean, p_std, noise: np.exp(p_mean + p_std * noise),
    sigma_density=lambda sigma, p_mean, p_std: np.exp(-((np.log(sigma) - p_mean) / p_std) ** 2 / 2) / (
        sigma * p_std * np.sqrt(2 * np.pi)),
    sigma_levels=lambda count, sigma_min, sigma_max, rho: levels(count, sigma_min, sigma_max, rho),
    sigma_slope=lambda x, denoised, sigma: (x - denoised) / sigma,
    sigma_euler_step=lambda net, x, sigma, sigma_next: x + (sigma_next - sigma) * d(net, x, sigma),
    sigma_heun_step=lambda net, x, sigma, sigma_next: heun(net, x, sigma, sigma_next),
    sigma_churned_step=lambda net, x, noise, sigma, sigma_next, count, s_churn, s_min, s_max, s_noise: churned(
        net, x, noise, sigma, sigma_next, count, s_churn, s_min, s_max, s_noise),
    sigma_ancestral_split=lambda sigma, sigma_next, eta: split(sigma, sigma_next, eta),
    sigma_ancestral_step=lambda net, x, noise, sigma, sigma_next, eta: ancestral(net, x, noise, sigma, sigma_next, eta),
    sigma_multistep=lambda x, denoised, denoised_before, sigma_before, sigma, sigma_next: two_looks(
        x, denoised, denoised_before, sigma_before, sigma, sigma_next),
    sigma_euler_sample=lambda net, x, sigmas: chain(lambda net, x, at, to: x + (to - at) * d(net, x, at))(net, x, sigmas),
    sigma_heun_sample=lambda net, x, sigmas: chain(heun)(net, x, sigmas),
    sigma_multistep_sample=lambda net, x, sigmas: chain_of_two_looks(net, x, sigmas),
    sigma_ancestral_sample=lambda net, x, sigmas, noise: noisy_chain(ancestral)(net, x, sigmas, noise, 1),
    sigma_churned_sample=lambda net, x, sigmas, noise, s_churn, s_min, s_max, s_noise: noisy_chain(churned)(
        net, x, sigmas, noise, len(sigmas) - 1, s_churn, s_min, s_max, s_noise),
    mask_schedule=lambda t: (1 - np.cos(np.pi / 2 * (1 - t)), np.pi / 2 * np.tan(np.pi / 2 * (1 - t))),
    mask_sigma=lambda t, sigma_min, sigma_max: (sigma_min * (sigma_max / sigma_min) ** t, (
        sigma_min * (sigma_max / sigma_min) ** t * np.log(sigma_max / sigma_min))),
    sigma_log_likelihood=lambda net, x_0, sigmas: log_likelihood(net, x_0, sigmas) / x_0.shape[1] / np.log(2),
)


def noisy_step(model, x, noise, t, t_next, w):
    """By the noise that v says; data at t = 0."""
    v, h = model(x, t), t - t_next
    return x - h * (v + w / 2 * (x + (1 - t) * v) / t) + np.sqrt(w * h) * noise


def noisy_step_to_data(model, x, noise, t, t_next, w):
    """As in SiT: data at t = 1, and w s where t goes up."""
    v, h = model(x, t), t_next - t
    score = (t * v - x) / (1 - t)
    return x + h * (v + w / 2 * score) + np.sqrt(w) * noise * np.sqrt(h)


TO_NOISE = dict(
    score_from_velocity=lambda velocity, x, t: -x / t - (1 / t - 1) * velocity,
    path_stochastic_step=lambda model, x, noise, t, t_next, diffusion: noisy_step(model, x, noise, t, t_next, diffusion),
    path_sample=lambda x_0, noise, t: x_0 + t * (noise - x_0),
    path_velocity=lambda x_0, noise: noise - x_0,
    path_loss=lambda model, x_0, noise, t: np.mean((model((1 - t) * x_0 + t * noise, t) - (noise - x_0)) ** 2),
    x_0_from_velocity=lambda velocity, x, t: x - t * velocity,
    noise_from_velocity=lambda velocity, x, t: x - t * velocity + velocity,
    path_alpha_bar=lambda t: 1 / (1 + (t / (1 - t)) ** 2),
    path_shifted=lambda t, shift: t / (t + (1 - t) / shift),
    path_drawn=lambda noise, mean, spread: 1 / (1 + np.exp(-mean - spread * noise)),
    path_step=lambda model, x, t, t_next: x + (t_next - t) * model(x, t),
    path_euler_sample=lambda model, x, count: chain(lambda net, x, a, b: x + (b - a) * net(x, a))(
        model, x, np.linspace(1, 0, count + 1, dtype=x.dtype)),
)

TO_DATA = dict(
    score_from_velocity=lambda velocity, x, t: (t * velocity - x) / (1 - t),
    path_stochastic_step=lambda model, x, noise, t, t_next, diffusion: noisy_step_to_data(model, x, noise, t, t_next, diffusion),
    path_sample=lambda x_0, noise, t: noise + t * (x_0 - noise),
    path_velocity=lambda x_0, noise: x_0 - noise,
    path_loss=lambda model, x_0, noise, t: np.mean((x_0 - noise - model(noise + t * (x_0 - noise), t)) ** 2),
    x_0_from_velocity=lambda velocity, x, t: x + (1 - t) * velocity,
    noise_from_velocity=lambda velocity, x, t: x - t * velocity,
    path_alpha_bar=lambda t: 1 / (1 + (1 / t - 1) ** 2),
    path_shifted=lambda t, shift: t / (t + shift * (1 - t)),
    path_drawn=lambda noise, mean, spread: 1 / (1 + np.exp(-mean - spread * noise)),
    path_step=lambda model, x, t, t_next: x + (t_next - t) * model(x, t),
    path_euler_sample=lambda model, x, count: chain(lambda net, x, a, b: x + (b - a) * net(x, a))(
        model, x, np.linspace(0, 1, count + 1, dtype=x.dtype)),
)


def verdicts(functions, **more):
    return check(SimpleNamespace(**functions, **more), effort=QUICK)


@pytest.mark.parametrize("dtype,functions,data_at", [
    ("float64", FUNCTIONS | TO_NOISE, 0), ("float32", TO_NOISE, 0), ("float64", TO_DATA, 1), ("float32", FUNCTIONS | TO_DATA, 1)])
def test_code_as_it_is_published_passes(dtype, functions, data_at):
    report = verdicts(functions, dtype=dtype)
    failing = [(row["id"], row["verdict"], row["reason"]) for row in report["clauses"] if row["verdict"] not in ("pass", "skipped")]
    assert not failing and report["summary"]["pass"] >= len(functions)
    assert report["profile"]["data_at"] == data_at and report["known"]["data_at"] == "inferred"
    assert "mask_schedule" not in functions or (
        (report["profile"]["masking"], report["profile"]["rise"]) == ("cosine_masks", "geometric"))


@pytest.mark.parametrize("flow", [TO_NOISE, TO_DATA])
def test_one_time_is_an_array_whichever_way_time_runs(flow):
    def path_step(model, x, t, t_next):
        assert isinstance(t, np.ndarray) and isinstance(t_next, np.ndarray)
        return flow["path_step"](model, x, t, t_next)

    report = verdicts(dict(path_sample=flow["path_sample"], path_step=path_step))
    assert next(row for row in report["clauses"] if row["id"] == "PTH.STEP.X_NEXT")["verdict"] == "pass"


@pytest.mark.parametrize("masking,share,slope", [
    ("linear", lambda t: 1 - t, lambda t: -np.ones_like(t)),
    ("cosine_masks", lambda t: 1 - np.cos(np.pi / 2 * (1 - t)), lambda t: -np.pi / 2 * np.sin(np.pi / 2 * (1 - t)))])
def test_a_share_that_falls_short_at_both_ends_is_a_convention(masking, share, slope):
    """As in MD4, in float32."""
    def mask_schedule(t, eps):
        alpha = (1 - 2 * eps) * share(t) + eps
        return alpha, -(1 - 2 * eps) * slope(t) / (1 - alpha)

    report = verdicts(dict(mask_schedule=mask_schedule), dtype="float32")
    assert report["summary"]["wrong"] == 0 and report["summary"]["pass"] >= 2
    assert (report["profile"]["masking"], report["profile"]["floor_at"]) == (masking, "both_ends")


SLIPS = {
    "SLV-TRACE": dict(sigma_log_likelihood=lambda net, x_0, sigmas: log_likelihood(net, x_0, sigmas, sign=-1.0)),
    "SIG-P": dict(sigma_drawn=lambda p_mean, p_std, noise: np.exp(p_std + p_mean * noise)),
    "SLV-PRIOR": dict(sigma_log_likelihood=lambda net, x_0, sigmas: log_likelihood(net, x_0, sigmas, start=0.0)),
    "SLV-HEUN-BY": dict(sigma_heun_step=lambda net, x, sigma, sigma_next: x + (sigma_next - sigma) / 2 * (
        d(net, x, sigma) + (lambda there: (there - net(there, sigma_next)) / sigma)(x + (sigma_next - sigma) * d(net, x, sigma)))
        if sigma_next > 0 else net(x, sigma)),
    "SLV-UP": dict(sigma_ancestral_step=lambda net, x, noise, sigma, sigma_next, eta: (
        x + (sigma_next - sigma) * d(net, x, sigma) + split(sigma, sigma_next, eta)[1] * noise)),
    "SLV-MAX": dict(sigma_churned_step=lambda net, x, noise, sigma, sigma_next, count, s_churn, s_min, s_max, s_noise: churned(
        net, x, noise, sigma, sigma_next, count, s_churn, s_min, s_max, s_noise, least=max)),
    "SLV-2M-R": dict(sigma_multistep=lambda x, denoised, denoised_before, sigma_before, sigma, sigma_next: (
        lambda half: sigma_next / sigma * x + (1 - sigma_next / sigma) * (denoised + half * (denoised - denoised_before)))(
            np.log(sigma_before / sigma) / np.log(sigma / sigma_next) / 2)),
    "the last step is left out": dict(sigma_heun_sample=lambda net, x, sigmas: chain(heun)(net, x, sigmas[:-1])),
    "every step takes the noise of the first": dict(sigma_ancestral_sample=lambda net, x, sigmas, noise: noisy_chain(ancestral)(
        net, x, sigmas, [noise[0]] * len(noise), 1)),
    "SLV-EVERYWHERE": dict(sigma_churned_sample=lambda net, x, sigmas, noise, s_churn, s_noise: noisy_chain(churned)(
        net, x, sigmas, noise, len(sigmas) - 1, s_churn, 0, np.inf, s_noise)),
    "SLV-COUNT": dict(sigma_churned_sample=lambda net, x, sigmas, noise, s_churn, s_min, s_max, s_noise: noisy_chain(churned)(
        net, x, sigmas, noise, 1, s_churn, s_min, s_max, s_noise)),
    "divisor left out: sigma_data²": dict(sigma_weight=lambda sigma, sigma_data: 1 + sigma ** -2),
    "SIG-COUNT": dict(sigma_levels=lambda count, sigma_min, sigma_max, rho: np.append(
        levels(count + 1, sigma_min, sigma_max, rho)[:-2], 0)),
    "PTH-TARGET": dict(path_loss=lambda model, x_0, noise, t: np.mean((model((1 - t) * x_0 + t * noise, t) - noise) ** 2)),
    "PTH-ROOTS": dict(path_loss=lambda model, x_0, noise, t: np.mean(
        (model(np.sqrt(1 - t) * x_0 + np.sqrt(t) * noise, t) - (noise - x_0)) ** 2)),
    "square of shift for shift": dict(path_shifted=lambda t, shift: t / (t + (1 - t) / shift ** 2)),
    "PTH-NEXT": dict(path_step=lambda model, x, t, t_next: x + (t_next - t) * model(x, t_next)),
    "cos(π mask_time/2) for 1 − cos(π mask_time/2)": dict(
        mask_schedule=lambda t: (np.cos(np.pi / 2 * t), np.pi / 2 * np.tan(np.pi / 2 * t))),
    "PTH-NOISE-ALONE": dict(path_stochastic_step=lambda model, x, noise, t, t_next, diffusion: (
        x + (t_next - t) * model(x, t) + np.sqrt(diffusion * (t - t_next)) * noise)),
    "factor left out: ½": dict(path_stochastic_step=lambda model, x, noise, t, t_next, diffusion: (
        noisy_step(model, x, 0 * noise, t, t_next, 2 * diffusion) + np.sqrt(diffusion * (t - t_next)) * noise)),
    "PTH-COUNT": dict(path_euler_sample=lambda model, x, count: chain(lambda net, x, a, b: x - net(x, a) / count)(
        model, x, np.linspace(1, 0, count))),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_called_what_they_are(name):
    """Of the clauses those that ask the function are judged; the conventions are those of all functions."""
    asked = [quantity.id for quantity in QUANTITIES if quantity.name in SLIPS[name]]
    report = check(SimpleNamespace(**FUNCTIONS | TO_NOISE | SLIPS[name], dtype="float64"), effort=QUICK, only=asked)
    assert report["exit_code"] == 1
    first = next(row for row in report["clauses"] if row["id"] == report["causes"][0]["first"])
    assert first["function"] in SLIPS[name] and name in (first["mistake"], *first["also"]), (first["id"], first["mistake"])


def test_a_chain_of_too_low_an_order_is_found_where_its_steps_are_not_offered():
    """Heun's rule that looks at the old state is of order 1; a better rule than is asked for is no mistake of the order."""
    euler = dict(sigma_heun_sample=lambda net, x, sigmas: chain(lambda net, x, a, b: x + (b - a) * d(net, x, a))(net, x, sigmas))
    better = dict(sigma_euler_sample=FUNCTIONS["sigma_heun_sample"])
    rows = {row["id"]: row for functions in (euler, better) for row in verdicts(functions, dtype="float64")["clauses"]
            if row["verdict"] != "skipped"}
    assert rows["SLV.HEUN_LAW"]["verdict"] == "wrong" and "which is order" in rows["SLV.HEUN_LAW"]["reason"]
    assert rows["SLV.EULER_LAW"]["verdict"] == "pass" and rows["SLV.EULER_PATH.X_0"]["verdict"] == "wrong"


def test_no_order_of_a_straight_path_accuses_a_better_rule():
    """The midpoint rule is of order 3 there, and one that is a tenth too slow of none."""
    def midpoint(model, x, a, b):
        return x + (b - a) * model(x + (b - a) / 2 * model(x, a), (a + b) / 2)

    def along(step, *ends):
        return dict(path_euler_sample=lambda model, x, count: chain(step)(model, x, np.linspace(*ends, count + 1)))

    better, slow = along(midpoint, 1, 0), along(lambda model, x, a, b: x + 0.9 * (b - a) * model(x, a), 1, 0)
    rows = [next(row for row in verdicts(functions, dtype="float64")["clauses"] if row["id"] == "PTH.ORDER")
            for functions in (better, slow)]
    assert [row["verdict"] for row in rows] == ["pass", "wrong"] and "expected 1" in rows[1]["reason"]


@pytest.mark.parametrize("sign,says", [(0.5, "half of the change of volume"), (0.0, "volume is left out"), (1.1, "is off by")])
def test_a_likelihood_is_told_apart_from_wrong_sums(sign, says):
    report = verdicts(dict(sigma_log_likelihood=lambda net, x_0, sigmas: log_likelihood(net, x_0, sigmas, sign=sign)))
    row = next(row for row in report["clauses"] if row["id"] == "SLV.LIKELIHOOD")
    assert row["verdict"] == "wrong" and says in row["reason"]


@pytest.mark.parametrize("says,log", [("log σ_max is", lambda end: np.log(end)), ("log 2π is", lambda end: np.log(2 * np.pi) / 2),
                                      ("½ log(2π σ_max²) is", lambda end: np.log(2 * np.pi * end ** 2) / 2)])
def test_a_likelihood_that_counts_what_belongs_to_each_component_once(says, log):
    def once(net, x_0, sigmas):
        return log_likelihood(net, x_0, sigmas) + (x_0.shape[1] - 1) * log(sigmas[-1])

    row = next(row for row in verdicts(dict(sigma_log_likelihood=once))["clauses"] if row["id"] == "SLV.LIKELIHOOD")
    assert row["verdict"] == "wrong" and f": {says} counted once" in row["reason"]


def test_coefficients_that_do_not_keep_what_defines_them():
    wrong = dict(sigma_scalings=lambda sigma, sigma_data: scalings(sigma, 1.0), sigma_weight=FUNCTIONS["sigma_weight"])
    rows = {row["id"]: row for row in verdicts(wrong, dtype="float64")["clauses"]}
    for id, says in (("SIG.IN_LAW", "the variance of c_in x_t should be 1"), ("SIG.WEIGHT_LAW", "weight · c_out² should be 1")):
        assert rows[id]["verdict"] == "wrong" and says in rows[id]["reason"]


def test_the_network_of_levels_is_exact_for_normal_data():
    """x_0 given x by a regression over many draws, to four standard errors; and v = ε̂ − x̂_0 in both directions."""
    rng, count = np.random.default_rng(0), 200_000
    centre, spread = np.array([0.5, -1.0]), np.array([0.25, 4.0])
    x_0, noise, sigma = centre + np.sqrt(spread) * rng.normal(size=(count, 2)), rng.normal(size=(count, 2)), 1.5
    says = Network("x_0", centre, spread)
    left = (x_0 - says(x_0 + sigma * noise, sigma)) * (x_0 + sigma * noise)
    assert np.all(np.abs(left.mean(axis=0)) < 4 * left.std(axis=0) / np.sqrt(count))
    x = x_0[:3]                                            # D is linear in x, so that a step of 1 is its derivative
    for level in (sigma, np.array([[0.5], [1.5], [4.0]])):
        slopes = [(says(x + one, level) - says(x, level))[:, n] for n, one in enumerate(np.eye(2))]
        assert np.allclose(says.trace(x, level), sum(slopes))
    t = 0.25
    for data_at, x_t, v in ((0, x_0 + t * (noise - x_0), noise - x_0), (1, noise + t * (x_0 - noise), x_0 - noise)):
        left = (v - Network("velocity", centre, spread, data_at)(x_t, t)) * x_t
        assert np.all(np.abs(left.mean(axis=0)) < 4 * left.std(axis=0) / np.sqrt(count))
