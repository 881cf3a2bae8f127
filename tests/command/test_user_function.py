"""FILE.py:function: found, or one line that says what is missing."""

import pytest

from topogen.command.user_function import load_function
from topogen.errors import InvalidInputError


def test_a_function_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("def energy(x):\n    return 2 * x\n")
    assert load_function(f"{tmp_path}/mine.py:energy")(3) == 6


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.py", "", "expected FILE.py:function"),
        ("mine.py:2x", "", "expected FILE.py:function"),
        ("other.py:energy", "", "no such Python file"),
        ("mine.py:energy", "energy = 3", "no function 'energy'"),
        ("mine.py:energy", "def energy(:", "fails when it is run: SyntaxError"),
        ("mine.py:energy", "raise OSError('gone')", "fails when it is run: OSError: gone"),
    ],
)
def test_what_is_missing_is_said(tmp_path, name, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        load_function(f"{tmp_path}/{name}")
