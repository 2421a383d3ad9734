"""One batch of text forward and backward through a model: a history of a single step."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backlight.data.batches import Batch, tokenize
from backlight.models.lending import borrowed
from backlight.models.subject import Subject
from backlight.surveys.driver.material.opening import check_passages, load, log_account
from backlight.surveys.driver.material.rows import rows_of
from backlight.tools.doctor.options import DoctorConfig
from backlight.training.guarding.hooks import Hooks
from backlight.training.log.history import History, ParameterInfo
from backlight.training.measuring.statistics import gradient_statistics, norms
from backlight.training.watching.parameters import DepthOrder, describe_parameters, is_compiled


def probe(config: DoctorConfig) -> History:
    """Measure the gradient of all parameters of a model on the first batch of a text.

    Args:
        config: Which model, and which text.

    Returns:
        A history of one step without updates.
    """
    rows = rows_of(config, config.batch_size)
    subject = load(config)
    passages = tokenize(rows, subject.tokenizer, max_length=config.max_length)
    check_passages(subject, passages, config.max_length)
    log_account(passages, config.max_length)
    return probe_subject(subject, Batch.of(passages, range(len(passages.tokens))))


def probe_subject(subject: Subject, batch: Batch) -> History:
    """Measure the gradient of all parameters of a model on one batch.

    The model is left as it was, with the gradients that were in ``.grad`` before.

    Args:
        subject: The model.
        batch: The text.

    Returns:
        A history of one step, with the mean loss over predicted tokens, in nats.
    """
    model, batch = subject.model, batch.to(subject.device)
    with borrowed(model), _unfrozen(model), torch.enable_grad():
        hooks = Hooks(model, _failed, compiled=is_compiled(model))
        order = DepthOrder(model, hooks)
        order.begin()
        try:
            logits = model(input_ids=batch.input_ids, use_cache=False).logits
        finally:
            hooks.remove()
        predicted = batch.valid[:, 1:]
        loss = functional.cross_entropy(
            logits[:, :-1][predicted].float(), batch.input_ids[:, 1:][predicted]
        )
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        infos = order.apply(describe_parameters(model))
    return _history(parameters, gradients, loss.item(), tuple(infos))


def _failed(error: Exception) -> None:
    """Leave depths as the modules were registered: nobody's training depends on this pass."""
    del error


@contextmanager
def _unfrozen(model: torch.nn.Module) -> Generator[None, None, None]:
    """Unfreeze all parameters of a borrowed model while the context lasts."""
    try:
        for parameter in model.parameters():
            parameter.requires_grad = True
        yield
    finally:
        for parameter in model.parameters():
            parameter.requires_grad = False


def _history(
    parameters: Sequence[Tensor],
    found: Sequence[Tensor | None],
    loss: float,
    infos: tuple[ParameterInfo, ...],
) -> History:
    present = [place for place, each in enumerate(found) if each is not None]
    gradients = [each for each in found if each is not None]
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
