"""Surveys of a real model, whose workers are killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from zoo.folders import numbers
from zoo.processes import commands

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]

KILLS = 10
SHORT = ("--model_name", "smollm2", "--dataset", "shakespeare", "--max_length", "32")
SURVEYS = {
    "layers": ("layers", *SHORT, "--num_samples", "320", "--aggregation_mode", "both"),
    "sae-error": (
        *("sae", *SHORT, "--num_samples", "640", "--sae_path", "smollm2"),
        *("--splice", "error"),
    ),
    "sae-replace": (
        *("sae", *SHORT, "--num_samples", "640", "--sae_path", "smollm2"),
        *("--splice", "replace", "--position_stride", "8"),
    ),
    "tokens": ("tokens", "--task_type", "distance", "--n_samples", "1200", "--batch_size", "20"),
    "flow": ("flow", *SHORT, "--num_samples", "320"),
}


def run_apart(words, output_dir, *more):
    """Begin a command in a process of its own, with one thread."""
    command = [sys.executable, "-m", "backlight", *words, "--figures", "none", "--quiet"]
    return subprocess.Popen(
        [*command, "--output_dir", output_dir, *more], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def workers_of(pid):
    """Find the processes that a process has spawned to measure."""
    return [own for own, parent, words in commands() if parent == pid and b"spawn_main" in words]


@pytest.mark.parametrize("survey", SURVEYS)
def test_workers_killed_at_ten_random_moments_leave_the_same_bytes(survey, place):
    begun = time.monotonic()
    assert run_apart(SURVEYS[survey], "alone").wait() == 0
    seconds = time.monotonic() - begun
    drawn = random.Random(survey)

    killed, run = 0, 0
    while killed < KILLS:  # a run may end before it lost so many
        run += 1
        words = (SURVEYS[survey], f"together_{run}", "--workers", "2")
        measuring = run_apart(*words)
        while measuring.poll() is None:
            time.sleep(drawn.uniform(0.1, max(seconds / 4, 1.0)))
            workers = workers_of(measuring.pid)
            if workers and killed < KILLS:
                os.kill(drawn.choice(workers), signal.SIGKILL)
                killed += 1
            if measuring.poll() == 1:  # three died at one shard, and the user is asked to go on
                measuring = run_apart(*words, "--resume")
        assert measuring.returncode == 0
        assert numbers(place / f"together_{run}") == numbers(place / "alone")
