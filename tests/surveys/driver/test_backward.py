"""Surveys of gradients that go back by a rule: what they measure, say, and refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

import backlight
from backlight import cli
from backlight.capture.record import record
from backlight.data.batches import Batch, tokenize
from backlight.errors import ConfigError, RunDirectoryError, UnsupportedSiteError
from backlight.surveys.driver.material.rows import rows_of
from backlight.surveys.layers.options import LayersConfig

pytestmark = pytest.mark.usefixtures("place")

SAID = "Experimental, not the derivative: by the rule frozen, scales of norms and attention"
NOTE = "gradients by the experimental rule frozen: scales of norms and attention patterns are held"


@pytest.fixture
def subject(options):
    return backlight.load_subject(options.pop("model_name"), device=options.pop("device"))


def test_the_numbers_are_those_of_the_rule(options, subject):
    found = backlight.layers(
        subject=subject, backward="relp", layers=1, aggregation_mode="mean", **options
    )
    rule = backlight.with_backward(subject, "relp")
    texts = rows_of(LayersConfig(**options), 500)
    passages = tokenize(texts, subject.tokenizer, max_length=20)
    gradients = []
    for place in range(len(passages.tokens)):
        batch = Batch.of(passages, [place])
        tape = record(rule, batch, [subject.sites["layers.1.mlp.out"]])
        gradients.append(tape.gradients["layers.1.mlp.out"][0].double())
    expected = torch.cat(gradients).mean(dim=0)
    np.testing.assert_allclose(found.data["layer_1_mean"], expected, rtol=1e-4, atol=1e-7)
    true = backlight.layers(subject=subject, layers=1, aggregation_mode="mean", **options)
    assert not np.allclose(true.data["layer_1_mean"], found.data["layer_1_mean"], rtol=1e-2)


def test_a_rule_can_be_asked_for_by_option_or_with_the_subject(options, subject):
    by_option = backlight.layers(subject=subject, backward="frozen", **options)
    with_subject = backlight.layers(subject=backlight.with_backward(subject, "frozen"), **options)
    assert with_subject.config["backward"] == by_option.config["backward"] == "frozen"
    for name, array in by_option.data.items():
        np.testing.assert_array_equal(with_subject.data[name], array)


def test_a_subject_under_another_rule_than_is_asked_for_is_refused(options, subject):
    ruled = backlight.with_backward(subject, "frozen")
    for rule in ("relp", "true"):
        with pytest.raises(ConfigError, match="go back by the rule frozen already, so backward="):
            backlight.layers(subject=ruled, backward=rule, **options)


def test_every_account_of_a_run_says_by_which_rule_it_went(survey, place, capsys, caplog):
    cli.main(survey(backward="frozen", layers="0", output_dir=place / "run", figures="none"))
    printed = capsys.readouterr().out.replace("\n", " ")
    assert printed.startswith(SAID)
    assert NOTE in printed
    assert "Gradients go back by the experimental rule frozen, which was proven on" in caplog.text
    results = backlight.load_results(place / "run")
    assert results.presentation.summary(results)[0].startswith(SAID)
    for name in ("config.yaml", "metadata.json", "manifest.json", "index.html"):
        assert "frozen" in (place / "run" / name).read_text(encoding="utf-8"), name
    assert NOTE in results.metadata["note"]


def test_figures_name_the_rule(options, subject):
    found = backlight.layers(subject=subject, backward="relp", **options)
    drawing = next(each for each in found.presentation.draw(found) if each.is_overview)
    texts = [each.get_text() for each in drawing.make().texts]
    assert any("by the rule relp" in text.replace("\n", " ") for text in texts)


def test_plain_runs_say_nothing_of_rules(survey, capsys):
    cli.main(survey(layers="0"))
    assert "rule" not in capsys.readouterr().out


def test_a_run_is_not_resumed_under_another_rule(options, place):
    first = {**options, "layers": 0, "output_dir": place / "run", "figures": "none"}
    backlight.layers(**first, backward="frozen")
    with pytest.raises(RunDirectoryError, match=r"other options .backward: .frozen. -> .relp"):
        backlight.layers(**first, backward="relp", resume=True)


def test_flow_refuses_a_rule_before_anything_is_loaded(options):
    with pytest.raises(ConfigError, match="flow computes again, from its formulas, what norms"):
        backlight.flow(**{**options, "model_name": str(Path("nowhere"))}, backward="frozen")


def test_flow_refuses_a_subject_under_a_rule(options, subject):
    ruled = backlight.with_backward(subject, "frozen")
    with pytest.raises(ConfigError, match="which the rule frozen does not give"):
        backlight.flow(subject=ruled, **options)


def test_queries_are_refused_under_a_rule(options, subject):
    with pytest.raises(UnsupportedSiteError, match="acts through the attention pattern alone"):
        backlight.layers(subject=subject, backward="frozen", site="attn.q", **options)


def test_paths_are_refused_under_a_rule(options, subject):
    with pytest.raises(ConfigError, match="adds up to the true effect because it is the derivat"):
        backlight.layers(subject=subject, backward="frozen", path=2, layers=1, **options)
