"""The vectors in validation/vectors are what the package writes now, whatever is wrong with them is said, and C can use them."""

from copy import deepcopy
from pathlib import Path
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

import refdpm
from refdpm import run
from refdpm.conformance import vectors
from refdpm.conformance.vectors import cases as vectors_cases, schema as vectors_schema
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity
from refdpm.textbook.expression import given
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.subject import LIMIT, UNITS, ratios
from refdpm.conformance.vectors.text import array_of, inputs_of, inputs_text, json_text, text, three_digits

STORED = Path(refdpm.__file__).parent.parent / "validation" / "vectors"
EXAMPLE = STORED / "example" / "check.c"
POSTERIOR = next(function for function in QUANTITIES if function.id == "GAU.POST")
FEW = tuple(function for function in QUANTITIES if function.id.startswith(("SCH.", "GAU.")))
SLOW = ("BND", "BIT", "OBJ", "NET", "SMP")           # a whole chain in every test: seconds a function
ALL = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """An export of two groups, for the tests that damage it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "QUANTITIES", FEW)
        patch.setattr(vectors, "GROUPS", ("SCH", "GAU"))
        folder = tmp_path_factory.mktemp("vectors") / "new"
        vectors.export(folder)
        yield folder


@pytest.fixture
def folder(fresh, tmp_path):
    return shutil.copytree(fresh, tmp_path / "vectors")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def group_files(folder):
    return sorted(path.name for path in folder.glob("[A-Z]*.json"))


def edit(path, change, *, checksum=True):
    """Change a group's file, and its line in the manifest with it."""
    document = read(path)
    change(document)
    path.write_text(json_text(document), encoding="utf-8")
    if checksum:
        manifest = read(path.parent / "manifest.json")
        manifest["files"][path.name]["sha256"] = vectors._sha256(path.read_bytes())
        (path.parent / "manifest.json").write_text(json_text(manifest), encoding="utf-8")


def entry(document, name="posterior"):
    return next(one for one in document["functions"] if one["name"] == name)


# -- what is stored ------------------------------------------------------------------------------------------------------

def stored(function):
    document = read(STORED / f"{function.id.split('.')[0]}.json")
    return next(one for one in document["functions"] if one["id"] == function.id)


def first_of_slow(function):
    group = function.id.split(".")[0]
    return group not in SLOW or function is next(one for one in QUANTITIES if one.id.startswith(f"{group}."))


@pytest.mark.parametrize("function", [one for one in QUANTITIES if ALL or first_of_slow(one)], ids=lambda one: one.id)
def test_the_stored_vectors_are_those_that_the_package_writes(function):
    """Values and gradients to their tolerance, that to its third digit, everything else exactly.  Of the slow groups one
    function."""
    before, now = stored(function), json.loads(json_text(vectors.entry(function)))
    for one, other in zip(before["tests"], now["tests"], strict=True):
        for key, found in {"outputs": (one, other), "values": (one.get("gradients"), other.get("gradients"))}.items():
            for id in list(found[0][key]) if found[0] else ():
                value, right = (array_of(test[key].pop(id)) for test in found)
                scale, again = (array_of(test["tolerance"].pop(id)) for test in found)
                assert value.shape == right.shape and np.allclose(scale, again, rtol=0.011, atol=0, equal_nan=True)
                assert np.all(ratios(value, right, scale, UNITS["float64"]) <= LIMIT), f"{id} of test {other['id']}"
    assert before == now


def test_the_stored_vectors_are_right_and_small():
    assert vectors.verify(STORED) == []
    assert sum(path.stat().st_size for path in STORED.glob("*.json")) < 1_200_000


