"""What a type checker in a user's project sees of the package."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import refdpm


def public_names():
    """Every public function and class of every module, by its full name, where it is defined."""
    for module in (f"refdpm.{entry}" for entry in refdpm.READING_ORDER):
        for name, member in vars(importlib.import_module(module)).items():
            if not name.startswith("_") and callable(member) and getattr(member, "__module__", "") == module:
                yield f"{module}.{name}"


def test_every_public_name_has_a_type(tmp_path):
    """None is Any, which says nothing, and no line of the user's file is an error."""
    pytest.importorskip("mypy", reason="the extra `dev` is not installed")
    names = list(public_names())
    imports = dict.fromkeys(name.rpartition(".")[0] for name in names)
    user = tmp_path / "user.py"
    user.write_text("\n".join([*(f"import {module}" for module in imports), *(f"reveal_type({name})" for name in names)]))
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path), str(user)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"MYPYPATH": str(Path(refdpm.__file__).parents[1])})
    types = re.findall(r'user\.py:\d+: note: Revealed type is "(.*)"', done.stdout)
    assert len(types) == len(names) > 700 and " error: " not in done.stdout, done.stdout[-2000:]
    assert not [name for name, of in zip(names, types) if of == "Any"]
