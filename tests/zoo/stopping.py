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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, survey, interrupted)
        patch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(progress, "CHECKPOINT_PATIENCE", 0)
        yield
