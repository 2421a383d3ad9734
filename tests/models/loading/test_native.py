"""What Transformers offers of a model, and what is left of it afterwards: nothing."""

import pytest
import torch
from torch.testing import assert_close

from zoo.subjects import batch_of, subject_of


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("llama", ("sdpa", "eager")), ("gemma2", ("eager",)), ("bloom", ("eager",))],
)
def test_the_kernels_are_those_that_the_model_can_be_run_with(name, kernels):
    native = subject_of(name).native

    assert (native.kernel, *native.kernels[1:]) == kernels
    assert native.kernels == kernels


def test_another_kernel_attends_for_a_while():
    subject, ids = subject_of("llama"), batch_of().input_ids
    plain, config = subject.forward(ids), subject.model.config

    with subject.native.attending("eager"):
        assert config._attn_implementation == "eager"
        assert_close(subject.forward(ids), plain)
    assert config._attn_implementation == "sdpa"

    def fail():
        with subject.native.attending("eager"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert config._attn_implementation == "sdpa"


def test_experts_are_taken_one_by_one_in_float64_alone():
    subject = subject_of("mixtral")
    config = subject.model.config
    before = config._experts_implementation

    with subject.native.in_format(torch.float64):
        assert config._experts_implementation == "eager"
    with subject.native.in_format(torch.bfloat16):
        assert config._experts_implementation == before
    assert config._experts_implementation == before


def test_the_models_own_loss_of_labels_is_the_mean_over_predicted_tokens():
    subject, batch = subject_of("llama"), batch_of()
    labels = batch.input_ids.masked_fill(~batch.valid, -100)

    loss = subject.native.loss(batch.input_ids, batch.valid, labels)

    logs = subject.native.logits(batch.input_ids)[:, :-1].log_softmax(-1)
    of_targets = logs.gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    assert_close(loss, -of_targets[batch.valid[:, 1:]].mean())
