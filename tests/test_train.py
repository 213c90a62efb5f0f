"""Training: the pieces of a batch, the state, and that what is learned is learned: below the ceilings, above the start."""

import numpy as np
import pytest

from refdpm import bound, gaussian, gradcheck, likelihood, optimize, schedule, train
from refdpm.experiments import common, heartbeat, images, swiss_roll as experiment
from refdpm.oracles import heartbeat as exact, swiss_roll as oracle
from refdpm.vjp import leaves, tree_map

SETTINGS = experiment.Settings(T=8, units=48, width=0.3, steps=1500, batch=32, rate=1e-2, schedule_rate=3e-2, seed=3)


@pytest.fixture(scope="module")
def batch():
    settings = SETTINGS._replace(T=5, units=6)
    rng = np.random.default_rng(0)
    model = experiment.begin(settings).model
    model = tree_map(lambda x: x + 0.1 * rng.standard_normal(x.shape), model)
    x_0 = common.held_out(experiment.problem(settings), 7)
    return model, dict(x_0=x_0, noise=rng.standard_normal((4, 7, 2)), t=bound.every_step(5, 7), beta_1=0.01, kernel=gaussian,
                       network=experiment.problem(settings).network)


def test_pieces_of_a_batch_add_up(batch):
    model, arguments = batch
    whole, gradient = train.mean_bound(model, **arguments, rows=10 ** 6)
    for rows in (1, 9, 13):
        value, pieces = train.mean_bound(model, **arguments, rows=rows)
        assert value == pytest.approx(whole, rel=1e-13)
        assert all(a == pytest.approx(b, rel=1e-11, abs=1e-13) for a, b in zip(leaves(pieces), leaves(gradient), strict=True))


@pytest.mark.eq("15", "App.1 G targets")
def test_gradient_is_that_of_the_mean_bound(batch):
    """Against the complex step, through the learned schedule and in pieces."""
    model, arguments = batch
    v = gradcheck.random_like(model, np.random.default_rng(1))

    def value(shifted):
        beta = schedule.learned(shifted.logit_beta, beta_1=arguments["beta_1"])
        return bound.bound(shifted.parameters, beta, *[arguments["x_0"]],
                           **{key: arguments[key] for key in ("noise", "t", "kernel", "network")}).mean()

    slope = gradcheck.directional(value, model, v)
    assert gradcheck.inner(train.mean_bound(model, **arguments, rows=9)[1], v) == pytest.approx(slope, rel=1e-12)


def test_every_parameter_has_a_gradient(batch):
    """But the read-out rows of t = 0 and 1, which no step uses."""
    _, gradient = train.mean_bound(batch[0], **batch[1])
    assert all((part != 0).all() for part in (gradient.logit_beta, gradient.parameters.centre, gradient.parameters.log_width))
    assert (gradient.parameters.weight[2:] != 0).all() and not gradient.parameters.weight[:2].any()


def test_starts_as_the_forward_kernel():
    """At the start p is the forward kernel, and K − L_null is 0 for any data with E|x|² = n: within five standard errors."""
    settings = SETTINGS._replace(T=40)
    problem = experiment.problem(settings)
    result = common.evaluate(problem, experiment.begin(settings), common.held_out(problem, 4000))
    assert abs(result.gain.value) < 5 * result.gain.stderr


def trained(**changes):
    settings = SETTINGS._replace(**changes)
    state = experiment.begin(settings)
    for state, _ in common.fit(experiment.problem(settings), state):
        pass
    return settings, state


@pytest.fixture(scope="module")
def learned():
    return trained()


def test_ceilings_hold(learned):
    """K ≤ K* of its schedule ≤ K* ≤ K_max: five standard errors."""
    settings, state = learned
    k = common.evaluate(experiment.problem(settings), state, common.held_out(experiment.problem(settings), 20000)).bound
    of_schedule = oracle.k_star_of(common.beta_of(experiment.problem(settings), state))
    star = oracle.best_schedule(settings.beta_1, settings.T).k_star
    assert k.value - 5 * k.stderr < of_schedule
    assert of_schedule < star + 2e-3                                              # the search's own error
    assert star < oracle.k_max(settings.beta_1)


