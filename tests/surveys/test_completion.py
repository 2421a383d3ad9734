"""Surveys of the loss of completions, against the plain loss with labels that are ignored."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import backlight
from backlight import cli
from backlight.errors import ConfigError, DatasetError, RunDirectoryError
from zoo.chats import chat
from zoo.folders import lines, numbers
from zoo.subjects import subject_of

pytestmark = pytest.mark.usefixtures("place")

WORDS = [line.split() for line in lines(8)]
PAIRS = [
    {"prompt": " ".join(words[: 3 + place]), "completion": " ".join(["", *words[3 + place : 12]])}
    for place, words in enumerate(WORDS)
]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} </s> "
    "{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)


@pytest.fixture
def asked(options):
    """Options of a survey of pairs, in double precision."""
    return {**options, "dataset": PAIRS, "loss_on": "completion", "dtype": "float64"}


@pytest.fixture
def chats_file(place):
    rows = [
        {"messages": chat(" ".join(own[:3]), " ".join(own[3:6]), own[6], " ".join(own[7:10]))}
        for own in WORDS
    ]
    (place / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (place / "chat.jinja").write_text(TEMPLATE, encoding="utf-8")
    return rows


def plain_gradients(subject, rows, module, *, divide):
    """Differentiate the loss with labels at a module's output, one row at a time."""
    held, found, nats, num = {}, [], 0.0, 0
    part = subject.model.get_submodule(module)
    handle = part.register_forward_hook(lambda part, inputs, output: held.update(at=output))
    for ids, labels in rows:
        logits = subject.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
        targets = torch.tensor(labels[1:])
        loss = cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
        count = int((targets != -100).sum())
        (gradient,) = torch.autograd.grad(loss / (count if divide else 1), held["at"])
        found.append(gradient[0].numpy())
        nats, num = nats + loss.item(), num + count
    handle.remove()
    return found, nats / num


def labelled(tokenizer, pairs, max_length=20):
    for pair in pairs:
        begin = tokenizer(pair["prompt"])["input_ids"]
        ids = tokenizer(f"{pair['prompt']}{pair['completion']}</s>")["input_ids"]
        labels = [-100] * len(begin) + ids[len(begin) :]
        yield ids[:max_length], labels[:max_length]


