"""A real model against plain autograd, and a run that is killed again and again."""

import random
import signal
import subprocess
import sys
import time
from itertools import count

import numpy as np
import pytest
import torch
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import cross_entropy

from backlight.capture.record import record
from backlight.data.batches import Batch, tokenize
from backlight.data.corpora import RowReader
from backlight.models.loading import load_subject
from backlight.runs.results import load_results

pytestmark = pytest.mark.slow

KINDS = ("mlp.out", "resid.post", "attn.out")


@pytest.fixture(scope="module", params=["float32", "float64"])
def subject(request):
    return load_subject("smollm2", device="cpu", dtype=request.param)


def test_gradients_are_those_of_the_plain_transformers_loss(subject):
    torch.set_num_threads(2)
    rows = RowReader("shakespeare").first(300).rows[250:253]
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
    output = model(input_ids=input_ids, labels=input_ids, use_cache=False)
    for handle in handles:
        handle.remove()
    loss = output.loss
    if model.dtype == torch.float64:
        # Transformers casts logits to float32 in its loss, which alone moves these gradients by
        # 7e-5 (docs/lab-log.md); so here the loss is taken from its logits as they are.
        loss = cross_entropy(output.logits[0, :-1], input_ids[0, 1:])
    gradients = torch.autograd.grad(loss, list(edges.values()))
    return {name: gradient[0] for name, gradient in zip(edges, gradients, strict=True)}


def command(directory, *words):
    return [
        *(sys.executable, "-m", "backlight", "layers", "--model_name", "smollm2"),
        *("--dataset", "shakespeare", "--num_samples", "24", "--device", "cpu"),
        *("--output_dir", str(directory), *words),
    ]


def files_of(directory):
    found = [*directory.glob("*.npy"), *directory.glob("tables/*.csv"), *directory.glob("*.png")]
    return {str(file.relative_to(directory)): file.read_bytes() for file in found}


def test_runs_killed_at_ten_random_moments_end_with_the_same_bytes(tmp_path):
    start = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - start
    expected = files_of(tmp_path / "whole")
    arrays = load_results(tmp_path / "whole").data
    moments, killed = random.Random(0), 0

    for number in count():
        if killed == 10:
            break
        directory = tmp_path / f"killed_{number}"
        process = subprocess.Popen(
            command(directory), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.2, 0.9) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (directory / "manifest.json").exists():  # it was done before, on a machine less busy now
            seconds *= 0.8
            continue
        killed += 1

        subprocess.run(command(directory, "--resume"), check=True, capture_output=True)

        assert files_of(directory) == expected
        for name, array in load_results(directory).data.items():
            np.testing.assert_array_equal(array, arrays[name], err_msg=name)
        assert not list(directory.rglob("*.part"))
