"""What the measure door of a survey hands to the driver."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from backlight.surveys.driver.opening import Corpus
from backlight.surveys.driver.sharding import Sharding
from backlight.surveys.driver.steps import State, Step

MASKS = "right-padded; pads count nowhere; every other token counts, the last of each too"


_State = TypeVar("_State", bound=State)
_Plan = TypeVar("_Plan")


@dataclass(frozen=True, kw_only=True)
class Measurement(Generic[_State, _Plan]):
    """A survey that is ready to run: the driver steps through it and keeps its state.

    Attributes:
        corpus: The model and the text.
        run_name: How an automatically named run directory begins; the time is added.
        title: What the progress bar says.
        state: What has been seen so far.
        steps: Goes on from where the state stands, and changes it with each step.
        plan: What else the tables door needs.
        total: How many units of progress the whole is.
        done: Counts how many of them the state holds.
        unit: What progress is counted in.
        found: Says in a few words what was found so far; it is asked every few seconds.
        masks: Which tokens count, in words.
        material: Where the numbers come from besides the model and the text; all of it must be the
            same when a run is resumed.
        sharding: How any shard of the corpus is measured; None if it is measured as one, by
            ``steps``.
    """

    corpus: Corpus
    run_name: str
    title: str
    state: _State
    steps: Callable[[], Iterator[Step]]
    plan: _Plan
    total: int
    done: Callable[[], int]
    unit: str = "tokens"
    found: Callable[[], str] | None = None
    masks: str = MASKS
    material: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sharding: Sharding[Any] | None = None
