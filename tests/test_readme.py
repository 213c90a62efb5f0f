"""What README.md shows is what comes."""

from pathlib import Path
import re

import pytest

from refdpm import cli

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def blocks():
    if not README.exists():
        pytest.skip("no README.md beside the tests")
    return re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def block(blocks, language, word):
    found, = (text for kind, text in blocks if kind == language and word in text)
    return found


def shown_in_order(lines, printed):
    """Those of the lines that are not among what was printed, or not in this order; … stands for what is left out."""
    rest = iter(printed)
    return [line for line in lines if line.strip() != "…" and line not in rest]


def test_the_adapter_with_a_mistake_is_told_what_is_shown(blocks, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_adapter.py").write_text(block(blocks, "python", "abar_prev"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "my_adapter.py"]) == 1
    assert not shown_in_order(block(blocks, "text", "SCH-01c").splitlines(), capsys.readouterr().out.splitlines())


def test_the_adapter_without_it_passes(blocks, tmp_path, monkeypatch, capsys):
    right = block(blocks, "python", "abar_prev").replace("np.append(abar[1:], 1.0)", "np.append(1.0, abar[:-1])")
    (tmp_path / "my_adapter.py").write_text(right, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "my_adapter.py"]) == 0
    assert f"`{capsys.readouterr().out.splitlines()[0]}`" in README.read_text(encoding="utf-8")


def test_the_gradient_with_a_mistake_is_told_what_is_shown(blocks):
    with pytest.raises(AssertionError) as raised:
        exec(block(blocks, "python", "def layer_backward"), {})
    assert not shown_in_order(block(blocks, "text", "the gradient of layer").splitlines(),
                              f"AssertionError: {raised.value}".splitlines())


def test_a_line_that_does_not_come_is_seen():
    assert shown_in_order(["a", "…", "c"], ["a", "b", "c"]) == [] and shown_in_order(["c", "a"], ["a", "b", "c"]) == ["a"]
