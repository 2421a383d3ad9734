"""What the doctor says in words: a verdict with numbers, without figures of speech."""

from dataclasses import replace

import numpy as np
import pytest

from backlight.training.doctor.catalogue import SYMPTOMS
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.doctor.words import meaning
from zoo.histories import changed, healthy

ALL = len(SYMPTOMS)


def frozen(*layers):
    history = healthy()
    infos = tuple(replace(i, trainable=i.layer not in layers) for i in history.parameters)
    return replace(history, parameters=infos)


@pytest.mark.parametrize(
    ("history", "told"),
    [
        (healthy(), f"Of {ALL} symptoms, none was found."),
        (frozen(2), f"Of {ALL} symptoms, 1 was found, as a warning."),
    ],
    ids=["healthy", "frozen"],
)
def test_a_healthy_run_is_told_with_how_many_symptoms_were_found(history, told):
    diagnosis = diagnose(history)

    assert diagnosis.verdict == "healthy"
    assert meaning(diagnosis) == told


def test_an_error_is_told_with_what_it_means_and_how_many_symptoms_were_found():
    history = changed(healthy(), "norm", range(40, 60), [3], np.nan)

    told = meaning(diagnose(history))

    assert told.startswith(
        "There are NaN or infinite numbers; nothing is learned from there on. Of"
    )
    assert f"Of {ALL} symptoms, 1 was found." in told


def test_of_a_log_without_a_gradient_no_symptom_is_said_to_be_absent():
    history = healthy()
    nothing = replace(history, statistics={}, global_norm=np.full(60, np.nan))

    diagnosis = diagnose(nothing)

    assert diagnosis.verdict == "nothing to judge"
    assert meaning(diagnosis) == "No gradient was read, so this is no sign of health."
