"""Symptoms, power, draws and the smallest input: each on answers that are made for it, right ones among them."""

import numpy as np
import pytest

from refdpm.conformance import naming, power, precision, symptoms
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import QUANTITIES, draws
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.judge import Effort, examples
from refdpm.conformance.profile import Profile
from refdpm.conformance.session import check
from refdpm.conformance.smallest import smallest
from refdpm.conformance.symptoms import Failure, Part

BETA = np.array([0.0, 0.1, 0.3, 0.2])
RNG = np.random.default_rng(0)


def right(inputs):
    return 2 * inputs["x_0"] - 3 * inputs["x_t"] * inputs["t"][:, None],


def failures(answer, of=right):
    """What is told of a function that gives `answer(inputs)`, on two inputs."""
    found = []
    for t in ([1, 2, 3], [3, 2, 1]):
        inputs = {"x_0": RNG.normal(size=(3, 5)), "x_t": RNG.normal(size=(3, 5)), "t": np.array(t), "beta": BETA}
        expected, = of(inputs)
        found.append(Failure(inputs, (Part(np.asarray(answer(inputs), dtype=float), expected, 1e-7 * (1 + np.abs(expected))),)))
    return found


def swapped(i):
    return right(i | {"x_0": i["x_t"], "x_t": i["x_0"]})[0]


TELLING = {
    "it is always 0": lambda i: 0 * right(i)[0],
    "it is the answer for t + 1": lambda i: right(i | {"t": np.minimum(i["t"] + 1, 3)})[0],
    "it is the answer for t − 1": lambda i: right(i | {"t": np.maximum(i["t"] - 1, 1)})[0],
    "it is the answer for T + 1 − t: the steps are counted from the other end": lambda i: right(i | {"t": 4 - i["t"]})[0],
    "x_0 and x_t are exchanged": swapped,
    "x_0 is taken for x_t": lambda i: right(i | {"x_t": i["x_0"]})[0],
    "x_t is left out (taken for 0)": lambda i: 2 * i["x_0"],
    "tanh is put around x_t": lambda i: right(i | {"x_t": np.tanh(i["x_t"])})[0],
    "x_0 has the wrong sign": lambda i: right(i | {"x_0": -i["x_0"]})[0],
    "it is its own input x_t": lambda i: i["x_t"],
    "it is the mean over the rows, and not one answer for each": lambda i: right(i)[0].mean(axis=0) + 0 * i["x_0"],
    "it is clipped to [-1, 1]": lambda i: np.clip(right(i)[0], -1, 1)}
ARITHMETIC = {
    "it is 0 there": lambda i: right(i)[0] * (i["t"] > 1)[:, None],
    "it has the wrong sign": lambda i: -right(i)[0],
    "it is divided by the number of components": lambda i: right(i)[0] / 5,
    "it is multiplied by the number of rows": lambda i: 3 * right(i)[0],
    "it is tanh of what it should be": lambda i: np.tanh(right(i)[0]),
    "it is the sigmoid of what it should be": lambda i: 1 / (1 + np.exp(-right(i)[0])),
    "it is divided by 1 minus its own input x_0": lambda i: right(i)[0] / (1 - i["x_0"]),
    "it is divided by √ᾱ_t": lambda i: right(i)[0] / np.sqrt(np.cumprod(1 - BETA))[i["t"]][:, None],
    "it is multiplied by β_t": lambda i: right(i)[0] * BETA[i["t"]][:, None],
    "it is 1 minus what it should be": lambda i: 1 - right(i)[0],
    "it is the square of what it should be": lambda i: right(i)[0] ** 2,
    "it is 1/√2 times what it should be": lambda i: right(i)[0] / np.sqrt(2),
    "it is 0.25 too large, everywhere": lambda i: right(i)[0] + 0.25,
    "it is never less than -0.125, also where less is right": lambda i: np.maximum(right(i)[0], -0.125),
    "it is never more than 0.125, also where more is right": lambda i: np.minimum(right(i)[0], 0.125)}


@pytest.mark.parametrize("says", TELLING)
def test_what_came_in_the_place_of_what(says):
    assert symptoms.telling(failures(TELLING[says]), right)[0] == says


@pytest.mark.parametrize("says", ARITHMETIC)
def test_by_how_much_it_is_wrong(says):
    found = failures(ARITHMETIC[says])
    assert symptoms.telling(found, right)[0] is None and symptoms.arithmetic(found, right) == says


LONG = np.append(0.0, np.full(600, 0.01))