def test_learned_schedule_beats_the_one_it_starts_from(learned):
    """On the same points and noise, K and the ceiling of its schedule end above those of the geometric schedule held fixed."""
    x_0 = common.held_out(experiment.problem(SETTINGS), 8000)
    noise, t = np.random.default_rng(4).standard_normal((SETTINGS.T - 1, *x_0.shape)), bound.every_step(SETTINGS.T, len(x_0))
    runs = [learned, trained(learn_schedule=False)]
    problems = [experiment.problem(settings) for settings, _ in runs]
    k = [bound.bound(state.model.parameters, common.beta_of(problem, state), x_0, noise=noise, t=t, kernel=gaussian,
                     network=problem.network) for problem, (_, state) in zip(problems, runs)]
    gain = likelihood.average(k[0] - k[1])
    assert gain.value > 5 * gain.stderr                                     # by chance once in three million
    start = schedule.geometric(SETTINGS.T, beta_1=SETTINGS.beta_1, beta_T=SETTINGS.beta_T)
    assert common.beta_of(experiment.problem(runs[1][0]), runs[1][1]) == pytest.approx(start, rel=1e-14)
    assert oracle.k_star_of(common.beta_of(experiment.problem(learned[0]), learned[1])) > oracle.k_star_of(start)


def test_report_agrees_with_a_direct_average(learned):
    settings, state = learned
    x_0, T = common.held_out(experiment.problem(settings), 50), settings.T
    report = common.bound_report(experiment.problem(settings), state, x_0)
    rng, t = train.generator(settings.seed, train.Purpose.EVALUATION).spawn(1)[0], bound.every_step(T, 50)
    noise = rng.standard_normal((T - 1, 50, 2))
    arguments = dict(noise=noise, t=t, kernel=gaussian, network=experiment.problem(settings).network)
    beta = common.beta_of(experiment.problem(settings), state)
    for name, what in (("K", bound.bound), ("elbo", bound.strict_bound)):
        direct = what(state.model.parameters, beta, x_0, **arguments).mean() / np.log(2)
        assert report[name] == pytest.approx(direct, rel=1e-12)


def test_lbfgs_on_the_frozen_noise_objective(batch):
    """SciPy's optimiser climbs the same objective, because with frozen noise it is an ordinary function."""
    model, arguments = batch

    def descend(candidate):
        k, gradient = train.mean_bound(candidate, **arguments)
        return -k, tree_map(np.negative, gradient)

    better = optimize.lbfgs(descend, model, iterations=15)
    assert train.mean_bound(better, **arguments)[0] > train.mean_bound(model, **arguments)[0] + 0.1


def test_no_two_streams_share_a_number():
    """Of steps and of purposes, for neighbouring seeds: 64-bit draws, so that a coincidence has probability 10⁻¹²."""
    keys = [(seed, purpose, index) for seed in (0, 1, 2 ** 32) for purpose in train.Purpose for index in (range(50))]
    draws = np.array([train.generator(*key).integers(2 ** 63, size=4) for key in keys])
    assert len(np.unique(draws)) == draws.size


def test_held_out_points_are_not_trained_on():
    held_out = {tuple(x) for x in common.held_out(experiment.problem(SETTINGS), 1000)}
    for k in range(SETTINGS.steps):
        x_0 = experiment.roll.draw(train.generator(SETTINGS.seed, train.Purpose.STEP, k), SETTINGS.batch)
        assert not held_out & {tuple(x) for x in x_0}


# -- a fixed schedule --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rows", [1, 9, 10 ** 6])
def test_network_gradient_is_that_of_the_bound(batch, rows):
    """For a fixed schedule K and the network's part of the gradient are those of `mean_bound`, in pieces of any size."""
    model, arguments = batch
    whole, gradient = train.mean_bound(model, **arguments)
    beta = schedule.learned(model.logit_beta, beta_1=arguments["beta_1"])
    fixed = {key: value for key, value in arguments.items() if key != "beta_1"}
    value, parameters = train.mean_network_bound(model.parameters, beta=beta, **fixed, rows=rows)
    assert value == pytest.approx(whole, rel=1e-13)
    pairs = zip(leaves(parameters), leaves(gradient.parameters), strict=True)
    assert all(a == pytest.approx(b, rel=1e-11, abs=1e-13) for a, b in pairs)


