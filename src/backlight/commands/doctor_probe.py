"""One batch of text forward and backward through a model: a history of a single step."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from backlight.commands.model import load
from backlight.commands.text import log_account
from backlight.config.doctor import DoctorConfig
from backlight.data.batches import Batch, tokenize
from backlight.data.corpora import read_rows
from backlight.models.reading import refuse_unreadable
from backlight.models.subject import Subject
from backlight.training.history.history import History, ParameterInfo
from backlight.training.measuring.statistics import gradient_statistics, norms
from backlight.training.watching.parameters import DepthOrder, describe_parameters

__all__ = ["probe", "probe_subject"]


def probe(config: DoctorConfig) -> History:
    """Measure the gradient of all parameters of a model on the first batch of a text.

    Args:
        config: Which model, and which text.

    Returns:
        A history of one step without updates.
    """
    rows = read_rows(
        config.dataset,
        num_samples=config.batch_size,
        text_column=config.text_column,
        split=config.split,
        min_characters=config.min_characters,
        passage_length=config.max_length,
    )
    subject = load(config)
    passages = tokenize(rows, subject.tokenizer, max_length=config.max_length)
    remedy = f"lower --max_length (now {config.max_length})"
    refuse_unreadable(subject, passages.tokens, kind="passage", remedy=remedy)
    log_account(passages.account(), config.max_length)
    return probe_subject(subject, Batch.of(passages, range(len(passages.tokens))))


def probe_subject(subject: Subject, batch: Batch) -> History:
    """Measure the gradient of all parameters of a model on one batch.

    The parameters are left as they were: frozen, and without gradients.

    Args:
        subject: The model.
        batch: The text.

    Returns:
        A history of one step, with the mean loss over predicted tokens, in nats.
    """
    model, batch = subject.model, batch.to(subject.device)
    model.requires_grad_(requires_grad=True)
    order = DepthOrder(model)
    try:
        logits = model(input_ids=batch.input_ids, use_cache=False).logits
        predicted = batch.valid[:, 1:]
        loss = functional.cross_entropy(
            logits[:, :-1][predicted].float(), batch.input_ids[:, 1:][predicted]
        )
        loss.backward()
        infos = order.apply(describe_parameters(model))
        return _history(model, loss.item(), infos)
    finally:
        order.stop()
        model.zero_grad(set_to_none=True)
        model.requires_grad_(requires_grad=False)


def _history(model: torch.nn.Module, loss: float, infos: tuple[ParameterInfo, ...]) -> History:
    parameters = list(model.parameters())
    present = [place for place, each in enumerate(parameters) if each.grad is not None]
    gradients = [grad for each in parameters if (grad := each.grad) is not None]
    statistics: dict[str, NDArray[np.float64]] = {}
    for name, values in gradient_statistics(gradients).items():
        statistics[name] = np.full((1, len(parameters)), np.nan)
        statistics[name][0, present] = values
    statistics["weight_norm"] = norms(parameters)[None]
    there = np.zeros((1, len(parameters)), dtype=np.bool_)
    there[0, present] = True
    unknown = np.full(1, np.nan)
    return History(
        parameters=infos,
        steps=np.ones(1, dtype=np.int64),
        statistics=statistics,
        present=there,
        global_norm=np.array([np.sqrt(np.nansum(statistics["norm"] ** 2))]),
        clipped_norm=unknown,
        learning_rates=np.zeros((1, 0)),
        scale=unknown,
        loss_steps=np.ones(1, dtype=np.int64),
        losses=np.array([loss]),
    )
