"""The page's JavaScript stays small, and text stays text; `make check` has its types and lint."""

import re
from pathlib import Path

import pytest

import backlight

FILES = sorted((Path(backlight.__path__[0]) / "report" / "page" / "assets").glob("*.js"))
HARM = re.compile(
    r"\.(inner|outer)HTML|insertAdjacentHTML|setHTML|srcdoc|document\.write|createContextualFragment"
    r"|DOMParser|\beval\b|\bFunction\(|\bimport\(|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon"
)


def test_all_files_together_have_less_than_800_lines():
    lines = [line for file in FILES for line in file.read_text(encoding="utf-8").splitlines()]

    assert len(lines) < 800
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_says_its_idea_first_and_never_turns_text_into_markup_or_code(file):
    text = file.read_text(encoding="utf-8")

    assert text.startswith(("// ", "/** ", "/* "))
    assert HARM.findall(text) == []


def test_what_is_declared_is_used():
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)

    declared = re.findall(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", text, re.MULTILINE)
    unused = [name for name in declared if len(re.findall(rf"\b{name}\b", text)) < 2]
    assert unused == []