def test_a_plain_number_comes_before_a_column_that_has_it_everywhere():
    """√(1 − β_t), where all rates are alike: of what both explain a number says less that may be false."""
    scaled = failures(lambda i: right(i)[0] * np.sqrt(0.99))
    found = [failure._replace(inputs=failure.inputs | {"beta": LONG}) for failure in scaled]
    assert symptoms.arithmetic(found, right) == "it is 0.994987 times what it should be"


def step(i):
    return i["x_t"] + (np.sqrt(i["t"]) - 2 * np.sqrt(i["t_prev"]))[:, None],


def steps(answer):
    """Of a step from t to t_prev, wrong as `answer` is."""
    found = []
    for shift in (0, 1):
        inputs = {"x_t": RNG.normal(size=(3, 5)), "t": np.array([600, 599, 301]) - shift, "t_prev": np.array([580, 300, 250]),
                  "beta": LONG}
        expected, = step(inputs)
        found.append(Failure(inputs, (Part(answer(inputs)[0], expected, 1e-7 * (1 + np.abs(expected))),)))
    return found


@pytest.mark.parametrize("says, other", [
    ("it is the step to t − 1, and not to t_prev", lambda i: i["t"] - 1),
    ("it is the step to t_prev + 1, and not to t_prev", lambda i: i["t_prev"] + 1),
    ("it is the step to t_prev − 1, and not to t_prev", lambda i: i["t_prev"] - 1),
    ("it is the step to 0, and not to t_prev", lambda i: 0 * i["t"])])
def test_where_a_step_goes(says, other):
    assert symptoms.telling(steps(lambda i: step(i | {"t_prev": other(i)})), step)[0] == says


def test_where_a_step_goes_is_found_among_all_times():
    found = steps(lambda i: step(i | {"t_prev": i["t"] - 7}))
    assert symptoms.telling(found, step)[0] is None
    assert symptoms.arithmetic(found, step) == "it is the step from t = 600 to 593, and not to t_prev = 580, and so on"
    assert symptoms.arithmetic(steps(lambda i: (step(i)[0] + 0.01 * i["x_t"],)), step) is None


def test_rows_and_columns_of_a_matrix():
    matrices = RNG.normal(size=(3, 4, 4))
    part = Part(matrices.swapaxes(1, 2).copy(), matrices, np.full(matrices.shape, 1e-7))
    assert symptoms.telling([Failure({}, (part,))], lambda i: (matrices,))[0] == "its rows and columns are exchanged"


def test_a_t_that_its_precision_does_not_hold():
    """bfloat16 has the multiples of 4 from 512 on and of 2 from 256 on; halves go to the even ones."""
    held = {600: 600, 599: 600, 598: 600, 301: 300, 300: 300}
    found = steps(lambda i: step(i | {"t": np.array([held[t] for t in i["t"].tolist()])}))
    assert symptoms.telling(found, step)[0] == "it is the answer for t as bfloat16 holds it, which has not every integer"


def test_what_is_barely_off_is_not_explained_by_what_is_right_there():
    """One of sixteen numbers, by twenty units where sixteen are allowed."""
    expected, unit = np.ones(16), np.full(16, 1e-6)
    part = Part(expected + 20e-6 * (np.arange(16) == 3), expected, unit)
    assert naming._unexplained_share(expected, part) == 1.0 and naming._unexplained_share(part.observed, part) == 0.0
    assert naming._unexplained_share(part.observed - 10e-6, part) > 0.4


def test_an_infinity_explains_only_itself_and_nothing_is_asked_where_there_is_no_answer():
    part = Part(np.array([np.inf, 1.0]), np.array([2.0, 1.0]), np.array([1e-6, 1e-6]))
    shares = [naming._unexplained_share(np.array([value, 1.0]), part) for value in (np.inf, -np.inf, np.nan)]
    assert shares[0] < naming.NEAR < min(shares[1:])
    lost = Part(np.array([0.0, 3.0]), np.array([0.0, 1.0]), np.array([np.inf, 1e-6]))
    assert naming._unexplained_share(np.array([np.nan, 3.0]), lost) == 0.0 and not lost.wrong[0]


def test_what_has_no_number_beside_the_same_infinities_may_have_been_written_otherwise():
    """0 · ∞ in one way of writing it, and 0 in another."""
    part = Part(np.array([np.inf, np.inf, 0.0]), np.array([2.0, 1.0, 0.0]), np.full(3, 1e-6))
    found = [Failure({"x_0": np.ones(3)}, (part,))]
    distances = [naming._distance(lambda inputs: (np.array(value),), found)[0] for value in (
        [np.inf, np.inf, np.nan], [np.inf, np.nan, np.nan])]
    assert distances[0] < naming.NEAR < distances[1]