def test_the_manifest_counts_and_explains():
    manifest, documents = read(STORED / "manifest.json"), [read(STORED / name) for name in group_files(STORED)]
    tests = [test for document in documents for one in document["functions"] for test in one["tests"]]
    flags = {flag for test in tests for found in test["flags"].values() for flag in found}
    sentences = {flag: says for document in documents for flag, says in document["flags"].items()}
    assert (manifest["functions"], manifest["tests"], manifest["flags"]) == (len(QUANTITIES), len(tests), len(flags))
    assert sentences == {mistake.id: mistake.says for mistake in MISTAKES if mistake.id in flags}
    assert all(document["says"] != document["group"] for document in documents)
    assert manifest["package"] == refdpm.__version__


@pytest.mark.parametrize("function", QUANTITIES, ids=lambda one: one.id)
def test_every_output_has_a_test_that_a_mistake_fails(function):
    found = stored(function)
    assert all(any(test["flags"][output["id"]] for test in found["tests"]) for output in found["outputs"])


def test_the_same_bytes_are_written_again(fresh):
    assert json_text(vectors.document("GAU")).encode() == (fresh / "GAU.json").read_bytes()


def test_an_earlier_export_is_replaced(folder, monkeypatch):
    monkeypatch.setattr(vectors, "GROUPS", ("SCH",))
    edit(folder / "SCH.json", lambda document: document.update(says="changed"))
    shown = []
    assert vectors.export(folder, show=shown.append) == read(folder / "manifest.json")
    assert read(folder / "SCH.json")["says"] == "schedules" and "SCH.json: alpha_bar" in shown


