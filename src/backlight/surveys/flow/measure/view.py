"""One way of looking at a tape: which sites it needs, and what it adds up."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from backlight.capture.tape import Tape
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall
from backlight.stats.base import Sums


class View(Sums, ABC):
    """Sums of what some layers do to the gradient; memory does not grow with the corpus.

    Attributes:
        sites: Where a tape must have gradients.
        kept: At which of these sites the next tape must have activations too.
        norms: At which sites a tape must have the tokens' norms.
        attention_layers: Of which layers what attends must be kept.
        no_warning: Why predictions of setting its units to zero are not weighed; empty if they are.
    """

    sites: Sequence[Site]
    kept: Collection[str] = ()
    norms: Sequence[Site] = ()
    attention_layers: Sequence[int] = ()
    no_warning: str = ""

    @abstractmethod
    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: What attended, by layer.
        """