@pytest.mark.eq("App.1 B targets")
def test_network_gradient_for_bits_where_the_last_step_forgets_everything():
    """β_T = 1, whose own derivative is infinite: K of drawn t, and its slope by the complex step."""
    problem = heartbeat.problem(heartbeat.DEFAULT._replace(T=6))
    rng = np.random.default_rng(4)
    parameters = tree_map(lambda x: x + 0.2 * rng.standard_normal(x.shape),
                          heartbeat.begin(heartbeat.DEFAULT._replace(T=6)).model.parameters)
    x_0, t = problem.draw_data(rng, 5), bound.draw_steps(rng, 6, (7, 5))
    fixed = dict(noise=rng.random(t.shape + (20,)), t=t, beta=problem.beta, kernel=problem.kernel, network=problem.network)
    v = gradcheck.random_like(parameters, rng)
    value, gradient = train.mean_network_bound(parameters, x_0, **fixed)
    assert (t == 6).any() and value == pytest.approx(bound.bound(parameters, x_0=x_0, **fixed).mean(), rel=1e-13)

    def k(shifted):
        rows = dict(noise=fixed["noise"].reshape(-1, 20), t=t.ravel())
        kl = bound.network_kl(shifted, beta=problem.beta, x_0=np.tile(x_0, (7, 1)), **rows, kernel=problem.kernel,
                              network=problem.network)
        return -5 * kl.mean()

    assert gradcheck.inner(gradient, v) == pytest.approx(gradcheck.directional(k, parameters, v), rel=1e-12)


def test_training_with_a_fixed_schedule_learns_and_goes_on_to_the_same_bits():
    """The heartbeat at T = 6 from −14.4 bits: in 150 steps better by ten standard errors, never above its ceiling by five."""
    settings = heartbeat.DEFAULT._replace(T=6, steps=150)
    problem, begun = heartbeat.problem(settings), heartbeat.begin(settings)
    states = [state for state, _ in common.fit(problem, begun)]
    again = [state for state, _ in common.fit(problem, states[70])][-1]
    assert all(np.array_equal(a, b) for a, b in zip(leaves(again.model), leaves(states[-1].model), strict=True))
    x_0 = common.held_out(problem, 500)
    first, last = (common.evaluate(problem, state, x_0).bound for state in (begun, states[-1]))
    star = exact.bound(problem.beta, rate=heartbeat.RATE)
    assert last.value - first.value > 10 * np.hypot(first.stderr, last.stderr)
    assert last.value < star + 5 * last.stderr


def test_evaluation_in_pieces_is_the_same_to_rounding():
    """More steps than rows at a time."""
    settings = heartbeat.DEFAULT._replace(T=50)
    problem, state, x_0 = heartbeat.problem(settings), heartbeat.begin(settings), np.eye(5)[[0, 3]].repeat(4, axis=0).reshape(2, 20)
    values = [train.evaluate(state.model.parameters, problem.beta, x_0, rng=np.random.default_rng(0), kernel=problem.kernel,
                             network=problem.network, rows=rows).bound.value for rows in (7, 49)]
    assert values[0] == pytest.approx(values[1], rel=1e-13)


@pytest.mark.parametrize("experiment,settings", [
    (experiment, SETTINGS),
    (heartbeat, heartbeat.DEFAULT._replace(T=6)),
    (images, images.Settings("dead-leaves", height=4, width=6, conv=(3,), scales=2, pixelwise=(2,), T=7))],
    ids=["roll", "bits", "images"])
def test_in_single_precision_a_step_is_right_to_single_precision(experiment, settings):
    """K and its gradient are those of the same parameters in float64 to float32's digits, but not to more; all of training that
    grows with the network is float32; a run in it is saved and read as such."""
    problem, begun = experiment.problem(settings._replace(dtype="float32")), experiment.begin(settings._replace(dtype="float32"))
    rng = np.random.default_rng(1)
    single = tree_map(lambda x: (x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32), begun.model.parameters)
    x_0, t = common.held_out(problem, 9), bound.draw_steps(rng, settings.T, (2, 9))
    beta = problem.beta if problem.beta is not None else np.append(0.0, np.linspace(0.05, 0.4, settings.T))
    given = {"noise": problem.kernel.draw_noise(rng, (2, *x_0.shape)), "t": t, "beta": beta, "kernel": problem.kernel}
    k, gradient = train.mean_network_bound(single, x_0, network=problem.network, **given)
    network = experiment.problem(settings).network
    exact, right = train.mean_network_bound(tree_map(np.float64, single), x_0, network=network, **given)
    apart = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(leaves(gradient), leaves(right), strict=True)]
    assert k == pytest.approx(exact, rel=3e-5) and k != exact
    assert 1e-9 < max(apart) < 1e-4
    after = next(common.fit(problem, begun))[0]
    assert {leaf.dtype for tree in (gradient, after.model.parameters, after.network_moments.mean, after.network_moments.square)
            for leaf in leaves(tree)} == {np.dtype(np.float32)}
    template = experiment.template(settings._replace(dtype="float32"))
    assert {leaf.dtype for leaf in leaves(template.model.parameters)} == {np.dtype(np.float32)}
