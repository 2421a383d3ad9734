"""Two processes that train together: what each sees, and what rank 0 writes."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from backlight.training import read_history, watch
from zoo.watched import Stack, batches, global_norm, train

pytestmark = pytest.mark.slow

SCRIPT = """
    import os, sys
    sys.path.insert(0, {tests!r})
    os.environ |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT="{port}")
    import torch
    from torch import distributed
    from backlight.training import watch
    from zoo.watched import Stack, batches

    rank = int(sys.argv[1])
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    model = Stack()
    for parameter in model.unused.parameters():
        parameter.requires_grad_(False)
    {wrap}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(called, optimizer, {run!r}, schedule=1):
        for step in range(3):
            tokens, targets = (row.chunk(2)[rank] for row in batches(3)[step])
            called(tokens, targets)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.step()
            optimizer.zero_grad()
    distributed.destroy_process_group()
"""
WRAPS = {
    "ddp": "called = torch.nn.parallel.DistributedDataParallel(model)",
    "fsdp2": "from torch.distributed.fsdp import fully_shard; called = fully_shard(model)",
}


@pytest.mark.parametrize(("kind", "port"), [("ddp", 29713), ("fsdp2", 29714)])
def test_two_processes_give_the_numbers_of_one(tmp_path, kind, port):
    code = textwrap.dedent(SCRIPT).format(
        tests=str(Path(__file__).parents[2]),
        run=str(tmp_path / "run"),
        port=port,
        wrap=WRAPS[kind],
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    found = read_history(tmp_path / "run")

    model = Stack()
    model.unused.requires_grad_(False)
    with watch(model, optimizer := torch.optim.SGD(model.parameters(), 0.1), schedule=1) as one:
        seen = train(model, optimizer, 3, clip=0.3)
    expected = one.history()
    np.testing.assert_allclose(found.global_norm, expected.global_norm)
    np.testing.assert_allclose(found.clipped_norm, expected.clipped_norm)
    for name, table in expected.statistics.items():
        np.testing.assert_allclose(found.statistics[name], table, atol=1e-15, err_msg=name)
    assert [info.name for info in found.parameters] == [info.name for info in expected.parameters]
    if kind == "ddp":
        own = []
        for rank in range(2):
            alone = Stack()
            tokens, targets = (row.chunk(2)[rank] for row in batches(3)[0])
            alone(tokens, targets)["loss"].backward()
            own.append(global_norm({n: p.grad for n, p in alone.named_parameters()}))
        np.testing.assert_allclose(found.rank_norms[0], own)
        assert seen