def test_a_schedule_of_one_step_may_be_a_case_of_its_own():
    part, right = (Part(np.array([value]), np.array([1.0]), np.array([1e-6])) for value in (3.0, 1.0))
    for T, holds in ((1, True), (2, False)):
        found = [Failure({"T": 4}, (part,)), Failure({"T": T}, (right,))]
        assert (naming._distance(lambda inputs: (np.array([3.0]),), found)[0] <= naming.NEAR) == holds


def test_what_no_symptom_gives_has_no_name():
    found = failures(lambda i: np.sin(right(i)[0]) + i["x_0"] ** 3)
    assert symptoms.telling(found, right)[0] is None and symptoms.arithmetic(found, right) is None
    one_number = Failure({"x_0": np.ones((1, 1))}, (Part(np.array([[0.0]]), np.array([[1.0]]), np.array([[1e-7]])),))
    assert symptoms.telling([one_number], lambda i: (np.ones((1, 1)),))[0] is None


def test_a_symptom_has_to_be_nearer_than_the_right_answer():
    """What does not depend on x_0 is the same without x_0: that explains no small error."""
    def of(inputs):
        return inputs["x_t"] + 0.0,

    found = failures(lambda i: i["x_t"] * (1 + 3e-6), of)
    assert any(np.any(part.wrong) for failure in found for part in failure.parts)
    assert symptoms.telling(found, of)[0] is None


@pytest.mark.parametrize("spoil, says", [
    (lambda i, x: x + (i["t"] == 1)[:, None], "at t = 1 only"),
    (lambda i, x: x + ((i["t"] == 1) & (i["t"][0] == 1))[:, None], "at t = 1 only"),           # in one of two inputs
    (lambda i, x: x + (i["t"] == 3)[:, None], "at t = T only"),
    (lambda i, x: x + (i["t"] > 1)[:, None], "at every t but 1"),
    (lambda i, x: x + np.array([0, 0, 0, 1, 1.0]), "from the fourth component (or channel) on"), (lambda i, x: x + 1, "")])
def test_on_which_part(spoil, says):
    assert symptoms.where(failures(lambda i: spoil(i, right(i)[0]))) == says


def test_at_one_step_only():
    def at(T, wrong):
        return Failure({"T": T}, (Part(np.zeros(T) + wrong, np.zeros(T), np.full(T, 1e-7)),))

    assert symptoms.where([at(1, 1.0), at(2, 0.0), at(5, 0.0)]) == "at T = 1 only"
    assert symptoms.where([at(1, 1.0), at(2, 1.0)]) != "at T = 1 only"


# -- power ---------------------------------------------------------------------------------------------------------------

class Marginal:
    """q(x_t | x_0) in single precision, its answers times a factor."""

    dtype, factor, beta = "float32", 1.0, np.linspace(1e-4, 0.02, 1000)

    def marginal(self, x_0, t):
        abar = np.cumprod(1 - self.beta)[t - 1].reshape(-1, *[1] * (x_0.ndim - 1))
        return (self.factor * np.sqrt(abar) * x_0).astype("f"), ((1 - abar) * self.factor).astype("f")


def verdicts(factor):
    adapter = Marginal()
    adapter.factor = factor
    return [row for row in check(adapter, only="GAU.MARG", effort=Effort(max_examples=2))["clauses"]]


def test_what_a_pass_is_said_to_exclude_fails():
    """1 % at every t, a thousandth from t = 100 on, and the number itself."""
    mean, var = verdicts(1.0)
    for row in (mean, var):
        assert row["verdict"] == "pass" and row["power"]["factor"] <= 0.01
        assert max(seen for t, seen in row["power"]["at"].items() if int(t) >= 100) <= 1e-3
    for factor in (0.0, 1.01, 1 + 1.5 * var["power"]["factor"]):
        assert verdicts(factor)[1]["verdict"] in ("wrong", "inaccurate")


@pytest.mark.parametrize("T", [20, 25])
def test_of_a_long_chain_whose_steps_are_judged_only_how_they_follow_is_tried(T, monkeypatch):
    chain = next(quantity for quantity in QUANTITIES if quantity.name == "sample")
    edge = next(iter(chain.edges(Given(beta=np.append(0.0, np.linspace(1e-4, 0.2, T))))))
    places = power.places_of(chain, [edge | {name: getattr(Profile(), name) for name in chain.choices}], "float32")
    tried = []
    monkeypatch.setattr(power, "_passes_unseen", lambda edit, *others: tried.append(edit.says))
    assert power.unseen(places, 0, "float32", steps_are_judged=True) == []
    assert "the last step is left out" in tried and (len(tried) < 10) == (T > 20)
    tried.clear()
    power.unseen(places, 0, "float32")
    assert len(tried) > 100


