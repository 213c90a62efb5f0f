"""enumeration against sums over all trajectories, closed forms bit by bit, and the paper's printed digits."""

import itertools

import numpy as np
import pytest
from scipy.special import entr, rel_entr
from short_sequences import TABLE

from refdpm.oracles import enumeration as en

SHORT = np.array([0, 0.1, 0.3, 0.25, 0.6])
SHORT_TO_ONE = np.array([0, 0.07, 0.2, 0.5, 1.0])
SCHEDULES = pytest.mark.parametrize("beta", [SHORT, SHORT_TO_ONE], ids=["", "to one"])
RATES = pytest.mark.parametrize("rate", [0.5, 0.2, 0.37])


def harmonic(T):
    return np.r_[0, 1 / np.arange(T, 0, -1.0)]


def random_data(n, seed=0, some=1.0):
    """A law over the states, 0 on a share of them."""
    rng = np.random.default_rng(seed)
    data = rng.exponential(size=1 << n) ** 2 * (rng.random(1 << n) <= some)
    return data / data.sum()


def any_model(x_t, t):
    """Depends on all bits and on t, and is best for nothing."""
    mix = 0.3 * np.cos(np.arange(x_t.shape[1]) + t) + (x_t @ np.arange(1, x_t.shape[1] + 1))[:, None] / 9 - 0.4
    return 1 / (1 + np.exp(-mix - 2 * x_t + 1))


class Tensor:
    """q(x_0, …, x_T) and p(x_0, …, x_T) as tensors, a loop over all paths and bits; conditionals are ratios of its sums."""

    def __init__(self, data, beta, reverse, rate):
        n, T = len(data).bit_length() - 1, len(beta) - 1
        x = np.array(list(itertools.product((0, 1), repeat=n)))
        self.T, self.x = T, x
        self.q, self.p = np.empty((2, *(len(x),) * (T + 1)))
        f = [None, None] + [np.asarray(reverse(x, t)) for t in range(2, T + 1)]

        def redraw(a, b, noise):
            one = x[a] * (1 - noise) + rate * noise
            return np.prod(np.where(x[b] == 1, one, 1 - one))

        for path in itertools.product(range(len(x)), repeat=T + 1):
            self.q[path] = data[path[0]] * np.prod([redraw(path[t - 1], path[t], beta[t]) for t in range(1, T + 1)])
            learned = [np.prod(np.where(x[path[t - 1]] == 1, f[t][path[t]], 1 - f[t][path[t]])) for t in range(2, T + 1)]
            self.p[path] = redraw(0, path[T], 1.0) * np.prod(learned) * redraw(path[1], path[0], beta[1])

    def sum(self, law, *keep):
        """The joint law of the times in `keep`, other axes of length 1."""
        return law.sum(axis=tuple(t for t in range(self.T + 1) if t not in keep), keepdims=True)

    def entropy(self, of, given=()):
        joint = self.sum(self.q, *of, *given)
        return -np.sum(joint * np.log(joint / self.sum(self.q, *given)))

    def cost(self, t):
        joint = self.sum(self.q, 0, t - 1, t)
        model = self.sum(self.p, t - 1, t) / self.sum(self.p, t)
        return np.sum(joint * np.log(joint / self.sum(self.q, 0, t) / model))

    def bound(self):
        prior = self.sum(self.p, self.T)
        return (self.entropy([self.T], [0]) - self.entropy([1], [0]) + np.sum(prior * np.log(prior))
                - sum(self.cost(t) for t in range(2, self.T + 1)))

    def strict_bound(self):
        return np.sum(self.q * np.log(self.p / (self.q / self.sum(self.q, 0))))


# -- states and data -------------------------------------------------------------------------------------------------

