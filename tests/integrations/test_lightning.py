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