class Deviation:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t) beside the ᾱ of which it is made, on the long schedule; at one t with an error."""

    dtype, beta, t, error = "float32", np.linspace(1e-4, 0.02, 1000), 0, 0.0

    def alpha_bar(self):
        return np.cumprod(np.float32(1) - self.beta.astype("f"))

    def sigma_of_t(self, t):
        exact = np.cumprod(1 - self.beta)[t - 1]
        return (np.sqrt((1 - exact) / exact) * np.where(t == self.t, 1 + self.error, 1)).astype("f")


def test_what_an_earlier_answer_excuses_is_said_not_to_be_excluded():
    """At t = 1 the adapter's own ᾱ has a rounding of its own, and what is right given that is right."""
    adapter = Deviation()
    row, = check(adapter, only="SIG.OF_T")["clauses"]
    assert row["verdict"] == "pass"
    adapter.t, seen = 1, row["power"]["at"]["1"]
    for adapter.error, passes in ((seen / 2, True), (1.05 * seen, False)):
        row, = check(adapter, only="SIG.OF_T")["clauses"]
        assert (row["verdict"] == "pass") is passes, adapter.error / seen


def test_a_table_is_no_better_than_its_worst_entry():
    value, scale = np.array([1.0, 1.0, 1e-6]), np.ones(3)
    along = power.factor_along_t({"beta": BETA}, value, power.smallest_factor(value, scale, 2.0 ** -24), "table")
    assert along[3] == pytest.approx(1e6 * along[1]) and set(along) == {1, 2, 3}
    assert power.factor_along_t({"beta": BETA}, value, scale, "total") == {}


def test_half_a_precision_holds_what_its_frameworks_hold():
    """1 + 2⁻⁷ is the next number after 1 in bfloat16; halfway is rounded to the even one."""
    x = np.array([1 + 2.0 ** -7, 1 + 2.0 ** -8, 1 + 3 * 2.0 ** -8, -0.1])
    assert precision.rounded(x, "bfloat16").tolist() == [1 + 2.0 ** -7, 1.0, 1 + 2.0 ** -6, -0.10009765625]
    assert precision.rounded(x, "float32") is x


# -- inputs --------------------------------------------------------------------------------------------------------------

def test_draws_follow_from_the_seed_and_hold_in_single_precision():
    draw = draws.named({"x": draws.arrays(200, 5, low=-3, high=0.3), "t": draws.integer_arrays(20, 1, 4)})
    one, same, other = (examples(draw, Effort(seed=seed, max_examples=3)) for seed in (0, 0, 1))
    assert all(np.array_equal(a["x"], b["x"]) and np.array_equal(a["t"], b["t"]) for a, b in zip(one, same))
    assert not np.array_equal(one[0]["x"], other[0]["x"]) and not np.array_equal(one[0]["x"], one[1]["x"])
    x = one[0]["x"]
    assert np.array_equal(x, x.astype(np.float32)) and x.min() >= -3 and x.max() <= 0.3
    assert np.any(x == 0) and np.all((x == 0) | (np.abs(x) >= 2.0 ** -20)) and set(one[0]["t"].tolist()) == {1, 2, 3, 4}


def test_the_smallest_input_fails_as_badly():
    """Wrong by 1 where x_0 is large, by a millionth elsewhere: 0 would be simpler, and shows nothing."""
    start = {"x_0": np.array([[0.3, 0.7], [5.3, 0.1], [0.2, 0.9]]), "t": np.array([1, 2, 3]), "beta": BETA}
    found = smallest(start, lambda i: float(np.max(np.where(i["x_0"] > 4, 1.0, 1e-6))), 50)
    assert len(found["t"]) < 3 or np.all(found["x_0"] == np.round(found["x_0"]))
    assert np.max(found["x_0"]) > 4
    assert smallest(start, lambda i: 0.0, 50) is start


def test_the_smallest_input_has_a_law_that_is_one():
    start = {"law": np.array([0.25, 0.75]), "x_t": np.full((2, 3), 0.3), "t": np.array([1, 2])}
    found = smallest(start, lambda i: 1.0, 50)
    assert found["law"].tolist() == [0.25, 0.75] and len(found["t"]) == 1 and not np.any(found["x_t"])