def test_an_export_that_fails_leaves_the_earlier_one(folder, monkeypatch):
    """All files are there under temporary names before the first gets its own."""
    def full(handle):
        written.append(handle)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    written = []
    monkeypatch.setattr(run.os, "fsync", full)
    monkeypatch.setattr(vectors, "GROUPS", ("SCH",))
    edit(folder / "SCH.json", lambda document: document.update(says="changed"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="schema.json: expected a file that can be written, got an error .*No space"):
        vectors.export(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_values_are_read_back_exactly(fresh):
    """Inputs as float32 too, so that an implementation of either precision gets the same."""
    test = entry(read(fresh / "GAU.json"))["tests"][0]
    inputs = inputs_of(test["inputs"])
    edge = POSTERIOR.edges(Given())[0]
    assert all(np.array_equal(inputs[name], edge[name]) and inputs[name].dtype == edge[name].dtype for name in edge)
    assert all(np.array_equal(value.astype(np.float32).astype(float), value) for name, value in inputs.items()
               if name not in ("t", "posterior_first"))
    mean, var = POSTERIOR.reference(edge | {"posterior_first": inputs["posterior_first"]})
    assert np.array_equal(array_of(test["outputs"]["mean"]), mean) and np.array_equal(array_of(test["outputs"]["var"]), var)


def test_a_flag_is_a_mistake_that_changes_the_output(fresh):
    """POS-02 changes the mean wherever x_{t−1} is uncertain; where it is x_0, at t = 1, nothing."""
    for test in entry(read(fresh / "GAU.json"))["tests"]:
        assert ("POS-02" in test["flags"]["mean"]) == (max(test["inputs"]["t"]) > 1) >= ("POS-02" in test["flags"]["var"])
    assert read(fresh / "GAU.json")["flags"]["POS-02"] == next(mistake.says for mistake in MISTAKES if mistake.id == "POS-02")


# -- what is chosen ------------------------------------------------------------------------------------------------------

def doubled(inputs, **more):
    return Quantity("doubled", "TST.TWO", "2x", (), (Output("VALUE"),), lambda given: None, lambda given: [inputs],
                    ByHand(lambda i: (2 * i["x"],)), lambda i: (given("x") + given("x"),), **more)


def test_inputs_are_numbers_that_float32_holds():
    found = vectors_cases.cases_of(doubled({"x": np.array([0.1]), "offset": 0.1}))
    assert all(case.inputs["x"] == case.inputs["offset"] == float(np.float32(0.1)) for case in found)


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="TST.TWO: x: expected what JSON can hold, got ndarray"):
        vectors_cases.cases_of(doubled({"x": np.array([1], dtype=np.int8)}))


def test_every_choice_of_conventions_has_a_test():
    found = vectors_cases.cases_of(doubled({"x": np.array([1.0]), "t": np.array([1])}, choices=("predicts",)))
    assert {case.inputs["predicts"] for case in found} == {"noise", "x_0", "v", "score", "mean"}


def test_mistakes_are_shown_in_spite_of_the_room(monkeypatch):
    everything = vectors_cases.with_flags(POSTERIOR, vectors_cases.candidates(POSTERIOR))
    monkeypatch.setattr(vectors_cases, "EACH", 0)
    few = vectors_cases.smallest_selection(everything)
    assert len(few) < len(everything)
    for output in range(2):
        assert set().union(*(case.flags[output] for case in few)) == set().union(*(case.flags[output] for case in everything))


# -- what is said of damage ----------------------------------------------------------------------------------------------

def test_what_was_written_is_right(folder):
    assert vectors.verify(folder) == []


def test_a_changed_value_is_named_with_its_test(folder):
    def change(document):
        test = entry(document)["tests"][1]
        test["outputs"]["mean"][2][1] += 1e-9
    edit(folder / "GAU.json", change)
    problem, = vectors.verify(folder)
    assert problem.startswith("GAU.json: posterior: test 2: mean: expected ") and problem.endswith(" at (2, 1)")


@pytest.mark.parametrize("change,expected", [
    (lambda found: found["values"]["x_t"][0].__setitem__(0, 0.1), "gradient of x_t: expected "),
    (lambda found: found["cotangent"]["mean"][0].__setitem__(0, 0.1), "gradient of x_t: expected "),
    (lambda found: found["values"]["x_t"].pop(), "gradient of x_t: expected shape"),
    (lambda found: found["values"].pop("x_t"), "gradients: expected a cotangent for mean, var, and a tolerance for each value"),
    (lambda found: found["cotangent"].pop("mean"), "gradients: expected a cotangent for mean, var, and a tolerance"),
    (lambda found: found["tolerance"]["x_t"][0].__setitem__(0, 1e9), "gradient of x_t: expected the tolerance")])
def test_a_changed_gradient_is_named(folder, change, expected):
    edit(folder / "GAU.json",
         lambda document: change(next(test["gradients"] for test in entry(document)["tests"] if "gradients" in test)))
    assert any(f": {expected}" in problem and "GAU.json: posterior: test " in problem for problem in vectors.verify(folder))


@pytest.mark.parametrize("function", [one for one in QUANTITIES if one.arguments], ids=lambda one: one.id)
def test_one_test_of_a_function_with_gradients_has_them(function):
    """Generic cotangents, and gradients that are finite and not all 0, so that no other function has them."""
    found, = (test["gradients"] for test in stored(function)["tests"] if "gradients" in test)
    gradients = [array_of(value) for value in found["values"].values()]
    assert set(found["values"]) >= set(function.arguments)
    assert list(found["cotangent"]) == [one.id.lower() for one in function.outputs]
    assert all(np.isfinite(value).all() for value in gradients) and np.mean([np.any(value != 0) for value in gradients]) > 0.5


def test_a_last_digit_is_no_difference_and_a_checksum_is(folder):
    """Another machine's logarithm may round otherwise; but then the file is not the one that the manifest means."""
    def change(document):
        row = entry(document)["tests"][0]["outputs"]["mean"][0]
        row[0] = float(np.nextafter(row[0], 9))
    edit(folder / "GAU.json", change, checksum=False)
    problem, = vectors.verify(folder)
    assert problem.startswith("GAU.json: expected sha256 ")


@pytest.mark.parametrize("change,expected", [
    (lambda test: test["inputs"].pop("x_t"), "expected inputs that the reference answers, got KeyError"),
    (lambda test: test["outputs"].pop("mean"), "expected the outputs mean, var, got var"),
    (lambda test: test["outputs"]["mean"].pop(), "mean: expected shape"),
    (lambda test: test["outputs"]["mean"][0].__setitem__(0, "NaN"), "mean: expected "),
    (lambda test: test["tolerance"]["mean"][0].__setitem__(0, 1e9), "mean: expected the tolerance of its formula"),
    (lambda test: test["flags"]["mean"].append("POS-99"), "expected flags that the file explains, got 'POS-99'")])
def test_a_changed_test_is_named(folder, change, expected):
    edit(folder / "GAU.json", lambda document: change(entry(document)["tests"][0]))
    problem, = vectors.verify(folder)
    assert problem.startswith(f"GAU.json: posterior: test 1: {expected}")


@pytest.mark.parametrize("change,expected", [
    (lambda document: document.pop("says"), "file: expected the property 'says', got 'none'"),
    (lambda document: document.update(more=1), "file: expected no other properties, got 'more'"),
    (lambda document: entry(document)["tests"][0].update(id="1"), "functions[PLACE].tests[0].id: expected integer, got '1'"),
    (lambda document: entry(document)["tests"][0]["outputs"].update(mean={}), "functions[PLACE].tests[0].outputs.mean: expected"),
    (lambda document: entry(document).update(tests=[]), "functions[PLACE].tests: expected 1 items or more")])
def test_what_departs_from_the_schema_is_named(folder, change, expected):
    place = next(at for at, one in enumerate(read(folder / "GAU.json")["functions"]) if one["name"] == "posterior")
    edit(folder / "GAU.json", change)
    assert vectors.verify(folder)[0].startswith(f"GAU.json: {expected.replace('PLACE', str(place))}")


def test_a_missing_file_and_one_too_many_are_named(folder):
    (folder / "GAU.json").rename(folder / "EXTRA.json")
    problems = vectors.verify(folder)
    assert {"EXTRA.json: expected a file that manifest.json lists, got another", "GAU.json: expected a file, got none",
            "GAU.POST: expected vectors, got none"} <= set(problems)


def test_a_file_that_is_cut_off_is_named(folder):
    path = folder / "SCH.json"
    path.write_bytes(path.read_bytes()[:-100])
    assert vectors.verify(folder)[0].startswith("SCH.json: expected JSON, got a damaged one or another file")


def test_a_function_that_there_is_not_is_named(folder):
    edit(folder / "GAU.json", lambda document: entry(document).update(id="GAU.NONE"))
    assert "GAU.json: GAU.NONE: expected a function that this version has there, got another" in vectors.verify(folder)


def test_another_schema_is_named(folder):
    edit(folder / "schema.json", lambda schema: schema.update(title="another"))
    assert vectors.verify(folder) == ["schema.json: expected the schema of this version, got another"]


@pytest.mark.parametrize("content,expected", [
    (None, "expected a file, got none"), (b"\xff\x00", "expected text in UTF-8, got"), (b"[", "expected JSON, got"),
    (b"[]", "file: expected object, got"),
    (b'{"format": "other"}', "expected the property"),
    (b'{"format": "1", "package": "", "functions": 0, "tests": 0, "flags": 0, "files": {}}', "expected 'refdpm vectors 1'")])
def test_without_a_manifest_there_is_nothing_to_verify(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match="manifest.json: ") as error:
        vectors.verify(tmp_path)
    assert expected in str(error.value)


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "schema.json").write_text("mine")
    with pytest.raises(ValueError, match="schema.json: expected no file there but of an earlier export, got one"):
        vectors.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"] and (tmp_path / "schema.json").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="folder: expected a folder, got the file"):
        vectors.export(tmp_path / "file")


