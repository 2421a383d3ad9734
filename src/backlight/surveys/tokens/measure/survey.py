"""The gradient at every position of structured prompts, at every site, prompt by prompt."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.capture.finite import check_finite
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.errors import FamilyProofError, StateError
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.answers import AnswerObjective
from backlight.objectives.grid import Grid
from backlight.objectives.prompts import Prompt
from backlight.objectives.spans import PromptTokens
from backlight.stats.base import State, Statistic, taken, under
from backlight.stats.progress import Progress
from backlight.surveys.driver.paths import Paths
from backlight.surveys.tokens.measure.reach import follows, reaches
from backlight.surveys.tokens.measure.recording import Judged, recorded

MEASURES = ("gradient_norm", "activation_norm", "grad_x_act")
"""What is measured at each token: the L2 norms of the gradient and of the activation, and their
inner product: to first order, how much of the objective hangs on the token's vector."""


COMPLETENESS = "completeness"
"""What is kept of each site besides, of paths: what they add up to, ``[prompts, 3]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """Prompts with all that is known of them before the model is asked.

    Attributes:
        prompts: The prompts.
        located: Their tokens.
        grid: The positions that they share.
        objective: What is differentiated.
    """

    prompts: Sequence[Prompt]
    located: Sequence[PromptTokens]
    grid: Grid
    objective: AnswerObjective

    @property
    def passages(self) -> Passages:
        """The prompts as passages of tokens."""
        return Passages(tokens=[tokens.ids for tokens in self.located])


@final
class TokenSurvey(Statistic):
    """All that was measured so far, one row for each prompt.

    Attributes:
        num_batches: How many batches were measured.
        nats: The cross-entropy of each answer, summed over its tokens that count; NaN of a prompt
            that was not measured yet.
        value: The objective of each prompt.
        right: Whether each answer is what the model would have said, greedily.
        measured: By site and measure (``layers.3.resid.post/gradient_norm``), ``[prompts, 1 +
            heads, positions]``: first the whole vector, then each head, if the site has heads. NaN
            where a prompt has no such position. Of paths also ``.../completeness``, ``[prompts,
            3]``: the change to zero as the gradient predicts it, as the path adds up, as it is.
        vectors: By site and position (``layers.3.resid.post/comma/gradients``), the gradients and
            ``.../activations`` there, ``[prompts, width]``, float32.
    """

    def __init__(self, num_prompts: int) -> None:
        self.num_batches = 0
        self.nats = np.full(num_prompts, np.nan)
        self.value = np.full(num_prompts, np.nan)
        self.right = np.zeros(num_prompts, dtype=np.bool_)
        self.measured: dict[str, NDArray[np.float64]] = {}
        self.vectors: dict[str, NDArray[np.float32]] = {}

    def update(
        self,
        prompts: Sequence[int],
        tape: Tape,
        right: NDArray[np.bool_],
        found: Mapping[str, NDArray[np.float64]],
        vectors: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Take in a batch.

        Args:
            prompts: Which prompts it holds.
            tape: With the loss and the objective of each.
            right: Whether the model is right about each.
            found: What was measured of them, as in ``measured``.
            vectors: Their vectors, as in ``vectors``.
        """
        assert tape.nats is not None
        assert tape.value is not None
        rows = list(prompts)
        self.nats[rows], self.value[rows] = tape.nats.numpy(), tape.value.numpy()
        self.right[rows] = right
        self._put(rows, found, vectors)
        self.num_batches += 1

    def merge(self, other: "TokenSurvey") -> None:
        """Take in what another has measured of other prompts of the same set.

        Args:
            other: With rows for all prompts of the set.

        Raises:
            StateError: If both have measured the same prompt.
        """
        there = ~np.isnan(other.nats)
        both = np.flatnonzero(there & ~np.isnan(self.nats))
        if len(both):
            raise StateError(f"prompt {both[0]} is in both of two parts that are to be merged")
        rows = np.flatnonzero(there).tolist()
        for own, theirs in ((self.nats, other.nats), (self.value, other.value)):
            own[rows] = theirs[rows]
        self.right[rows] = other.right[rows]
        self._put(
            rows,
            {name: array[rows] for name, array in other.measured.items()},
            {name: array[rows] for name, array in other.vectors.items()},
        )
        self.num_batches += other.num_batches

    def state(self) -> dict[str, NDArray[Any]]:
        """See ``Statistic.state``; only prompts that were measured have rows, named in ``rows``."""
        rows = np.flatnonzero(~np.isnan(self.nats))
        return {
            "num_batches": np.array(self.num_batches),
            "rows": rows,
            "nats": self.nats[rows],
            "value": self.value[rows],
            "right": self.right[rows],
            **{f"measured/{name}": array[rows] for name, array in self.measured.items()},
            **{f"vectors/{name}": array[rows] for name, array in self.vectors.items()},
        }

    def restore(self, state: State) -> None:
        """See ``Statistic.restore``."""
        num_prompts = len(self.nats)
        self.num_batches = int(taken(state, "num_batches", np.zeros((), dtype=np.int64)))
        rows = taken(state, "rows", np.zeros(0, dtype=np.int64), any_length=True)
        if (np.diff(rows) <= 0).any() or (rows >= num_prompts).any():
            raise StateError(f"'rows' are not some of {num_prompts} prompts in their order")
        self.nats, self.value = np.full((2, num_prompts), np.nan)
        self.right = np.zeros(num_prompts, dtype=np.bool_)
        self.nats[rows] = taken(state, "nats", self.nats[rows])
        self.value[rows] = taken(state, "value", self.value[rows])
        self.right[rows] = taken(state, "right", self.right[rows])
        self.measured, self.vectors = {}, {}
        self._put(rows.tolist(), under("measured", state), under("vectors", state))

    def _put(
        self,
        rows: Sequence[int],
        found: Mapping[str, NDArray[Any]],
        vectors: Mapping[str, NDArray[Any]],
    ) -> None:
        """Fill the rows of some prompts; arrays of a name that is new are blank elsewhere."""
        blank = np.full(len(self.nats), np.nan)
        _fill(self.measured, rows, found, blank)
        _fill(self.vectors, rows, vectors, blank.astype(np.float32))


