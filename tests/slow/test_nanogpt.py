"""The small GPT under backpropagation reaches what nanoGPT's page says of its small setting."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from backlight.data.characters import characters_of, draw_batch
from backlight.labs.characters.learning import validation_loss
from backlight.learning_rules import LocalGPT, LocalGPTConfig

pytestmark = pytest.mark.slow

TEXT = Path(
    os.environ.get("TINYSHAKESPEARE")
    or Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"
)
STEPS, WARM_UP, HIGH, LOW = 2000, 100, 1e-3, 1e-4
REACHED = 1.88  # nats, "CPU" in nanoGPT's page


def rate(step):
    if step < WARM_UP:
        return HIGH * (step + 1) / (WARM_UP + 1)
    done = (step - WARM_UP) / (STEPS - WARM_UP)
    return LOW + 0.5 * (1 + math.cos(math.pi * done)) * (HIGH - LOW)


@pytest.mark.skipif(not TEXT.is_file(), reason="TINYSHAKESPEARE names no text")
def test_the_small_setting_reaches_the_loss_that_nanogpt_reports():
    text = characters_of(TEXT.read_text())
    assert (len(text.vocabulary), len(text.train), len(text.val)) == (65, 1_003_854, 111_540)
    torch.manual_seed(1337)
    model = LocalGPT(LocalGPTConfig(block_size=64, bias=False, tied_head=True))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sum(sizes.values()) - sizes["transformer.wpe.weight"] == 795_904

    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        _, loss = model(*draw_batch(text.train, block_size=64, batch_size=12))
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())

    train, held_out = float(np.mean(losses[-50:])), validation_loss(model, text)
    # On one thread: 1.780 (the last 50 batches) and 1.906.
    assert held_out == pytest.approx(REACHED, abs=0.05)
    assert train < held_out