def test_a_size_of_nothing_explains_nothing():
    """T − 1 of a schedule of one step."""
    part = Part(np.arange(6.0).reshape(3, 2) ** 2, np.ones((3, 2)), np.full((3, 2), 1e-7))
    wrong = Failure({"x_0": np.ones((3, 2)), "beta": BETA[:2]}, (part,))
    assert symptoms.arithmetic([wrong], lambda i: (np.ones((3, 2)),)) is None


def test_of_two_symptoms_the_one_that_agrees_with_what_was_right_too_is_named():
    """From the third component on x comes where the mask says y: exchanged they agree where the mask says y, and nowhere else."""
    def kept(i):
        return np.where(i["mask"] > 0, i["y"], i["x"]),

    def answer(i):
        return np.where((i["mask"] > 0) & (np.arange(5) < 2), i["y"], i["x"])

    found = []
    for _ in range(2):
        inputs = {"x": RNG.normal(size=(3, 5)), "y": RNG.normal(size=(3, 5)), "mask": RNG.integers(0, 2, size=(3, 5))}
        expected, = kept(inputs)
        found.append(Failure(inputs, (Part(answer(inputs), expected, 1e-7 * np.ones((3, 5))),)))
    assert symptoms.telling(found, kept)[0] == "x is taken for y"


def test_an_argument_that_is_left_out_is_not_taken_for_one_that_is_0():
    def of(i):
        return 1 + i["x_0"] + 2 * i["noise"],

    found = []
    for _ in range(2):
        inputs = {"x_0": np.zeros((3, 5)), "noise": RNG.normal(size=(3, 5))}
        found.append(Failure(inputs, (Part(np.ones((3, 5)), of(inputs)[0], 1e-7 * np.ones((3, 5))),)))
    assert symptoms.telling(found, of)[0] == "noise is left out (taken for 0)"


def test_noise_that_is_added_at_one_step_is_said_to_be():
    """Of whatever size; where several steps have another multiple, the formula has more to say."""
    def of(i):
        return 2 * i["x_0"] + (i["t"] > 1)[:, None] * i["noise"],

    def told(steps):
        found = []
        for t in ([1, 2, 3], [3, 2, 1]):
            inputs = {"x_0": RNG.normal(size=(3, 5)), "noise": RNG.normal(size=(3, 5)), "t": np.array(t), "beta": BETA}
            expected, = of(inputs)
            more = np.isin(t, steps)[:, None] * (0.1 + RNG.random()) * inputs["noise"]
            found.append(Failure(inputs, (Part(expected + more, expected, 1e-7 * (1 + np.abs(expected))),)))
        return symptoms.arithmetic(found, of), symptoms.where(found)

    assert told([1]) == ("another multiple of the noise is in it", "at t = 1 only") and told([1, 2])[0] is None


def test_one_number_in_the_place_of_a_table_is_said_so():
    class Adapter:
        @staticmethod
        def alpha_bar(beta):
            return np.cumprod(1 - beta)[0]

    found = {one["id"]: one for one in check(Adapter, effort=Effort(max_examples=3), only=["SCH.ABAR"])["clauses"]}
    assert found["SCH.ABAR.TABLE"]["mistake"] == "it is its first number, everywhere"


def test_of_edits_that_are_the_same_a_term_that_is_left_out_is_named_before_what_makes_it_0():
    says = ["all left out but x", "q is taken for p", "term left out: Σ (a longer one …"]
    found = [naming._Candidate((one,), 0.0) for one in says]
    assert naming._name_of_nearest(found, 1e-6, None).ids[0] == says[2]


@pytest.mark.parametrize("wrong, says", [
    (lambda x: x < -2.25, "where level is below -2"), (lambda x: x > -2.25, "where level is above -2.5"),
    (lambda x: (x > -3) & (x < -1), "")])
def test_where_an_argument_is_small_or_large_is_said_with_its_sign(wrong, says):
    level = -np.arange(10.0) / 2
    expected = np.ones((10, 3))
    part = Part(np.where(wrong(level)[:, None], 2.0, expected), expected, np.full((10, 3), 1e-7))
    assert symptoms.where([Failure({"level": level}, (part,))]) == says


def test_a_step_that_does_not_go_everywhere_is_not_explained_by_another_time():
    def reference(inputs):
        raise Skip("the first step takes no others with it")

    came, right = np.array([[3.0, -5.0], [7.0, 2.5]]), np.array([[1.0, 2.0], [-1.5, 0.5]])
    inputs = {"x_t": right, "t": np.array([3, 2]), "t_prev": np.array([1, 0]), "beta": np.array([0, 0.1, 0.2, 0.3])}
    failure = Failure(inputs, (Part(came, right, np.full((2, 2), 1e-16)),))
    assert symptoms.arithmetic([failure], reference) is None