@pytest.fixture(scope="module")
def subject(model_folder):
    loaded = backlight.load_subject(str(model_folder), device="cpu", dtype="float64")
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(True)
    return loaded


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum"])
def test_layers_measures_the_gradient_of_the_plain_loss_with_labels(asked, subject, reduction):
    found = backlight.layers(**asked, loss_reduction=reduction, aggregation_mode="both")

    rows = list(labelled(subject.tokenizer, PAIRS))
    for layer in range(3):
        expected, loss = plain_gradients(
            subject, rows, f"model.layers.{layer}.mlp", divide=reduction == "sequence_mean"
        )
        tokens = np.concatenate(expected)
        dimensions = found.tables["dimensions"]
        own = dimensions.select(dimensions["layer"] == layer)
        order = np.argsort(own["dimension"])
        np.testing.assert_allclose(own["mean"][order], tokens.mean(0), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(own["mean_abs"][order], np.abs(tokens).mean(0), rtol=1e-10)
        assert found.metadata["loss_nats_per_token"] == pytest.approx(loss, rel=1e-12)


def test_the_batch_mean_is_the_models_own_loss_with_labels(asked, subject):
    found = backlight.layers(
        **{**asked, "batch_size": 8}, loss_reduction="batch_mean", layers="1"
    ).tables["layers"]

    rows = list(labelled(subject.tokenizer, PAIRS))
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([own + [0] * (longest - len(own)) for own, _ in rows])
    labels = torch.tensor([own + [-100] * (longest - len(own)) for _, own in rows])
    mask = torch.tensor([[1] * len(own) + [0] * (longest - len(own)) for own, _ in rows])
    held = {}
    handle = subject.model.model.layers[1].mlp.register_forward_hook(
        lambda part, inputs, output: held.update(at=output)
    )
    loss = subject.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    handle.remove()
    (gradient,) = torch.autograd.grad(loss, held["at"])
    expected = float(gradient[mask.bool()].abs().mean())
    assert found["mean_abs"][0] == pytest.approx(expected, rel=1e-6)  # its logits are float32


def test_the_assistants_turns_of_chats_count(asked, chats_file, subject):
    found = backlight.layers(
        **{**asked, "dataset": "chats.jsonl", "max_length": 40},
        chat_template="chat.jinja",
        layers="0",
        aggregation_mode="both",
    )

    rows = []
    for row in chats_file:
        ids, labels = [], []
        for message in row["messages"]:
            said = message["role"] == "assistant"
            for text, counts in ((f"{message['role']} : ", False), (message["content"], said)):
                own = subject.tokenizer(text)["input_ids"]
                ids, labels = ids + own, labels + (own if counts else [-100] * len(own))
            end = subject.tokenizer.eos_token_id
            ids, labels = [*ids, end], [*labels, end if said else -100]
        rows.append((ids, labels))
    expected, loss = plain_gradients(subject, rows, "model.layers.0.mlp", divide=True)
    dimensions = found.tables["dimensions"]
    order = np.argsort(dimensions["dimension"])
    tokens = np.concatenate(expected)
    np.testing.assert_allclose(dimensions["mean"][order], tokens.mean(0), rtol=1e-10, atol=1e-14)
    assert found.metadata["loss_nats_per_token"] == pytest.approx(loss, rel=1e-12)


def test_what_is_said_names_the_tokens_that_count(asked, capsys):
    words = ["layers", "--layers", "0", "--loss_on", "completion"]
    for name in ("model_name", "batch_size", "max_length"):
        words += [f"--{name}", str(asked[name])]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)), encoding="utf-8")

    assert cli.main([*words, "--dataset", "pairs.jsonl", "--output_dir", "run"]) == 0

    said = " ".join(capsys.readouterr().out.split())
    account = backlight.load_results("run").metadata["text"]
    assert account["num_counted"] == sum(len(row["completion"].split()) + 1 for row in PAIRS)
    assert "of pairs.jsonl (the loss counts completions alone)" in said
    assert (
        f"The loss counts {account['num_counted']} of {account['num_tokens']} tokens, those of "
        "completions" in said
    )
    described = json.loads(Path("run/metadata.json").read_text(encoding="utf-8"))
    assert described["corpus"]["num_counted"] == account["num_counted"]
    assert "loss_on: completion" in Path("run/config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [None, 2])
def test_products_add_up_over_what_the_loss_counts(asked, path):
    """A sum over tokens of gradient times activation is divided by the tokens that count."""
    options = {**asked, "layers": "2", "loss_reduction": "token_sum", "path": path}
    found = backlight.layers(**options, aggregate_by="grad_x_act", aggregation_mode="mean")

    num = found.metadata["text"]["num_counted"]
    layers = found.tables["layers"]
    if path is None:
        sums = found.tables["dimensions"]["mean"].sum() * layers["num_tokens"][0]
        warned = found.tables["layers"]["predicted_change"][0]
    else:
        completeness = found.tables["completeness"]
        sums = -completeness["first_order"][0] * num
        warned = completeness["first_order"][0]
    assert warned == pytest.approx(-sums / num, rel=1e-6)


def test_all_tokens_of_the_same_passages_can_count_to_compare(asked, subject):
    found = backlight.layers(**{**asked, "loss_on": "conversation"}, layers="1")

    rows = [(ids, ids) for ids, _ in labelled(subject.tokenizer, PAIRS)]
    expected, loss = plain_gradients(subject, rows, "model.layers.1.mlp", divide=True)
    own = found.tables["layers"]["mean_abs"][0]
    assert own == pytest.approx(np.abs(np.concatenate(expected)).mean(), rel=1e-10)
    assert found.metadata["loss_nats_per_token"] == pytest.approx(loss, rel=1e-12)
    assert "num_counted" not in found.metadata["text"]


def test_columns_of_completions_are_pointed_to_where_a_text_is_looked_for(asked):
    with pytest.raises(DatasetError, match=r"only 'prompt', 'completion'.*--loss_on completion"):
        backlight.layers(**{**asked, "loss_on": "all"})


def test_flow_weighs_the_same_tokens(asked, subject):
    found = backlight.flow(**asked, view="residual")

    rows = list(labelled(subject.tokenizer, PAIRS))
    expected, loss = plain_gradients(subject, rows, "model.layers.0", divide=True)
    assert found.metadata["loss_nats_per_token"] == pytest.approx(loss, rel=1e-12)
    squares = np.concatenate([np.square(own).sum(axis=1) for own in expected])
    depth = found.tables["depth"]
    own = depth["gradient_norm"][list(depth["site"]).index("layers.1.resid.pre")]
    assert own == pytest.approx(squares.mean() ** 0.5, rel=1e-9)


def test_a_validation_opens_such_a_run_again_with_its_mask(asked):
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)), encoding="utf-8")
    options = {**asked, "dataset": "pairs.jsonl", "figures": "none"}
    backlight.layers(**options, layers="1", output_dir="run")

    found = backlight.validate("run", units=6, passages=4, passage_length=7)

    tested = found.tables["units"]
    # Of prompts of three to ten tokens, four end before the seventh: only these have a loss.
    assert found.metadata["num_passages"] == 4
    assert np.isfinite(tested["true"]).all()
    assert np.abs(tested["true"]).min() > 0
    assert found.metadata["num_counted"] == (4 + 3 + 2 + 1)
    with pytest.raises(ConfigError, match=r"Cut after 3 tokens, 0 of the run's 8 passages have"):
        backlight.validate("run", units=6, passage_length=3)