def _fill(
    held: dict[str, NDArray[Any]],
    rows: Sequence[int],
    found: Mapping[str, NDArray[Any]],
    blank: NDArray[Any],
) -> None:
    for name, array in found.items():
        if name not in held:
            shape = (len(blank), *array.shape[1:])
            held[name] = np.full(shape, np.nan, dtype=blank.dtype)
        held[name][rows] = array


def survey_tokens(
    subject: Subject,
    material: PromptSet,
    batches: Sequence[Sequence[int]],
    state: TokenSurvey,
    *,
    sites: Sequence[Site],
    targets: Sequence[int],
    paths: Paths | None = None,
) -> Generator[Progress, None, None]:
    """Measure prompts, one forward and one backward pass for each batch, all sites at once.

    Along paths it is several passes for each site.

    Args:
        subject: The model.
        material: The prompts.
        batches: The members of each batch; those already in the state are left out.
        state: What was measured before; it is added to.
        sites: Where to look.
        targets: The positions at which whole vectors are kept.
        paths: The paths along which gradients are averaged; None to take them where the model is.

    Yields:
        How far it has come, after each batch.

    Raises:
        NonFiniteError: If the objective or a gradient is NaN or infinite.
        FamilyProofError: If a gradient is found where causality forbids one.
    """
    passages, names = material.passages, [each.name for each in material.grid.positions]
    longest = max(len(tokens) for tokens in passages.tokens)
    reads = material.objective.reads()
    reach = {site.name: follows(subject, site, reads, longest) for site in sites}
    judged = Judged(material.objective, len(material.prompts))
    left = batches[state.num_batches :]
    there = (Batch.of(passages, members).to(subject.device) for members in left)
    for tape in recorded(subject, there, sites, judged, paths):
        batch, members = tape.batch, list(tape.batch.passages)
        shares = _shares(material.grid, members, batch.input_ids.shape[1])
        found, vectors = dict[str, NDArray[np.float64]](), dict[str, NDArray[np.float64]]()
        for site in sites:
            check_finite(tape.gradients[site.name], site.name, batch, "gradients")
            _check_reach(tape, site, batch, reach[site.name][members])
            gradient = tape.gradients[site.name].cpu().double()
            activation = tape.activations[site.name].cpu().double()
            found |= _measures(site, shares, gradient, activation)
            if paths is not None:
                found[f"{site.name}/{COMPLETENESS}"] = tape.changes[site.name].numbers.numpy()
            for each in targets:
                name, share = f"{site.name}/{names[each]}", shares[:, each]
                vectors[f"{name}/gradients"] = _average(share, gradient)
                vectors[f"{name}/activations"] = _average(share, activation)
        state.update(members, tape, judged.right[members], found, vectors)
        yield Progress(num_tokens=batch.num_tokens)


