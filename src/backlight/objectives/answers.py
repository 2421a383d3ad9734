"""Objectives of prompts with an answer: its loss, its logit, or its logit less a wrong one's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.data.batches import Batch
from backlight.errors import PromptError, quoted
from backlight.models.wiring.head import Head
from backlight.objectives.objective import LossGradient, chunks, predicted_loss, predicted_value
from backlight.objectives.prompts import Prompt
from backlight.objectives.spans import PromptTokens

Goal = Literal["loss", "logit", "logit_difference"]
"""``loss``: the mean cross-entropy of the answer's tokens, in nats. ``logit``: the logit of the
answer's first token, where the prompt ends. ``logit_difference``: the logit of the answer less that
of the wrong answer, at the first token in which the two differ, after what they share."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerObjective:
    """What is differentiated, prompt by prompt; prompts are summed.

    The gradient of a prompt therefore does not depend on the prompts that it shares a batch with.

    Attributes:
        goal: See ``Goal``.
        starts: Where each prompt's answer begins.
        stops: One past the last token whose loss counts.
        contrasts: The token at which a logit is taken, counted from the answer's first.
        wrong: The other answer's token there; empty unless ``goal`` is ``logit_difference``.
    """

    goal: Goal
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    contrasts: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @staticmethod
    def of(
        goal: Goal,
        prompts: Sequence[Prompt],
        located: Sequence[PromptTokens],
        *,
        include_ending: bool = False,
    ) -> "AnswerObjective":
        """Find in each prompt what is to be differentiated.

        Args:
            goal: See ``Goal``.
            prompts: The prompts.
            located: Their tokens.
            include_ending: The loss also counts what closes the text (``<eos>``).

        Returns:
            The objective.

        Raises:
            PromptError: If a logit difference is asked for and a prompt has no wrong answer, or one
                that does not differ from the answer; or an ending, and there is none.
        """
        if include_ending and any(len(tokens.ids) == tokens.stop for tokens in located):
            raise PromptError("These prompts have no ending, such as <eos>, that could be counted.")
        contrasts = [0] * len(prompts)
        wrong: list[int] = []
        if goal == "logit_difference":
            pairs = [_contrast(*pair) for pair in zip(prompts, located, strict=True)]
            contrasts, wrong = [place for place, _ in pairs], [token for _, token in pairs]
        return AnswerObjective(
            goal=goal,
            starts=np.array([tokens.start for tokens in located], dtype=np.int64),
            stops=np.array(
                [len(tokens.ids) if include_ending else tokens.stop for tokens in located],
                dtype=np.int64,
            ),
            contrasts=np.array(contrasts, dtype=np.int64),
            wrong=np.array(wrong, dtype=np.int64),
        )

    def reads(self) -> list[NDArray[np.int64]]:
        """Return at which tokens of each prompt the model's output is read."""
        if self.goal == "loss":
            pairs = zip(self.starts, self.stops, strict=True)
            return [np.arange(start - 1, stop - 1) for start, stop in pairs]
        return [np.array([place]) for place in self.starts - 1 + self.contrasts]

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        """Compute the objective of each prompt, its gradient, and the loss of its answer."""
        predicts, weights = self._weighed(batch)
        loss = predicted_loss(output, batch, predicts, weights, head=head)
        if self.goal == "loss":
            return loss
        value, gradient = self._logits(output, batch, head)
        return LossGradient(nats=loss.nats, value=value, gradient=gradient)

    def value(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> Float[Tensor, " batch"]:
        """Compute the objective of each prompt, without its gradient."""
        if self.goal == "loss":
            predicts, weights = self._weighed(batch)
            return predicted_value(output, batch, predicts, weights, head=head)
        return self._logits(output, batch, head)[0]

    def predicts(self, batch: Batch) -> Bool[Tensor, "batch targets"]:
        """Return which tokens, from the second on, are those of the answer that count."""
        members = list(batch.passages)
        places = torch.arange(1, batch.input_ids.shape[1])
        start = torch.from_numpy(self.starts[members])[:, None]
        stop = torch.from_numpy(self.stops[members])[:, None]
        return ((places >= start) & (places < stop)).to(batch.input_ids.device)

    def _weighed(
        self, batch: Batch
    ) -> tuple[Bool[Tensor, "batch targets"], Float[Tensor, " chosen"]]:
        """Return which tokens are predicted, and how much the loss of each counts."""
        predicts = self.predicts(batch)
        lengths = predicts.sum(dim=1).cpu()
        return predicts, (1 / lengths.double()).repeat_interleave(lengths)

    def _logits(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch positions width"]]:
        members = list(batch.passages)
        device = output.device
        rows = torch.arange(len(members), device=device)
        places = torch.from_numpy(self.starts[members] + self.contrasts[members]).to(device)
        hidden = output.detach()[rows, places - 1]
        right = batch.input_ids[rows, places]
        value, slope = _token_logit(hidden, right, head)
        if self.goal == "logit_difference":
            wrong = torch.from_numpy(self.wrong[members]).to(device)
            other, other_slope = _token_logit(hidden, wrong, head)
            value, slope = value - other, slope - other_slope
        gradient = torch.zeros_like(output)
        gradient[rows, places - 1] = slope
        return value.cpu().double(), gradient


@torch.no_grad()
def answered(
    output: Float[Tensor, "batch positions width"],
    batch: Batch,
    predicts: Bool[Tensor, "batch targets"],
    head: Head | None,
) -> Bool[Tensor, " batch"]:
    """Find the prompts of which every token of the answer is the most likely one.

    Args:
        output: What the model gives.
        batch: The tokens.
        predicts: Which tokens, from the second on, are the answer's.
        head: The language-model head, None if ``output`` holds logits.

    Returns:
        Whether greedy decoding would have given the answer.
    """
    rows = output.detach()[:, :-1][predicts]
    targets = batch.input_ids[:, 1:][predicts]
    hits = torch.cat(
        [
            (rows[part] if head is None else head.logits(rows[part])).argmax(dim=1) == targets[part]
            for part in chunks(output, len(rows), head)
        ]
    )
    missed = torch.zeros(predicts.shape, dtype=torch.bool, device=hits.device)
    missed[predicts] = ~hits
    return ~missed.any(dim=1).cpu()


def _token_logit(
    hidden: Float[Tensor, "batch width"], tokens: Int[Tensor, " batch"], head: Head | None
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch width"]]:
    """Compute the logit of one token of each prompt, and its gradient at ``hidden``."""
    if head is None:
        slope = torch.zeros_like(hidden).scatter_(1, tokens[:, None], 1.0)
        return hidden.gather(1, tokens[:, None])[:, 0], slope
    weight = head.weight[tokens]
    logit = (hidden * weight).sum(dim=1)
    if head.bias is not None:
        logit = logit + head.bias[tokens]
    logit = logit * head.scale
    slope = weight * head.scale
    if head.cap is not None:
        bent = torch.tanh(logit / head.cap)
        logit, slope = head.cap * bent, slope * (1 - bent.square())[:, None]
    return logit, slope


def _contrast(prompt: Prompt, tokens: PromptTokens) -> tuple[int, int]:
    """Find the first token in which two answers differ, and the wrong answer's."""
    if prompt.wrong_answer is None:
        raise PromptError(
            "--objective logit_difference compares two answers, and these prompts have one: give "
            "wrong_answer."
        )
    right = tokens.ids[tokens.start : tokens.stop].tolist()
    for place, (one, other) in enumerate(zip(right, tokens.wrong_ids, strict=False)):
        if one != other:
            return place, other
    raise PromptError(
        f"The answers {quoted(prompt.answer)} and {quoted(prompt.wrong_answer)} to "
        f"{quoted(prompt.text)} differ in no token that both have, so their logits cannot be "
        "compared."
    )
