"""The twelve city tasks on the shipped model: every config, and gradients against autograd."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight.errors import CityError, PromptError, TaskError, UnknownLayerError
from backlight.surveys.driver.material.opening import load
from backlight.surveys.tokens.measure.prompts import draw_prompts
from backlight.surveys.tokens.options import TokensConfig
from backlight.world import CITY_MODEL
from backlight.world.questions.catalogue import TASKS

CONFIGS = Path(__file__).parents[3] / "configs"
STRUCTURE = ["task_1", "open_paren", "city1_c", "city1_underscore", "comma", "close_paren"]


@pytest.fixture(scope="module")
def city():
    return load(TokensConfig(device="cpu"))


def measured(subject, name, **options):
    given = yaml.safe_load((CONFIGS / "tasks" / f"{name}.yaml").read_text())
    asked = {**given, "n_samples": 6, "output_dir": None, **options}
    return backlight.tokens(subject=subject, **{key: asked[key] for key in asked})


def test_there_is_a_config_for_each_task():
    found = {yaml.safe_load(path.read_text())["task_type"] for path in CONFIGS.glob("tasks/*.yaml")}

    assert found == set(TASKS)


@pytest.mark.parametrize("name", list(TASKS))
def test_every_config_finds_its_positions_and_a_gradient_at_each_that_reaches(city, name):
    results = measured(city, name)

    table = results.tables["positions"]
    reaching = table["num_reaching"] > 0
    assert (table["gradient_norm"][reaching] > 0).all()
    assert (table["gradient_norm"][~reaching] == 0).all()
    assert set(results.tables["geometry"]["site"]) == {f"layers.{i}.resid.post" for i in range(6)}
    assert set(results.tables["prompts"]["split"]) == {"train", "test"}


def by_hand(prompts, num_layers):
    """Ask Transformers alone: whole hidden states with `retain_grad`, one prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(CITY_MODEL / "final").float().eval()
    tokenizer = AutoTokenizer.from_pretrained(CITY_MODEL / "final")
    for prompt in prompts:
        start = len(tokenizer(prompt.text)["input_ids"])
        ids = tokenizer(prompt.text + prompt.answer, return_tensors="pt")["input_ids"]
        output = model(ids, output_hidden_states=True)
        for state in output.hidden_states:
            state.retain_grad()
        cross_entropy(output.logits[0, start - 1 : -1], ids[0, start:]).backward()
        # The last entry of hidden_states is after the final norm, so the last block's is left out.
        yield [state.grad[0, :start] for state in output.hidden_states[1:num_layers]]


def test_gradients_of_the_shipped_model_are_those_of_retain_grad_on_whole_hidden_states(city):
    results = measured(city, "distance", n_samples=5, target_positions="all")
    asked = draw_prompts(
        TokensConfig(
            task_type="distance",
            n_samples=5,
            probe_train="region:^(?!Atlantis).*",
            probe_test="region:^(?!Atlantis).*",
        )
    )

    names = results.tables["positions"]["position"][:21]
    for row, layers in enumerate(by_hand(asked, 6)):
        for layer, expected in enumerate(layers):
            largest = float(expected.abs().max())
            for column, name in enumerate(names):
                found = results.data[f"layers.{layer}.resid.post/{name}/gradients"][row]
                np.testing.assert_allclose(found, expected[column], rtol=0, atol=1e-5 * largest)


def test_before_the_equals_sign_the_last_layer_is_zero_by_causality(city):
    results = measured(city, "distance")

    table = results.tables["positions"]
    last = table.select(table["layer"] == 5)
    before = last.select(last["column"] < 20)
    assert (before["gradient_norm"] == 0).all()
    assert (before["num_reaching"] == 0).all()
    equals = last.select(last["position"] == "equals")
    assert equals["num_reaching"].tolist() == [6]
    assert equals["gradient_norm"][0] > 0


def test_positions_of_a_distance_are_called_by_their_role(city):
    results = measured(city, "distance")

    table = results.tables["positions"]
    first = table.select(table["layer"] == 0)
    named = dict(zip(first["position"].tolist(), first["column"].tolist(), strict=True))
    assert [named[name] for name in ("bos", *STRUCTURE, "equals")] == [0, 1, 5, 6, 7, 12, 19, 20]
    assert named["city1_last_digit"] == 11  # as the config asks for it
    assert first["token"][8:12].tolist() == ["X"] * 4


def test_groups_of_cities_can_be_told_to_come_together(city):
    results = measured(
        city,
        "distance",
        probe_train="region:.*",
        probe_test="region:.*",
        sampling={"type": "between_groups", "group_pairs": [["none", "korea"]]},
        city_groups={"none": {"regions": ["Atlantis"]}, "korea": {"country_codes": ["KR"]}},
    )

    table = results.tables["prompts"]
    for row in range(table.num_rows):
        regions = {table["city1_region"][row], table["city2_region"][row]}
        assert regions == {"Atlantis", "Korea"}


@pytest.mark.parametrize(("name", "is_told"), [("distance", False), ("compass", True)])
def test_it_is_told_that_the_shipped_model_has_learned_distances_only(name, is_told):
    results = backlight.tokens(task_type=name, n_samples=2, device="cpu")

    assert ("has learned distances only" in results.metadata.get("note", "")) == is_told


def test_target_positions_take_the_names_of_the_original_tool(city):
    results = measured(city, "distance", target_positions="city1_last_digit,city2_end")

    assert set(results.tables["geometry"]["position"]) == {"city1_last_digit", "city2_end"}


def test_seventy_percent_of_the_prompts_ask_of_one_choice_of_cities(city):
    results = measured(
        city,
        "distance",
        n_samples=10,
        probe_train="region:^Atlantis$",
        probe_test="region:^(?!Atlantis).*",
    )

    table = results.tables["prompts"]
    assert table["split"].tolist() == ["train"] * 7 + ["test"] * 3
    assert set(table["city1_region"][:7]) == {"Atlantis"}
    assert "Atlantis" not in set(table["city1_region"][7:])


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("distance", {"task_type": "distnace"}, TaskError, "distnace.*distance"),
        ("distance", {"target_positions": "city1_lst_digit"}, PromptError, "city1_last_digit"),
        ("distance", {"target_layers": [5, 6]}, UnknownLayerError, "6 layers, 0 to 5"),
        ("distance", {"probe_train": "region:^Nowhere$"}, CityError, "matches 0|no cit|Nowhere"),
        ("distance", {"task_options": {"min_m": 3}}, TaskError, "min_m"),
        ("distance", {"sampling": {"type": "pairs"}}, TaskError, "only all_pairs"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(city, name, options, error, message):
    with pytest.raises(error, match=message):
        measured(city, name, **options)
