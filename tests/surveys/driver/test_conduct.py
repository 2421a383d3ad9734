"""What every survey has from the one driver."""

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch

import backlight

PACKAGE = str(Path(backlight.__file__).parent)


@pytest.fixture
def calls(monkeypatch):
    """The frames of the package at each backward pass, outermost first."""
    real, seen = torch.autograd.grad, []

    def grad(*args, **options):
        stack = traceback.extract_stack()
        seen.append([frame.name for frame in stack if frame.filename.startswith(PACKAGE)])
        return real(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    return seen


@pytest.mark.parametrize("name", ["layers", "flow"])
def test_from_the_call_to_autograd_are_at_most_five_frames(name, options, calls):
    getattr(backlight, name)(**options)

    assert calls
    assert max(map(len, calls)) <= 5, max(calls, key=len)


def test_also_of_a_survey_of_prompts(calls):
    backlight.tokens(task_type="distance", n_samples=2, target_layers=0)

    assert max(map(len, calls)) <= 5, max(calls, key=len)


@pytest.mark.parametrize("splice", ["error", "replace"])
def test_also_of_a_survey_of_features(splice, options, calls, tmp_path):
    from zoo.dictionaries import random_dictionary

    dictionaries = {1: random_dictionary(32, dtype=torch.float32, seed=0)}
    backlight.sae(
        **options,
        dictionaries=dictionaries,
        site="mlp.out",
        splice=splice,
        allow_poor_reconstruction=True,
    )

    assert max(map(len, calls)) <= 5, max(calls, key=len)


def test_nothing_is_drawn_or_loaded_for_drawing_if_nothing_is_written():
    code = (
        "import sys, backlight; "
        "backlight.layers(model_name='city', dataset=['distance(c_12,c_2045)=']); "
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_help_loads_no_torch():
    code = (
        "import sys; from backlight.cli import main; main(['layers', '--help']); "
        "print([name for name in ('torch', 'transformers', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip().endswith("[]")
