"""A real model against plain autograd, and a run that is killed again and again."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.autograd.graph import get_gradient_edge

from backlight.capture.record import record
from backlight.data.batches import Batch, tokenize
from backlight.data.corpora import read_rows
from backlight.models.loading import load_subject
from backlight.runs.results import load_results

pytestmark = pytest.mark.slow

KINDS = ("mlp.out", "resid.post", "attn.out")


@pytest.fixture(scope="module", params=["float32", "float64"])
def subject(request):
    return load_subject("smollm2", device="cpu", dtype=request.param)


def test_gradients_are_those_of_the_plain_transformers_loss(subject):
    torch.set_num_threads(2)
    rows = read_rows("shakespeare", num_samples=300)[250:253]
    passages = tokenize(rows, subject.tokenizer, max_length=96)
    batch = Batch.of(passages, range(3))
    sites = [site for site in subject.sites.values() if site.name.endswith(KINDS)]
    assert len(sites) == 90

    tape = record(subject, batch, sites)

    tolerance = 1e-3 if subject.facts["dtype"] == "float32" else 1e-6
    subject.model.requires_grad_()
    try:
        for row, tokens in enumerate(passages.tokens):
            expected = plain_gradients(subject.model, torch.from_numpy(tokens)[None], sites)
            for site in sites:
                found = tape.gradients[site.name][row, : len(tokens)]
                error = (found - expected[site.name]).abs().max() / expected[site.name].abs().max()
                assert error <= tolerance, (site.name, float(error))
    finally:
        subject.model.requires_grad_(False)


def plain_gradients(model, input_ids, sites):
    edges, handles = {}, []
    for site in sites:

        def hook(module, inputs, output, name=site.name):
            edges[name] = get_gradient_edge(output[0] if isinstance(output, tuple) else output)

        handles.append(model.get_submodule(site.tap.module).register_forward_hook(hook))
    loss = model(input_ids=input_ids, labels=input_ids, use_cache=False).loss
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(loss, list(edges.values()))
    return {name: gradient[0] for name, gradient in zip(edges, gradients, strict=True)}


def command(directory, *words):
    return [
        *(sys.executable, "-m", "backlight", "layers", "--model_name", "smollm2"),
        *("--dataset", "shakespeare", "--num_samples", "64", "--device", "cpu"),
        *("--output_dir", str(directory), *words),
    ]


def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(tmp_path):
    start = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    whole = time.monotonic() - start
    moments = random.Random(0)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(
            command(tmp_path / "killed", "--resume"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=moments.uniform(0.5, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command(tmp_path / "killed", "--resume"), check=True, capture_output=True)

    assert kills >= 3  # once the run is complete, there is nothing left to kill
    expected, found = load_results(tmp_path / "whole"), load_results(tmp_path / "killed")
    assert found.data.keys() == expected.data.keys()
    for name, array in expected.data.items():
        np.testing.assert_array_equal(found.data[name], array, err_msg=name)
    files = sorted((tmp_path / "whole").glob("*.npy")) + sorted(
        (tmp_path / "whole").glob("tables/*.csv")
    )
    assert len(files) == 34
    for file in files:
        other = tmp_path / "killed" / file.relative_to(tmp_path / "whole")
        assert other.read_bytes() == file.read_bytes(), file.name
