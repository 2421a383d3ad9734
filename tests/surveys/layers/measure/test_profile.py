"""The profile of a corpus: the same whatever the batches, exact, and resumable bit by bit."""

import numpy as np
import pytest
import torch

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages, bucket, tokenize
from backlight.errors import NonFiniteError
from backlight.models.loading import subject_from_transformers
from backlight.models.sites import resolve_sites
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of
from zoo.models import tiny_model
from zoo.subjects import subject_of
from zoo.tokenizers import WordTokenizer


@pytest.fixture(scope="module")
def subject():
    return subject_of()


@pytest.fixture(scope="module")
def passages():
    random = np.random.default_rng(0)
    lengths = random.integers(2, 30, 23)
    return Passages(tokens=[random.integers(3, 99, length) for length in lengths])


def surveyed(subject, passages, batch_size=4, seed=0, quantity="gradients", **options):
    state = Profile()
    batches = bucket(passages, batch_size=batch_size, seed=seed)
    sites = resolve_sites("mlp.out", subject.sites)
    recorder = recorder_of(subject, sites, quantity=quantity, **options)
    for _ in profile(recorder, passages, batches, state, sites=sites, quantity=quantity):
        pass
    return state


def arrays(state):
    results = [state.bank.result(f"layers.{layer}.mlp.out").moments for layer in range(3)]
    names = ("mean", "mean_abs", "rms", "max_abs", "mean_se", "mean_abs_se")
    return {name: np.stack([getattr(moments, name) for moments in results]) for name in names}


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum"])
def test_batches_of_one_four_and_sixteen_give_the_same_numbers(subject, passages, reduction):
    one = arrays(surveyed(subject, passages, batch_size=1, reduction=reduction))

    for batch_size in (4, 16):
        other = arrays(surveyed(subject, passages, batch_size, seed=3, reduction=reduction))
        for name, array in one.items():
            np.testing.assert_allclose(other[name], array, atol=1e-5 * np.abs(array).max())


def test_the_mean_is_the_sum_over_all_tokens_over_their_number(subject, passages):
    state = surveyed(subject, passages)

    site = subject.sites["layers.1.mlp.out"]
    gradients = np.concatenate(
        [
            record(subject, Batch.of(passages, [member]), [site]).gradients[site.name][0]
            for member in range(len(passages.tokens))
        ]
    ).astype(np.float64)
    moments = state.bank.result(site.name).moments
    assert moments.num_tokens == len(gradients) == passages.num_tokens
    np.testing.assert_allclose(moments.mean, gradients.mean(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(moments.mean_abs, np.abs(gradients).mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.rms, np.sqrt((gradients**2).mean(0)), rtol=1e-5)


def test_the_corpus_loss_is_the_mean_over_predicted_tokens(subject, passages):
    state = surveyed(subject, passages)

    total = 0.0
    with torch.no_grad():
        for tokens in passages.tokens:
            row = torch.from_numpy(tokens)[None]
            loss = subject.model(input_ids=row, labels=row).loss
            total += float(loss) * (len(tokens) - 1)
    assert state.loss.num_predicted == passages.num_tokens - len(passages.tokens)
    assert state.loss.nats == pytest.approx(total, rel=1e-5)


def test_gradient_times_activation_is_their_product(subject, passages):
    state = surveyed(subject, passages, quantity="grad_x_act")

    site = subject.sites["layers.2.mlp.out"]
    batch = Batch.of(passages, range(len(passages.tokens)))
    tape = record(subject, batch, [site], keep_activations=True)
    product = (tape.gradients[site.name] * tape.activations[site.name])[batch.valid].double()
    mean = state.bank.result(site.name).moments.mean
    np.testing.assert_allclose(mean, product.mean(0), rtol=1e-4, atol=1e-9)


def test_values_need_no_loss(subject, passages):
    state = surveyed(subject, passages, quantity="values")

    assert state.loss.num_predicted == 0
    assert (state.bank.result("layers.0.mlp.out").moments.rms > 0).all()


@pytest.mark.parametrize("stop", range(5))
def test_a_run_that_goes_on_from_its_state_ends_bit_by_bit_the_same(subject, passages, stop):
    whole = surveyed(subject, passages)
    batches = bucket(passages, batch_size=4, seed=0)
    sites = resolve_sites("mlp.out", subject.sites)
    begun = Profile()
    steps = profile(recorder_of(subject, sites), passages, batches, begun, sites=sites)
    for _ in range(stop):
        next(steps)
    restored = Profile()
    restored.restore({name: np.array(array) for name, array in begun.state().items()})
    for _ in profile(recorder_of(subject, sites), passages, batches, restored, sites=sites):
        pass

    assert restored.state().keys() == whole.state().keys()
    for name, array in whole.state().items():
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)


def test_two_halves_of_a_corpus_merge_into_the_whole(subject, passages):
    whole = arrays(surveyed(subject, passages))
    batches = bucket(passages, batch_size=4, seed=0)
    sites = resolve_sites("mlp.out", subject.sites)
    halves = [Profile(), Profile()]
    for number, half in enumerate(halves):
        for _ in profile(
            recorder_of(subject, sites), passages, batches[number::2], half, sites=sites
        ):
            pass

    halves[0].merge(halves[1])

    for name, array in arrays(halves[0]).items():
        np.testing.assert_allclose(array, whole[name], rtol=1e-10, err_msg=name)


def test_a_tokenizer_that_prefers_left_padding_changes_nothing(subject):
    class LeftPadder(WordTokenizer):
        padding_side = "left"

    texts = ["the cat sat on the mat", "a dog", "one two three four five six seven eight"]
    plain = surveyed(subject, tokenize(texts, WordTokenizer(), max_length=16))
    left = surveyed(subject, tokenize(texts, LeftPadder(), max_length=16))

    for name, array in plain.state().items():
        np.testing.assert_array_equal(left.state()[name], array, err_msg=name)


def test_a_gradient_that_overflows_names_passage_site_and_token(passages):
    model = tiny_model("llama")
    subject = subject_from_transformers(model, WordTokenizer())

    def overflow(module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * float("inf"))

    # As in float16: the loss is finite, the gradient on its way back is not.
    model.model.layers[2].mlp.register_forward_hook(overflow)

    with pytest.raises(
        NonFiniteError, match=r"At layers.\d.mlp.out, gradients of passage \d+ are not"
    ):
        surveyed(subject, passages)
