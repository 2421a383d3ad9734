"""Surveys that are stopped half-way, as by control-C, after a checkpoint."""

from contextlib import contextmanager

import pytest

from backlight.surveys.driver.words import progress


@contextmanager
def stopping(command, survey, num_batches):
    """Make a command's survey stop after some batches; a checkpoint is kept after each."""
    real = getattr(command, survey)

    def interrupted(*args, **kwargs):
        steps = real(*args, **kwargs)
        for _ in range(num_batches):
            yield next(steps)
        raise KeyboardInterrupt

    with _in_place(command, survey, interrupted, seconds=0.0):
        yield


@contextmanager
def stopping_after(command, survey, num_batches, *, seconds=0.0):
    """Make it stop after some batches of all shards together, checkpoints kept so often."""
    left, real = [num_batches], getattr(command, survey)

    def counted(*args, **options):
        for step in real(*args, **options):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            yield step

    with _in_place(command, survey, counted, seconds=seconds):
        yield


@contextmanager
def _in_place(command, survey, other, *, seconds):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, survey, other)
        patch.setattr(progress, "CHECKPOINT_SECONDS", seconds)
        patch.setattr(progress, "CHECKPOINT_PATIENCE", 0)
        yield