def test_states_and_laws():
    assert [tuple(row) for row in en.states(3)] == list(itertools.product((0, 1), repeat=3))
    np.testing.assert_array_equal(en.number(en.states(5)), np.arange(32))
    np.testing.assert_array_equal(en.distribution([[1, 0], [1, 0], [0, 1], [1, 1]]), [0, 0.25, 0.5, 0.25])


def test_periodic():
    np.testing.assert_array_equal(en.periodic(5, 2), [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    beats = en.periodic(20, 5)
    assert beats.shape == (5, 20) and (beats.sum(axis=1) == 4).all() and (np.flatnonzero(beats[2]) % 5 == 2).all()


# -- the forward chain, and Bayes ------------------------------------------------------------------------------------

@pytest.mark.eq("1")
@RATES
def test_prior_is_stationary_in_detail(rate):
    pi, step = en.prior(3, rate=rate), en.transition(0.3, 3, rate=rate)
    np.testing.assert_allclose(step.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(pi[:, None] * step, (pi[:, None] * step).T, rtol=1e-13)
    np.testing.assert_allclose(pi @ en.states(3), np.full(3, rate), rtol=1e-14)


@pytest.mark.eq("App.1 B forward", "App.1 B marginal")
@SCHEDULES
@RATES
def test_marginal_closed_form(beta, rate):
    """q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r, independently for every bit."""
    given = en.marginals(np.eye(8), beta, rate=rate)
    for t, alpha_bar in enumerate(np.cumprod(1 - beta)):
        one = alpha_bar * en.states(3)[:, None] + (1 - alpha_bar) * rate
        expected = np.prod(np.where(en.states(3) == 1, one, 1 - one), axis=-1)
        np.testing.assert_allclose(given[t], expected, atol=1e-15)


@pytest.mark.eq("App.1 B posterior")
@pytest.mark.parametrize("rate, t, printed", [
    (.5, 2, ".015625 .4375 .5625 .984375"), (.5, 3, ".04761905 .55555556 .44444444 .95238095"),
    (.5, 4, ".125 .5625 .4375 .875"), (.5, 5, ".4 .4 .6 .6"),
    (.2, 2, ".00869565 .4 .525 .98823529"), (.2, 3, ".02424242 .48888889 .37777778 .95897436"),
    (.2, 4, ".05714286 .45 .325 .86666667"), (.2, 5, ".16 .16 .36 .36")])
def test_published_posterior(rate, t, printed):
    """(x_0, x_t) = (0, 0), (0, 1), (1, 0), (1, 1), T = 5, β_t = 1/(T − t + 1)."""
    found = en.posterior(np.eye(2), harmonic(5), t, rate=rate)[..., 1].ravel()
    np.testing.assert_allclose(found, [float(a) for a in printed.split()], atol=6e-9)


@pytest.mark.eq("48", "App.1 B posterior")
@SCHEDULES
@RATES
@pytest.mark.parametrize("t", [2, 3, 4])
def test_posterior_closed_form(beta, rate, t):
    """m ℓ_1/(m ℓ_1 + (1 − m) ℓ_0), bit by bit."""
    x = en.states(3)
    x_0, x_t, alpha_bar = x[:, None], x[None, :], np.prod(1 - beta[:t])
    m = alpha_bar * x_0 + (1 - alpha_bar) * rate
    l1 = np.where(x_t == 1, 1 - beta[t] * (1 - rate), beta[t] * (1 - rate))
    l0 = np.where(x_t == 1, rate * beta[t], 1 - rate * beta[t])
    one = (m * l1 / (m * l1 + (1 - m) * l0))[:, :, None]
    expected = np.prod(np.where(x == 1, one, 1 - one), axis=-1)
    np.testing.assert_allclose(en.posterior(np.eye(8), beta, t, rate=rate), expected, rtol=1e-12)


@pytest.mark.eq("App.1 B posterior")
def test_posterior_at_the_ends():
    """At t = 1 the posterior is the point x_0; where β_T = 1, it is q(x_{T−1} | x_0) whatever x_T."""
    np.testing.assert_array_equal(en.posterior(np.eye(8), SHORT, 1, rate=0.2), np.repeat(np.eye(8)[:, None], 8, axis=1))
    last, before = en.posterior(np.eye(8), SHORT_TO_ONE, 4, rate=0.2), en.marginals(np.eye(8), SHORT_TO_ONE, rate=0.2)[3]
    np.testing.assert_allclose(last, np.repeat(before[:, None], 8, axis=1), rtol=1e-13)


def test_prior_reverses_into_the_forward_step():
    posterior = en.posterior(en.prior(3, rate=0.2), SHORT, 3, rate=0.2)
    np.testing.assert_allclose(posterior, en.transition(SHORT[3], 3, rate=0.2), rtol=1e-13)


# -- all trajectories ------------------------------------------------------------------------------------------------

@pytest.mark.eq("3", "5", "6", "9", "10", "12", "14", "51")
@SCHEDULES
@RATES
@pytest.mark.parametrize("n, T", [(1, 4), (2, 4), (2, 2)])
def test_sums_over_all_paths(beta, rate, n, T):
    beta, data = np.r_[beta[:T], beta[-1]], random_data(n)
    law, paths = Tensor(data, beta, any_model, rate), en.trajectories(any_model, beta, n, rate=rate)
    start = data.reshape(-1, *(1,) * T)
    np.testing.assert_allclose(start * paths.prob, law.q, rtol=1e-12)
    np.testing.assert_allclose(paths.prob * np.exp(paths.log_weight), law.p, rtol=1e-12)
    np.testing.assert_allclose(en.model_law(any_model, beta, n, rate=rate), law.sum(law.p, 0).ravel(), rtol=1e-12)
    np.testing.assert_allclose(en.weighted_average(paths), law.sum(law.p, 0).ravel(), rtol=1e-12)
    found = [f(data, beta, any_model, rate=rate) for f in (en.bound, en.strict_bound, en.log_likelihood)]
    expected = law.bound(), law.strict_bound(), data @ np.log(law.sum(law.p, 0).ravel())
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    costs = en.step_costs(data, beta, any_model, rate=rate)
    np.testing.assert_allclose(costs, [0, 0] + [law.cost(t) for t in range(2, T + 1)], rtol=1e-11)


@pytest.mark.eq("24", "27")
@SCHEDULES
@RATES
def test_entropies_of_all_paths(beta, rate):
    data = random_data(2, 3)
    law, found = Tensor(data, beta, any_model, rate), en.entropies(data, beta, rate=rate)
    for t in range(1, 5):
        expected = law.entropy([t]), law.entropy([t], [t - 1]), law.entropy([t - 1], [t]), law.entropy([t], [0])
        np.testing.assert_allclose([column[t] for column in found], expected, rtol=1e-12)
    np.testing.assert_allclose([column[0] for column in found], [entr(data).sum(), 0, 0, 0])


@pytest.mark.eq("9", "12")
@SCHEDULES
@RATES
def test_three_bits_four_steps(beta, rate):
    """All 32768 paths: their average is p(x_0), their mean logarithm the strict bound, and Jensen holds for every x_0."""
    data, paths = random_data(3, 1), en.trajectories(any_model, beta, 3, rate=rate)
    everything = tuple(range(1, 5))
    np.testing.assert_allclose(paths.prob.sum(axis=everything), 1, rtol=1e-12)
    p = en.weighted_average(paths)
    np.testing.assert_allclose(p, en.model_law(any_model, beta, 3, rate=rate), rtol=1e-12)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)
    mean = np.sum(paths.prob * paths.log_weight, axis=everything)
    np.testing.assert_allclose(en.strict_bound(data, beta, any_model, rate=rate), data @ mean, rtol=1e-12)
    assert np.all(mean < np.log(p))


@pytest.mark.eq("9")
def test_exact_reversal_has_weights_without_variance():
    """Data drawn from π: every path that leaves x_0 weighs π(x_0), and nothing is lost."""
    pi = en.prior(2, rate=0.2)
    best = en.optimal_reverse(pi, SHORT, rate=0.2)
    paths = en.trajectories(best, SHORT, 2, rate=0.2)
    expected = np.log(pi).reshape(-1, 1, 1, 1, 1)
    np.testing.assert_allclose(paths.log_weight, np.broadcast_to(expected, paths.log_weight.shape), rtol=1e-12)
    for f in (en.bound, en.strict_bound, en.log_likelihood):
        np.testing.assert_allclose(f(pi, SHORT, best, rate=0.2), -en.entropy(pi), rtol=1e-12)


# -- the bound -------------------------------------------------------------------------------------------------------

@pytest.mark.eq("12", "14", "43", "46")
@SCHEDULES
@pytest.mark.parametrize("rate", [0.5, 0.2, 0.37, 0.9])
@pytest.mark.parametrize("model", ["any", "best"])
def test_strict_bound_differs_by_the_edges(beta, rate, model):
    """Eq. 12 − eq. 14 = C = (ᾱ_T + β_1) (M − n r) log(r/(1 − r)), M the expected number of ones, whatever the model."""
    data = random_data(3, 2)
    reverse = any_model if model == "any" else en.optimal_reverse(data, beta, rate=rate)
    M = data @ en.states(3).sum(axis=1)
    C = (np.prod(1 - beta) + beta[1]) * (M - 3 * rate) * np.log(rate / (1 - rate))
    gap = en.strict_bound(data, beta, reverse, rate=rate) - en.bound(data, beta, reverse, rate=rate)
    np.testing.assert_allclose(en.correction(data, beta, rate=rate), C, atol=1e-14)
    np.testing.assert_allclose(gap, C, atol=1e-13)


@pytest.mark.eq("13", "37")
def test_bound_above_the_likelihood():
    """Uniform data under r = 0.2, slowly mixed: eq. 14 exceeds not only its model's L but −H(X^0), which no L does.

    L ≥ eq. 12 stands.
    """
    data, beta = np.full(8, 0.125), np.r_[0, np.full(4, 0.15)]
    best = en.optimal_reverse(data, beta, rate=0.2)
    K, strict, L = (f(data, beta, best, rate=0.2) for f in (en.bound, en.strict_bound, en.log_likelihood))
    assert strict < L < -3 * np.log(2) < K
    np.testing.assert_allclose(strict - K, (0.85 ** 4 + 0.15) * 0.9 * np.log(0.25), rtol=1e-12)


@pytest.mark.eq("37")
@RATES
@pytest.mark.parametrize("seed", range(4))
def test_order_of_the_bounds(rate, seed):
    """Eq. 12 ≤ L ≤ −H(X^0) always; where C = 0 for every schedule, r = 1/2, K ≤ −H(X^1) too."""
    data = random_data(3, seed, some=0.6)
    best = en.optimal_reverse(data, SHORT, rate=rate)
    for reverse in (best, any_model):
        L = en.log_likelihood(data, SHORT, reverse, rate=rate)
        assert en.strict_bound(data, SHORT, reverse, rate=rate) < L < -en.entropy(data)
        if rate == 0.5:
            assert en.bound(data, SHORT, reverse, rate=rate) < -en.entropy(en.marginals(data, SHORT, rate=rate)[1])


@pytest.mark.eq("12")
@SCHEDULES
@RATES
def test_decomposition(beta, rate):
    """Eq. 12 = −H(X^1) − Σ_{t≥2} E KL(q(x_{t−1} | x_t) ‖ p) − KL(q(x_T) ‖ π) + E log π(x_0) − E log π(x_1)."""
    data = random_data(3, 5)
    q, pi = en.marginals(data, beta, rate=rate), en.prior(3, rate=rate)
    losses = [q[t] @ rel_entr(en.posterior(data, beta, t, rate=rate), en.reverse_step(any_model, beta, t, 3, rate=rate)).sum(axis=1)
              for t in (2, 3, 4)]
    expected = -en.entropy(q[1]) - sum(losses) - rel_entr(q[-1], pi).sum() + (q[0] - q[1]) @ np.log(pi)
    np.testing.assert_allclose(en.strict_bound(data, beta, any_model, rate=rate), expected, rtol=1e-12)


@pytest.mark.eq("14", "15")
@RATES
def test_optimum(rate):
    """Its cost is E Σ_i [h(f*_i) − E h(posterior_i)]; any small change costs more, and to second order only."""
    data, x = random_data(3, 6, some=0.5), en.states(3)
    best = en.optimal_reverse(data, SHORT, rate=rate)
    costs = en.step_costs(data, SHORT, best, rate=rate)
    given, law = en.marginals(np.eye(8), SHORT, rate=rate), en.marginals(data, SHORT, rate=rate)
    for t in (2, 3, 4):
        post, f = en.posterior(np.eye(8), SHORT, t, rate=rate) @ x, best(x, t)
        h = law[t] @ (entr(f) + entr(1 - f)), np.einsum("o,ot,oti->i", data, given[t], entr(post) + entr(1 - post))
        np.testing.assert_allclose(costs[t], np.sum(h[0] - h[1]), rtol=1e-11)
    tilt = np.random.default_rng(0).normal(size=(5, 8, 3))

    def moved(step):
        return lambda x_t, t: 1 / (1 + np.exp(-step * tilt[t, en.number(x_t)]) * (1 / best(x_t, t) - 1))

    K = en.bound(data, SHORT, best, rate=rate)
    loss = {step: K - en.bound(data, SHORT, moved(step), rate=rate) for step in (1e-2, -1e-2, 2e-2)}
    assert min(loss.values()) > 0
    np.testing.assert_allclose([loss[-1e-2], loss[2e-2]], [loss[1e-2], 4 * loss[1e-2]], rtol=0.05)


ROWS = [(*key, T, *(column.split()[k] for column in columns))
        for key, columns in TABLE.items() for k, T in enumerate((3, 10, 100 if key[0] < 10 else 20))]


@pytest.mark.eq("14", "10")
@pytest.mark.parametrize("n, period, rate, T, K, L, ceiling", [row for row in ROWS if row[0] < 10 or row[3] == 3])
def test_published_table(n, period, rate, T, K, L, ceiling):
    """The rows n = 10, T = 10 and 20 take seconds; test_heartbeat has them."""
    data, beta = en.distribution(en.periodic(n, period)), harmonic(T)
    best = en.optimal_reverse(data, beta, rate=rate)
    found = [f(data, beta, best, rate=rate) for f in (en.bound, en.log_likelihood)]
    found.append(-en.entropy(en.marginals(data, beta, rate=rate)[1]))
    assert [f"{a / np.log(2):.6f}" for a in found] == [K, L, ceiling]
    if (n, T) == (2, 10):
        assert found[1] > found[2]       # L* is not under the ceiling of K


def test_null_log_likelihood():
    data = en.distribution(en.periodic(10, 5))
    assert np.isclose(en.null_log_likelihood(data, rate=0.2), 2 * np.log(0.2) + 8 * np.log(0.8), rtol=1e-13)


def test_model_that_forbids_a_state():
    """A probability of 0 where the data go costs infinitely much, and gives no warning and no NaN."""
    data = random_data(2)
    for f in (en.bound, en.strict_bound):
        assert f(data, SHORT, lambda x_t, t: np.zeros(x_t.shape), rate=0.2) == -np.inf
    paths = en.trajectories(lambda x_t, t: x_t, SHORT, 2, rate=0.2)
    np.testing.assert_allclose(en.weighted_average(paths), en.prior(2, rate=0.2), rtol=1e-13)


# -- entropies -------------------------------------------------------------------------------------------------------

@pytest.mark.eq("24", "27", "28", "31", "35", "36")
@SCHEDULES
@RATES
@pytest.mark.parametrize("seed", range(3))
def test_entropy_bounds(beta, rate, seed):
    data = random_data(3, seed, some=0.7)
    h = en.entropies(data, beta, rate=rate)
    np.testing.assert_allclose(h.reverse[1:], h.forward[1:] - np.diff(h.marginal), rtol=1e-12)
    assert np.all(h.lower <= h.reverse + 1e-13)
    known = h.given_data + entr(data).sum() - h.marginal                # H(X^0 | X^t)
    assert np.all(np.diff(known) > -1e-13)
    np.testing.assert_array_equal(h.reverse <= h.upper + 1e-13, np.diff(h.marginal, prepend=0) >= -1e-13)
    if rate == 0.5:
        assert np.all(h.reverse <= h.upper + 1e-13)


@pytest.mark.eq("24", "28", "30")
def test_upper_bound_fails_for_another_rate_of_ones():
    """Three ones, r = 0.2, T = 4, ᾱ_t = 1 − t/4: x_3 has rate 0.4, x_4 rate 0.2, and the last step forgets everything.

    H(X^3 | X^4) = H(X^3) = 3 h(0.4) = 2.019 > 3 h(0.2) = 1.501 = H(X^4 | X^3).
    """
    h = en.entropies(np.eye(8)[7], harmonic(4), rate=0.2)
    found, expected = [h.reverse[4], h.upper[4]], [3 * (entr(p) + entr(1 - p)) for p in (0.4, 0.2)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert h.marginal[4] < h.marginal[3] and h.lower[4] <= h.reverse[4]
    np.testing.assert_allclose(h.reverse[3], h.upper[3], rtol=1e-13)    # from rate 0.6 to 0.4, no entropy is gained
    assert en.entropies(np.eye(8)[7], harmonic(4), rate=0.5).reverse[4] <= 3 * np.log(2) + 1e-13


def test_one_step():
    """T = 1: the sum of eq. 14 is empty, and the model is the edge step from π, which is π."""
    data, beta = random_data(2), np.array([0, 0.3])
    np.testing.assert_allclose(en.bound(data, beta, any_model, rate=0.2), -en.entropy(en.prior(2, rate=0.2)), rtol=1e-13)
    np.testing.assert_allclose(en.model_law(any_model, beta, 2, rate=0.2), en.prior(2, rate=0.2), rtol=1e-13)


@pytest.mark.parametrize("call, message", [
    (lambda: en.marginals(np.eye(4), np.array([0.1, 0.2]), rate=0.5), "beta: expected shape"),
    (lambda: en.marginals(np.eye(4), np.array([0, 1.0, 0.2]), rate=0.5), r"beta: .* got 1.0 at t = 1"),
    (lambda: en.transition(0.1, 2, rate=1.0), r"rate: expected a number in \(0, 1\), got 1.0"),
    (lambda: en.marginals(np.full(3, 1 / 3), SHORT, rate=0.5), r"data: expected 2ⁿ .* got shape \(3,\)"),
    (lambda: en.entropies(np.full(4, 0.3), SHORT, rate=0.5), "data: expected 2ⁿ"),
    (lambda: en.bound(np.array([0.5, 0.5]), SHORT, lambda x, t: x + 0.1, rate=0.5), r"reverse: .* at t = 2"),
    (lambda: en.model_law(lambda x, t: np.ones(2), SHORT, 2, rate=0.5), r"reverse: .* got shape \(2,\)"),
    (lambda: en.distribution(np.array([[0, 2]])), "rows: expected zeros and ones"),
    (lambda: en.periodic(4, 5), "period: expected a number from 1 to n = 4, got 5")])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
