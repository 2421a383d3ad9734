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
from backlight.capture.record import record
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.errors import FamilyProofError
from backlight.models.head import Head
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.answers import AnswerObjective, answered
from backlight.objectives.grid import Grid
from backlight.objectives.objective import LossGradient
from backlight.objectives.prompts import Prompt
from backlight.objectives.spans import PromptTokens
from backlight.stats.base import taken, under
from backlight.surveys.layers.measure.profile import Progress
from backlight.surveys.tokens.measure.reach import follows, reaches

MEASURES = ("gradient_norm", "activation_norm", "grad_x_act")
"""What is measured at each token: the L2 norms of the gradient and of the activation, and their
inner product: to first order, how much of the objective hangs on the token's vector."""


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
class TokenSurvey:
    """All that was measured so far, one row for each prompt.

    Attributes:
        num_batches: How many batches were measured.
        nats: The cross-entropy of each answer, summed over its tokens that count.
        value: The objective of each prompt.
        right: Whether each answer is what the model would have said, greedily.
        measured: By site and measure (``layers.3.resid.post/gradient_norm``), ``[prompts, 1 +
            heads, positions]``: first the whole vector, then each head, if the site has heads. NaN
            where a prompt has no such position.
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

    def state(self) -> dict[str, NDArray[Any]]:
        """Give everything as plain arrays; ``restore`` takes them back bit by bit."""
        own = {"nats": self.nats, "value": self.value, "right": self.right}
        return {
            "num_batches": np.array(self.num_batches),
            **own,
            **{f"measured/{name}": array for name, array in self.measured.items()},
            **{f"vectors/{name}": array for name, array in self.vectors.items()},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state."""
        self.num_batches = int(taken(state, "num_batches", np.zeros((), dtype=np.int64)))
        self.nats, self.value = (
            taken(state, name, self.nats, blanks=True) for name in ("nats", "value")
        )
        self.right = taken(state, "right", self.right)
        self.measured = under("measured", state)
        self.vectors = under("vectors", state)


def survey_tokens(
    subject: Subject,
    material: PromptSet,
    batches: Sequence[Sequence[int]],
    state: TokenSurvey,
    *,
    sites: Sequence[Site],
    targets: Sequence[int],
) -> Generator[Progress, None, None]:
    """Measure prompts, one forward and one backward pass for each batch, all sites at once.

    Args:
        subject: The model.
        material: The prompts.
        batches: The members of each batch; those already in the state are left out.
        state: What was measured before; it is added to.
        sites: Where to look.
        targets: The positions at which whole vectors are kept.

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
    for members in batches[state.num_batches :]:
        batch = Batch.of(passages, members).to(subject.device)
        tape, right = _record(subject, batch, sites, material.objective)
        assert tape.nats is not None
        assert tape.value is not None
        rows = list(members)
        state.nats[rows], state.value[rows] = tape.nats.numpy(), tape.value.numpy()
        state.right[rows] = right
        shares = _shares(material.grid, rows, batch.input_ids.shape[1])
        for site in sites:
            check_finite(tape.gradients[site.name], site.name, batch, "gradients")
            _check_reach(tape, site, batch, reach[site.name][rows])
            gradient = tape.gradients[site.name].cpu().double()
            activation = tape.activations[site.name].cpu().double()
            _measure(state, site, rows, shares, gradient, activation)
            for each in targets:
                name = f"{site.name}/{names[each]}"
                _keep(state, f"{name}/gradients", rows, shares[:, each], gradient)
                _keep(state, f"{name}/activations", rows, shares[:, each], activation)
        state.num_batches += 1
        yield Progress(state.num_batches, batch.num_tokens)


def reachable(subject: Subject, material: PromptSet, site: Site) -> NDArray[np.bool_]:
    """Tell which positions of which prompts can have a gradient that is not zero.

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


def _record(
    subject: Subject, batch: Batch, sites: Sequence[Site], objective: AnswerObjective
) -> tuple[Tape, NDArray[np.bool_]]:
    right: list[Tensor] = []

    def watched(
        output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        right.append(answered(output, batch, objective.predicts(batch), head))
        return objective(output, batch, head)

    tape = record(subject, batch, sites, objective=watched, keep_activations=True)
    return tape, right[0].numpy()


def _shares(grid: Grid, rows: Sequence[int], num_tokens: int) -> Float[Tensor, "b columns tokens"]:
    """Weigh the tokens of each position: 1 over their number, NaN if there is none."""
    places = np.arange(num_tokens)
    starts, stops = grid.starts[rows, :, None], grid.stops[rows, :, None]
    inside = (places >= starts) & (places < stops)
    counts = np.where(stops > starts, stops - starts, np.nan)
    return torch.from_numpy(inside / counts)


def _measure(
    state: TokenSurvey,
    site: Site,
    rows: Sequence[int],
    shares: Float[Tensor, "b columns tokens"],
    gradient: Float[Tensor, "b tokens width"],
    activation: Float[Tensor, "b tokens width"],
) -> None:
    found = {
        "gradient_norm": _by_head(gradient.square(), site.num_heads).sqrt(),
        "activation_norm": _by_head(activation.square(), site.num_heads).sqrt(),
        "grad_x_act": _by_head(gradient * activation, site.num_heads),
    }
    for measure, values in found.items():
        columns = torch.einsum("bct,bht->bhc", shares, values).numpy()
        name = f"{site.name}/{measure}"
        if name not in state.measured:
            size = (len(state.nats), *columns.shape[1:])
            state.measured[name] = np.full(size, np.nan)
        state.measured[name][rows] = columns


def _by_head(
    values: Float[Tensor, "batch positions width"], num_heads: int
) -> Float[Tensor, "batch rows positions"]:
    """Sum over the whole vector and, if there are several heads, over each head's part."""
    whole = values.sum(dim=-1)[:, None]
    if num_heads == 1:
        return whole
    heads = values.unflatten(-1, (num_heads, -1)).sum(dim=-1).transpose(1, 2)
    return torch.cat([whole, heads], dim=1)


def _keep(
    state: TokenSurvey,
    name: str,
    rows: Sequence[int],
    share: Float[Tensor, "b tokens"],
    values: Float[Tensor, "b tokens width"],
) -> None:
    vectors = torch.einsum("bt,btw->bw", share, values).numpy()
    if name not in state.vectors:
        size = (len(state.nats), vectors.shape[1])
        state.vectors[name] = np.full(size, np.nan, dtype=np.float32)
    state.vectors[name][rows] = vectors


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