def test_a_run_goes_on_only_with_the_same_mask(asked):
    backlight.layers(**asked, output_dir="run", figures="none")
    again = backlight.layers(**asked, output_dir="run", figures="none", resume=True)
    assert numbers(Path("run"))
    assert again.metadata["text"] == backlight.load_results("run").metadata["text"]

    moved = [
        {
            "prompt": f"{row['prompt']} {row['completion'].split()[0]}",
            "completion": " ".join(["", *row["completion"].split()[1:]]),
        }
        for row in PAIRS
    ]
    with pytest.raises(RunDirectoryError, match="measured other data in memory"):
        backlight.layers(**{**asked, "dataset": moved}, output_dir="run", resume=True)
    with pytest.raises(RunDirectoryError, match=r"other options .*loss_on"):
        backlight.layers(
            **{**asked, "loss_on": "all", "dataset": lines(3)}, output_dir="run", resume=True
        )


def test_checks_look_at_the_tokens_that_count(asked, caplog):
    with caplog.at_level(logging.WARNING):
        found = backlight.layers(**{**asked, "dtype": "float32"}, layers="0", check=True)

    checks = found.tables["checks"]
    verdict = dict(zip(checks["what"], checks["verdict"], strict=True))
    assert verdict["loss in closed form"] == "fine"
    assert verdict["fused head and loss"] == "fine"
    assert "not fine" not in verdict.values()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"loss_on": "all", "completion_columns": "a,b"}, "no effect without --loss_on completion"),
        ({"loss_on": "all", "chat_template": "a"}, "chat_template: it has no effect without"),
        ({"completion_columns": "a,b,c"}, "name two columns, such as question,answer, or one of"),
        ({"completion_columns": "a,a"}, "name two columns"),
        ({"text_column": "body"}, "it reads no --text_column; name columns with"),
        ({"loss_on": "prompt"}, "Input should be 'all', 'completion' or 'conversation'"),
        ({"chat_template": "none.jinja"}, "The chat template cannot be read: There is no file"),
    ],
)
def test_options_that_do_not_fit_are_refused(asked, more, message):
    with pytest.raises(ConfigError, match=message):
        backlight.layers(**{**asked, **more})


def test_chats_for_a_model_without_a_template_say_what_to_do(asked, chats_file):
    with pytest.raises(DatasetError, match=r"no chat template.*--chat_template FILE"):
        backlight.layers(**{**asked, "dataset": chats_file})


def test_a_tokenizer_of_ones_own_reads_pairs(asked):
    subject = subject_of("llama")
    rows = [{"prompt": "a b c", "completion": " d e"}, {"prompt": "a", "completion": " c"}]

    found = backlight.layers(subject=subject, dataset=rows, loss_on="completion", layers="0")

    assert found.metadata["text"]["num_counted"] == 3
