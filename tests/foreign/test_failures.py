import errno
import json
import pickle
import re
import zipfile

import pytest
import torch
import yaml
from safetensors import SafetensorError

from backlight import cli
from backlight.foreign.failures import kinds_of_failures, tell


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "'/x/y' cannot be read or wri"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "What is printed, or a file, .*No space",
        ),
        (OSError("odd"), r"Something cannot be read or written \(OSError: odd\)"),
        (PermissionError(13, "Permission denied", b"\x1b[2J"), r"\\x1b\[2J' cannot be .*denied"),
        (FileNotFoundError(2, "No such file", "n" * 5000), "'n{99}…n+' cannot be .*No such file"),
        (MemoryError(), r"There is not enough memory for this\. Less is needed with a smaller"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply to be followed"),
        (RuntimeError("Could not determine home directory."), "A path cannot be followed"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "is damaged, or of another kind"),
        (ImportError("No module named 'einops'"), r"A package is missing, .* 'einops'"),
        (EOFError(), r"is damaged, or of another kind than its name says \(EOFError: \)"),
        (zipfile.BadZipFile("\x1b[2J\nx"), r"\(BadZipFile: \\x1b\[2J\\nx\)"),
        (pickle.UnpicklingError("x" * 5000), "UnpicklingError: x{200,300}…"),
        (json.JSONDecodeError("bad", "", 0), "JSONDecodeError: bad"),
        (yaml.YAMLError("bad"), "YAMLError: bad"),
        (SafetensorError("header"), "SafetensorError: header"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_is_one_sentence_and_its_traceback_is_for_debug(error, told, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli, "app", fail)

    assert isinstance(error, kinds_of_failures())
    assert re.search(told, tell(error))
    assert cli.main(["sites", "x"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("backlight: ")
    assert len(printed.splitlines()) == 1
    assert len(printed) < 1500
    assert cli.main(["sites", "x", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, TypeError])
def test_a_fault_of_ours_shows_itself(kind, monkeypatch):
    def fail(*_, **__):
        raise kind("a")

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(kind):
        cli.main(["sites", "x"])


def test_a_command_whose_reader_went_away_ends_quietly(monkeypatch, capsys):
    def fail(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli, "let_go", lambda stream: None)

    assert cli.main(["sites", "x"]) == 141
    assert capsys.readouterr() == ("", "")


def test_an_error_of_any_length_is_told_in_a_line(monkeypatch, capsys):
    def fail(*_, **__):
        raise cli.BacklightError("a\n" * 50_000 + "\x1b end")

    monkeypatch.setattr(cli, "app", fail)

    assert cli.main(["sites", "x"]) == 1
    printed = capsys.readouterr().err
    assert len(printed) < 1500
    assert printed.endswith("\\x1b end\n")
