"""What the measure door of a survey hands to the driver."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from backlight.runs.states import Arrays
from backlight.surveys.driver.material.opening import Corpus
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.steps import State

MASKS = "right-padded; pads count nowhere; every other token counts, the last of each too"


_State = TypeVar("_State", bound=State)
_Plan = TypeVar("_Plan")


@dataclass(frozen=True, kw_only=True)
class Measurement(Generic[_State, _Plan]):
    """A survey that is ready to run: the driver goes through its shards and keeps their states.

    Attributes:
        corpus: The model and the text.
        run_name: How an automatically named run directory begins; the time is added.
        title: What the progress bar says.
        state: What has been seen of the shard in progress; at the end, of the whole corpus.
        sharding: How any shard of the corpus is measured.
        plan: What else the tables door needs.
        unit: What progress is counted in.
        found: Says in a few words what was found so far; it is asked every few seconds.
        masks: Which tokens count, in words.
        text: What is read, in words; empty where the options name a dataset.
        halves: Of a survey whose state has a row for each passage: makes of the state of a few
            two that seem to be of one half of all passages each, for a trial of merging and of
            tables; None where states hold sums.
        material: Where the numbers come from besides the model and the text; all of it must be the
            same when a run is resumed.
    """

    corpus: Corpus
    run_name: str
    title: str
    state: _State
    sharding: Sharding[_State]
    plan: _Plan
    unit: str = "tokens"
    found: Callable[[], str] | None = None
    masks: str = MASKS
    text: str = ""
    halves: Callable[[Arrays], tuple[Arrays, Arrays]] | None = None
    material: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def total(self) -> int:
        """How many units of progress the whole is."""
        return sum(self.sharding.num_tokens)