def reachable(subject: Subject, material: PromptSet, site: Site) -> NDArray[np.bool_]:
    """Find which positions of which prompts can have a gradient that is not zero.

    Args:
        subject: The model.
        material: The prompts.
        site: Where.

    Returns:
        ``[prompts, positions]``; false also where a prompt has no such position.
    """
    grid = material.grid
    longest = max(len(tokens.ids) for tokens in material.located)
    found = reaches(subject, site, material.objective.reads(), longest)
    before = np.concatenate([np.zeros((len(found), 1), int), found.cumsum(axis=1)], axis=1)
    own = np.arange(len(found))[:, None]
    return before[own, grid.stops] > before[own, grid.starts]


def _shares(grid: Grid, rows: Sequence[int], num_tokens: int) -> Float[Tensor, "b columns tokens"]:
    """Weigh the tokens of each position: 1 over their number, NaN if there is none."""
    places = np.arange(num_tokens)
    starts, stops = grid.starts[rows, :, None], grid.stops[rows, :, None]
    inside = (places >= starts) & (places < stops)
    counts = np.where(stops > starts, stops - starts, np.nan)
    return torch.from_numpy(inside / counts)


def _measures(
    site: Site,
    shares: Float[Tensor, "b columns tokens"],
    gradient: Float[Tensor, "b tokens width"],
    activation: Float[Tensor, "b tokens width"],
) -> dict[str, NDArray[np.float64]]:
    """Average each measure over the tokens of each position."""
    found = {
        "gradient_norm": _by_head(gradient.square(), site.num_heads).sqrt(),
        "activation_norm": _by_head(activation.square(), site.num_heads).sqrt(),
        "grad_x_act": _by_head(gradient * activation, site.num_heads),
    }
    return {
        f"{site.name}/{measure}": torch.einsum("bct,bht->bhc", shares, values).numpy()
        for measure, values in found.items()
    }


def _by_head(
    values: Float[Tensor, "batch positions width"], num_heads: int
) -> Float[Tensor, "batch rows positions"]:
    """Sum over the whole vector and, if there are several heads, over each head's part."""
    whole = values.sum(dim=-1)[:, None]
    if num_heads == 1:
        return whole
    heads = values.unflatten(-1, (num_heads, -1)).sum(dim=-1).transpose(1, 2)
    return torch.cat([whole, heads], dim=1)


def _average(
    share: Float[Tensor, "b tokens"], values: Float[Tensor, "b tokens width"]
) -> NDArray[np.float64]:
    return torch.einsum("bt,btw->bw", share, values).numpy()


def _check_reach(tape: Tape, site: Site, batch: Batch, reach: NDArray[np.bool_]) -> None:
    beyond = ~torch.from_numpy(reach[:, : batch.input_ids.shape[1]]).to(batch.input_ids.device)
    wrong = beyond & batch.valid & (tape.gradients[site.name] != 0).any(dim=-1)
    if wrong.any():
        row, place = (int(index) for index in wrong.nonzero()[0])
        raise FamilyProofError(
            f"At {site.name}, token {place} of prompt {batch.passages[row]} has a gradient, but in "
            "a causal model with these blocks it cannot reach the objective. Please report this "
            "model."
        )
