"""The losses of a training, and what they can tell of its progress."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.robust import in_pieces, middle
from backlight.training.log.history import History

LEAST_LOSSES = 30
"""Losses, below which nothing is said of their course."""

_SIGNED = 0.1  # share of losses that are zero or below, in what measures no error
_AT_ZERO = 0.02  # of its largest, at the start: an error does not begin with nothing
_FIRST = 3  # steps
_UNLEARNED = 0.8  # of what guessing evenly costs
_LEARNED = 0.01  # of its first fifth, below which nothing is left to learn


def noise_of(losses: NDArray[np.float64]) -> float:
    """Measure how much the loss differs between batches, from neighbouring steps."""
    # Differences of neighbours do not see the slow fall, and have twice the variance of one loss.
    changes = np.diff(losses)
    return float(1.4826 * middle(np.abs(changes - middle(changes))) / np.sqrt(2))


@dataclass(frozen=True, kw_only=True)
class Course:
    """The finite losses of a training, and what they can tell.

    A loss tells of progress if it measures an error: then it is above zero and falls. That of a
    policy gradient lies around zero whatever is learned, one with a penalty for leaving a reference
    begins at zero, the logarithm of a density may have any sign. Nothing is read from such a loss
    but that it is finite.

    Attributes:
        history: What was recorded.
        vocabulary: How many tokens there are if it is a model of tokens, else None.
    """

    history: History
    vocabulary: int | None = None

    @cached_property
    def steps(self) -> NDArray[np.int64]:
        """The steps of the finite losses, ``[L]``."""
        return self.history.loss_steps[np.isfinite(self.history.losses)]

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The finite losses, ``[L]``."""
        return self.history.losses[np.isfinite(self.history.losses)]

    @property
    def is_long(self) -> bool:
        """There are enough losses to speak of a course."""
        return len(self.losses) >= LEAST_LOSSES

    @cached_property
    def is_signed(self) -> bool:
        """Losses are zero or below at times: they measure no error."""
        return len(self.losses) > 0 and bool((self.losses <= 0).mean() >= _SIGNED)

    @cached_property
    def begins_at_zero(self) -> bool:
        """The first losses are next to nothing against later ones."""
        return len(self.losses) > 0 and bool(
            self.losses[:_FIRST].min() <= _AT_ZERO * min(1.0, float(self.losses.max()))
        )

    @property
    def is_error(self) -> bool:
        """As far as can be seen, this loss measures an error."""
        return not self.is_signed and not self.begins_at_zero and not self.history.of_rewards

    @property
    def may_be_another(self) -> bool:
        """It is no model of tokens, so its loss may be that of two who play against each other."""
        return self.vocabulary is None and any(info.numel for info in self.history.parameters)

    @cached_property
    def noise(self) -> float:
        """How much the loss differs between batches."""
        return noise_of(self.losses)

    @cached_property
    def smooth(self) -> NDArray[np.float64]:
        """The median over nine losses (a third of them, if they are few)."""
        width = min(9, len(self.losses) // 3)
        windows = np.lib.stride_tricks.sliding_window_view(self.losses, width)
        smooth = np.empty(len(windows))
        for piece in in_pieces(len(windows), width):
            smooth[piece] = middle(windows[piece], axis=1)
        return smooth

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The median of the first fifth of the losses, and of the last."""
        part = len(self.losses) // 5
        return float(middle(self.losses[:part])), float(middle(self.losses[-part:]))

    @property
    def is_flat(self) -> bool:
        """The last fifth lies no lower than the first by more than noise and 2 %."""
        if not self.is_long or not self.is_error:
            return False
        (first, last), part = self.ends, len(self.losses) // 5
        return bool(first - last < max(0.02 * abs(first), 4 * self.noise / np.sqrt(part)))

    @property
    def is_unlearned(self) -> bool:
        """It begins at what guessing evenly among all tokens costs, and does not even fall slowly.

        A fall of less than 2 % that is no noise is one: a warm-up takes its time.
        """
        if self.vocabulary is None or not self.is_long:
            return False
        (first, last), part = self.ends, len(self.losses) // 5
        # Two standard errors: that of a median is sqrt(pi / 2), about 1.25, times that of a mean.
        falls = first - last > 2 * 1.25 * self.noise * np.sqrt(2 / part)
        return bool(first >= _UNLEARNED * np.log(self.vocabulary) and not falls)

    @property
    def starts_unlearned(self) -> bool:
        """The loss is known from the first steps on, where it was at least that of guessing."""
        if self.vocabulary is None or not len(self.losses) or self.steps[0] > _FIRST:
            return False
        return bool(middle(self.losses[:_FIRST]) >= _UNLEARNED * np.log(self.vocabulary))

    @property
    def has_fallen(self) -> bool:
        """The loss measures an error, and has fallen by more than noise and 2 %."""
        return self.is_long and self.is_error and self.ends[1] < self.ends[0] and not self.is_flat

    @property
    def is_learned(self) -> bool:
        """Hardly anything is left of it."""
        return self.has_fallen and self.ends[1] < _LEARNED * self.ends[0]
