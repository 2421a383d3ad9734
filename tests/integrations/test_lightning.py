"""Lightning is watched as a plain loop would be."""

import numpy as np
import pytest
import torch

from backlight.training import watch
from zoo.watched import Stack, batches, train

lightning = pytest.importorskip("lightning.pytorch")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_gives_the_numbers_of_a_plain_loop(tmp_path, accumulate):
    from backlight.integrations import LightningWatch

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Stack()

        def training_step(self, batch):
            tokens, targets = batch[0]
            return self.model(tokens, targets)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    rows = torch.stack(batches(4))
    pieces = torch.cat(
        [row.chunk(accumulate, dim=-1)[i][None] for row in rows for i in range(accumulate)]
    )
    loader = torch.utils.data.DataLoader(pieces, batch_size=1)
    callback = LightningWatch(tmp_path / "run", schedule=1)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        gradient_clip_val=0.3,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(), loader)

    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 4, clip=0.3)
    expected, found = monitor.history(), callback.monitor.history()
    assert found.steps.tolist() == [1, 2, 3, 4]
    for name, table in expected.statistics.items():
        np.testing.assert_allclose(found.statistics[name], table, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.clipped_norm, expected.clipped_norm)
    np.testing.assert_allclose(found.losses, expected.losses)


class Adversaries(lightning.LightningModule):
    """Two networks with an optimizer each, in Lightning's way of switching between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.automatic_optimization = False
        self.maker, self.judge = torch.nn.Linear(2, 4), torch.nn.Linear(4, 1)

    def training_step(self, batch):
        judge, maker = self.optimizers()
        for optimizer, loss in (
            (judge, lambda: self.judge(self.maker(batch).detach()).square().mean()),
            (maker, lambda: -self.judge(self.maker(batch)).mean()),
        ):
            self.toggle_optimizer(optimizer)
            optimizer.zero_grad()
            self.manual_backward(loss())
            self.clip_gradients(optimizer, 0.1, "norm")
            optimizer.step()
            self.untoggle_optimizer(optimizer)

    def configure_optimizers(self):
        return [
            torch.optim.SGD(self.judge.parameters(), 0.1),
            torch.optim.SGD(self.maker.parameters(), 0.2),
        ]


@pytest.mark.filterwarnings("ignore")
def test_lightning_with_two_optimizers_is_watched(tmp_path):
    from backlight.integrations import LightningWatch

    def fit(callbacks):
        module = Adversaries()
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        rows = torch.linspace(-1, 1, 16).reshape(8, 2)
        trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=2))
        return module

    callback = LightningWatch(tmp_path / "run", schedule=1)
    module = fit([callback])
    history = callback.monitor.history()
    assert history.steps.tolist() == list(range(1, 9))
    assert history.learning_rates.tolist() == [[0.1, 0.2]] * 8
    assert history.present.all()
    assert (history.statistics["update_ratio"] > 0).all()
    np.testing.assert_allclose(history.clipped_norm, np.hypot(0.1, 0.1), rtol=1e-4)
    assert all(map(torch.equal, module.parameters(), fit([]).parameters()))