# -- schema and text -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value,schema,wrong", [
    (1, {"type": "number"}, False), (True, {"type": "number"}, True), (1.5, {"type": "integer"}, True),
    (None, {"type": ["null", "string"]}, False),
    ({"a": 1}, {"additionalProperties": False, "properties": {"a": {}}}, False), ({"b": 1}, {"additionalProperties": False}, True),
    ({"b": "x"}, {"additionalProperties": {"type": "integer"}}, True), ([1, "x"], {"items": {"type": "integer"}}, True),
    ("NaN", {"enum": ["NaN"]}, False), ("nan", {"enum": ["NaN"]}, True), ("a", {"const": "b"}, True), (0, {"minimum": 1}, True),
    ([], {"minItems": 1}, True), ("ab", {"pattern": "^a$"}, True), ("a", {"pattern": "^a$"}, False),
    ({}, {"required": ["a"]}, True),
    ([[1, "NaN"], [[2]]], {"$ref": "#/$defs/array"}, False), ([[1, "x"]], {"$ref": "#/$defs/array"}, True)])
def test_the_validator(value, schema, wrong):
    assert bool(list(vectors_schema.problems(value, schema))) == wrong


def test_jsonschema_finds_the_vectors_and_the_schema_right_and_what_is_wrong():
    jsonschema = pytest.importorskip("jsonschema")
    schema = read(STORED / "schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in group_files(STORED):
        document = read(STORED / name)
        for one in document["functions"]:
            one["tests"] = one["tests"][:1]                        # our own validator looks at all of them, in a tenth of the time
        assert not list(validator.iter_errors(document)), name
    document = read(STORED / "GAU.json")
    document["functions"][0]["id"] = 7
    assert list(validator.iter_errors(document))


def test_an_unknown_keyword_is_not_passed_over():
    with pytest.raises(ValueError, match="schema: expected keywords among .*, got 'maximum'"):
        list(vectors_schema.problems(3, {"maximum": 2}))


def test_numbers_that_json_has_not():
    value = np.array([[1.0, np.inf], [-np.inf, np.nan]])
    assert text(value) == [[1.0, "Infinity"], ["-Infinity", "NaN"]]
    assert np.array_equal(array_of(json.loads(json_text(text(value)))), value, equal_nan=True)
    assert three_digits(np.array([[0.0, 1.23456e-300], [np.inf, 9999.0]])).tolist() == [[0.0, 1.23e-300], [np.inf, 1e4]]


def test_beta_is_written_as_adapters_get_it():
    inputs = {"beta": np.array([0.0, 0.5, 0.25]), "t": np.array([2, 1])}
    stored = inputs_text(deepcopy(inputs))
    assert stored == {"beta": [0.5, 0.25], "t": [2, 1]}
    assert all(np.array_equal(inputs_of(stored)[name], inputs[name]) for name in inputs)


# -- another language ----------------------------------------------------------------------------------------------------

@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler named cc")
@pytest.mark.parametrize("flags,code,last", [
    ([], 0, "kl         "), (["-DMISTAKE"], 1, "what fails is explained by POS-02: precision of x_t as a measurement")])
def test_the_example_in_c(fresh, tmp_path, flags, code, last):
    """It passes, and names the mistake that is planted in it, and no other."""
    warnings = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run(["cc", "-std=c99", "-O2", *warnings, *flags, EXAMPLE, "-o", tmp_path / "check", "-lm"], check=True)
    done = subprocess.run([tmp_path / "check", fresh / "GAU.json"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == code and lines[-1].startswith(last) and len(lines) == 4 + code
    assert sum("tests pass" in line for line in lines) == 4


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler named cc")
@pytest.mark.parametrize("content", ["", "{", "[1, 2", '{"flags": {}}', '{"flags": {}, "functions": []}', '"text'])
def test_the_example_in_c_stops_at_what_it_cannot_read(tmp_path, content):
    subprocess.run(["cc", "-std=c99", EXAMPLE, "-o", tmp_path / "check", "-lm"], check=True)
    (tmp_path / "GAU.json").write_text(content)
    done = subprocess.run([tmp_path / "check", tmp_path / "GAU.json"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr
