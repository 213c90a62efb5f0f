"""Every equation that can be code has code and a test, every property a test, and everything left as prose a reason."""

from pathlib import Path

import pytest

from refdpm import paper, traceability

TESTS = Path(__file__).parent
ROWS = {row["number"]: row for row in traceability.matrix(TESTS)}
DOCUMENT = TESTS.parent / "validation" / "EQUATIONS.md"


def test_all_equations_and_both_columns_of_the_table_are_there():
    assert [number for number in ROWS if number.isdigit()] == [str(n) for n in range(1, 66)]
    rows = {column: {n.removeprefix(f"App.1 {column} ") for n in ROWS if n.startswith(f"App.1 {column} ")} for column in "GB"}
    assert rows["G"] == rows["B"] and len(rows["G"]) == 11


@pytest.mark.parametrize("number", list(ROWS))
def test_loop_is_closed(number):
    row = ROWS[number]
    assert row["status"] in ("code", "property", "prose") and row["says"]
    if row["status"] == "code":
        assert row["code"] and row["tests"], row
    elif row["status"] == "property":
        assert row["tests"], row
    else:
        assert row["note"], row


def test_unknown_number_is_refused_at_import():
    with pytest.raises(ValueError, match="registry.*66"):
        paper.eq("66")


def test_unknown_number_in_a_test_is_refused(tmp_path):
    (tmp_path / "test_x.py").write_text("import pytest\n@pytest.mark.eq('99')\ndef test_it(): pass\n")
    with pytest.raises(ValueError, match="test_x.*99"):
        traceability.tests_of(tmp_path)


def test_decorator_returns_the_function_itself():
    assert paper.eq("39")(len) is len
    paper._code.pop("39")                                       # an equation that numbers nothing, so that no trace is left


def test_document_holds_the_matrix():
    text = DOCUMENT.read_text(encoding="utf-8")
    rendered = traceability.render(traceability.matrix(TESTS)).strip()
    assert rendered in text, "run: python -m refdpm equations, and paste it into validation/EQUATIONS.md"
