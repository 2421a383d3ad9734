"""A Transformers ``Trainer`` is watched as a plain loop would be."""

import copy

import numpy as np
import pytest
import torch

from backlight.training import read_history, watch
from zoo.models import tiny_model

pytest.importorskip("accelerate")

ROWS = [{"input_ids": row, "labels": row} for row in torch.randint(1, 90, (8, 6)).tolist()]


def plain(model, *, accumulate, clip, run_dir):
    """The loop of a Trainer without shuffling, warm-up or decay."""
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    rows = torch.tensor([row["input_ids"] for row in ROWS])
    with watch(model, optimizer, run_dir, schedule=1):
        model.train()
        for step in rows.split(2 * accumulate):
            for part in step.split(2):
                (model(input_ids=part, labels=part).loss / accumulate).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return read_history(run_dir)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_trainer_gives_the_numbers_of_a_plain_loop(tmp_path, accumulate):
    from transformers import Trainer, TrainingArguments

    from backlight.integrations import TrainerWatch

    model = tiny_model("llama").requires_grad_(True)
    expected = plain(
        copy.deepcopy(model),
        accumulate=accumulate,
        clip=0.5,
        run_dir=tmp_path / "plain",
    )
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=0.5,
        learning_rate=0.5,
        lr_scheduler_type="constant",
        optim="sgd",
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    callback = TrainerWatch(tmp_path / "run", schedule=1)
    trainer = Trainer(model, arguments, train_dataset=ROWS, callbacks=[callback])
    trainer.train()

    found = read_history(tmp_path / "run")
    assert found.steps.tolist() == expected.steps.tolist()
    for name, table in expected.statistics.items():
        np.testing.assert_allclose(
            found.statistics[name], table, rtol=2e-4, atol=1e-7, err_msg=name
        )
    np.testing.assert_allclose(found.global_norm, expected.global_norm, rtol=1e-5)
    np.testing.assert_allclose(found.clipped_norm, expected.clipped_norm, rtol=1e-5)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    logged = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    np.testing.assert_allclose(found.global_norm, logged, rtol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_the_model_does_not_return_is_the_trainers_when_it_is_told(
    tmp_path, accumulate
):
    from transformers import Trainer, TrainingArguments

    from backlight.integrations import TrainerWatch

    def loss_of(output, labels, num_items_in_batch):
        logits = output.logits[:, :-1].flatten(0, 1)
        kinds = {"reduction": "sum", "label_smoothing": 0.1}
        total = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), **kinds)
        callback.monitor.loss(total / num_items_in_batch)
        return total / num_items_in_batch

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=1,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
    )
    callback = TrainerWatch(tmp_path / "run", schedule=1)
    model = tiny_model("llama").requires_grad_(True)
    trainer = Trainer(
        model, arguments, train_dataset=ROWS, callbacks=[callback], compute_loss_func=loss_of
    )
    trainer.train()

    logged = [entry["loss"] for entry in trainer.state.log_history if "grad_norm" in entry]
    np.testing.assert_allclose(read_history(tmp_path / "run").losses, logged, rtol=1e-5)
