"""The profile of a corpus: the same whatever the batches, exact, and resumable bit by bit."""

import numpy as np
import pytest
import torch

from backlight.capture.path import record_path
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages, bucket, tokenize
from backlight.errors import NonFiniteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.loading import subject_from_transformers
from backlight.models.sites import resolve_sites
from backlight.objectives.objective import NextToken
from backlight.stats.completeness import Completeness
from backlight.surveys.driver.paths import Paths
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


def along_paths(subject, passages, batch_size, quantity="gradients", order=1):
    names = [f"layers.{layer}.mlp.out" for layer in range(3)]
    sites = [subject.sites[name] for name in names]
    state = Profile(Completeness(names, len(passages.tokens)))
    batches = bucket(passages, batch_size=batch_size, seed=0)[::order]
    paths = Paths(num_nodes=3, blocks=Blocks.of(subject))
    recorder = recorder_of(subject, sites, quantity=quantity, paths=paths)
    for _ in profile(recorder, passages, batches, state, sites=sites, quantity=quantity):
        pass
    return state


def test_a_profile_along_paths_is_of_their_average_gradients_in_any_batches(subject, passages):
    state = along_paths(subject, passages, 4)

    site = subject.sites["layers.1.mlp.out"]
    alone = [
        record_path(
            subject, Batch.of(passages, [member]), [site], num_nodes=3, objective=NextToken()
        )
        for member in range(len(passages.tokens))
    ]
    gradients = np.concatenate([tape.gradients[site.name][0] for tape in alone]).astype(float)
    moments = state.bank.result(site.name).moments
    np.testing.assert_allclose(moments.mean, gradients.mean(0), rtol=1e-3, atol=1e-8)
    changes = np.concatenate([tape.changes[site.name].numbers for tape in alone])
    np.testing.assert_allclose(state.completeness.sites[site.name], changes, rtol=1e-3, atol=2e-6)
    other = along_paths(subject, passages, 16, order=-1)
    for name, array in arrays(state).items():
        np.testing.assert_allclose(arrays(other)[name], array, atol=1e-5 * np.abs(array).max())


def test_the_products_of_a_path_divide_what_it_adds_up_to(subject, passages):
    state = along_paths(subject, passages, 4, "grad_x_act")

    for name, changes in state.completeness.sites.items():
        moments = state.bank.result(name).moments
        total = moments.mean.sum() * moments.num_tokens
        np.testing.assert_allclose(-total, changes[:, 1].sum(), rtol=1e-4)
        first_order, _, true = changes.T
        assert np.abs(first_order - true).max() > 0.01 * np.abs(true).max()


def test_profiles_along_paths_merge_and_come_back_bit_by_bit(subject, passages):
    batches = bucket(passages, batch_size=4, seed=0)
    names = [f"layers.{layer}.attn.z" for layer in (0, 2)]
    sites = [subject.sites[name] for name in names]
    recorder = recorder_of(subject, sites, paths=Paths(num_nodes=2, blocks=Blocks.of(subject)))

    def nothing():
        return Profile(Completeness(names, len(passages.tokens)))

    whole, first, second = nothing(), nothing(), nothing()
    for state, part in ((whole, batches), (first, batches[:2]), (second, batches[2:])):
        list(profile(recorder, passages, part, state, sites=sites))
    again = nothing()
    again.restore(first.state())
    list(profile(recorder, passages, batches, again, sites=sites))
    first.merge(second)

    for name, array in whole.state().items():
        np.testing.assert_array_equal(again.state()[name], array, err_msg=name)
    for name, array in whole.completeness.sites.items():
        np.testing.assert_array_equal(first.completeness.sites[name], array)
        assert not np.isnan(array).any()
