"""Tables of prompts against plain NumPy."""

import numpy as np
import pytest

from backlight.objectives.answers import AnswerObjective
from backlight.objectives.grid import align
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import PromptTokens
from backlight.surveys.tokens.measure.geometry import geometry
from backlight.surveys.tokens.measure.survey import MEASURES, PromptSet, TokenSurvey
from backlight.surveys.tokens.names import prompt_columns
from backlight.surveys.tokens.tables import (
    geometry_table,
    objective_unit,
    position_table,
    prompt_table,
    tokens_of,
)
from backlight.tables import Table
from zoo.offsets import byte_tokenizer

SITES = {"layers.0.attn.q": 2, "layers.10.resid.post": 0, "embed.out": 0}
SIZES = [(1, 3, 1), (2, 1, 2), (0, 2, 1), (2, 2, 4)]  # of the words x and y, and of the answer


def material_of(num=4, values=None, goal="loss"):
    pieces = tuple(Piece(name=name, text=name, is_field=True) for name in "xy")
    prompts = [
        Prompt(pieces=pieces, answer="a\rb", values={} if values is None else values[row])
        for row in range(num)
    ]
    located = []
    for first, second, answer in SIZES[:num]:
        total = first + second + answer
        owners = ("x",) * first + ("y",) * second
        located.append(
            PromptTokens(ids=np.arange(total + 1), owners=owners, start=first + second, stop=total)
        )
    grid = align(prompts, located, byte_tokenizer())
    objective = AnswerObjective.of(goal, prompts, located)
    return PromptSet(prompts=prompts, located=located, grid=grid, objective=objective)


def state_of(material):
    random, num = np.random.default_rng(0), len(material.prompts)
    state = TokenSurvey(num)
    state.nats, state.value = random.random(num), random.random(num)
    state.right = random.random(num) < 0.5
    for site, heads in SITES.items():
        for measure in MEASURES:
            values = random.normal(size=(num, 1 + heads, len(material.grid.positions)))
            values[np.broadcast_to(material.grid.counts[:, None] == 0, values.shape)] = np.nan
            state.measured[f"{site}/{measure}"] = values
        for column, position in enumerate(material.grid.positions):
            vectors = random.normal(size=(num, 5)).astype(np.float32)
            vectors[material.grid.counts[:, column] == 0] = np.nan
            state.vectors[f"{site}/{position.name}/gradients"] = vectors
    return state


def reachable_of(material):
    there = material.grid.counts > 0
    return {site: there & (np.arange(there.shape[1]) != 0) for site in SITES}


def test_means_and_standard_errors_are_over_the_prompts_that_have_a_position():
    material = material_of()
    state, grid = state_of(material), material.grid
    assert [each.name for each in grid.positions] == [
        *("x_first", "x_last", "y_first", "y_middle", "y_last"),
        *("answer_first", "answer_middle", "answer_last"),
    ]
    assert (grid.counts > 0).sum(axis=0).tolist() == [3, 3, 4, 1, 4, 4, 1, 4]

    table = position_table(state, material, reachable_of(material))

    assert table.num_rows == (3 + 1 + 1) * 8
    for row in range(table.num_rows):
        site, column = str(table["site"][row]), int(table["column"][row])
        head = table["head"][row]
        inner = 0 if np.isnan(head) else int(head) + 1
        known = grid.counts[:, column] > 0
        assert table["position"][row] == grid.positions[column].name
        assert table["token"][row] == grid.positions[column].label
        assert table["num_prompts"][row] == known.sum()
        assert table["num_reaching"][row] == (0 if column == 0 else known.sum())
        for measure in MEASURES:
            values = state.measured[f"{site}/{measure}"][known, inner, column]
            assert table[measure][row] == pytest.approx(values.mean())
            error = table[f"{measure}_se"][row]
            if len(values) == 1:
                assert np.isnan(error)
            else:
                assert error == pytest.approx(values.std(ddof=1) / np.sqrt(len(values)))
    layers = dict(zip(table["site"].tolist(), table["layer"].tolist(), strict=True))
    assert (layers["layers.0.attn.q"], layers["layers.10.resid.post"]) == (0, 10)
    assert np.isnan(layers["embed.out"])


@pytest.mark.parametrize(
    ("goal", "unit"), [("loss", "nats"), ("logit", "logits"), ("logit_difference", "logits")]
)
def test_units_are_those_of_the_objective(goal, unit):
    material = material_of(goal="loss" if goal == "logit_difference" else goal)

    assert objective_unit(goal) == unit
    if goal != "logit_difference":
        state = state_of(material)
        table = position_table(state, material, reachable_of(material))
        assert table.units == {
            "gradient_norm": f"{unit}/unit",
            "activation_norm": "units",
            "grad_x_act": unit,
            "gradient_norm_se": f"{unit}/unit",
            "activation_norm_se": "units",
            "grad_x_act_se": unit,
        }
        prompts = prompt_table(state, material)
        assert prompts.units == {"objective": unit, "loss": "nats/token"}


def test_one_prompt_has_means_and_no_errors():
    material = material_of(1)
    state = state_of(material)

    table = position_table(state, material, reachable_of(material))

    for measure in MEASURES:
        np.testing.assert_allclose(
            table[measure][:5], state.measured[f"layers.0.attn.q/{measure}"][0, 0]
        )
        assert np.isnan(table[f"{measure}_se"]).all()
    rows = {("embed.out", 0): geometry(state.vectors["embed.out/x/gradients"], standardize=True)}
    assert rows["embed.out", 0] is None
    shapes = geometry_table(state, rows, material)
    assert np.isnan(shapes["norm_std"]).all()
    assert np.isnan(shapes["pc1"]).all()


def test_prompts_have_their_loss_and_their_values():
    values = [
        {"answer": 3.0, "group": "b\rc", "size": 1.5},
        {"answer": 4.0, "group": "d"},
        {"answer": 5.0, "text": "t", "size": 2.5, "mixed": 1.0},
        {"answer": 7.0, "mixed": "word"},
    ]
    material = material_of(values=values)
    state = state_of(material)

    table = prompt_table(state, material)

    assert tuple(table.columns) == prompt_columns(material.prompts)
    assert tuple(table.columns) == (
        *("prompt", "text", "answer", "objective", "loss", "right", "num_tokens"),
        *("answer_value", "group", "size", "text_value", "mixed"),
    )
    assert table["text"].tolist() == ["xy"] * 4
    assert table["answer"].tolist() == ["a b"] * 4
    np.testing.assert_allclose(table["loss"], state.nats / np.array([1, 2, 1, 4]))
    np.testing.assert_array_equal(table["objective"], state.value)
    np.testing.assert_array_equal(table["right"], state.right.astype(int))
    assert table["num_tokens"].tolist() == [6, 6, 4, 9]
    assert table["answer_value"].tolist() == [3.0, 4.0, 5.0, 7.0]
    assert table["group"].tolist() == ["b c", "d", "", ""]
    np.testing.assert_array_equal(table["size"], [1.5, np.nan, 2.5, np.nan])
    assert table["text_value"].tolist() == ["", "", "t", ""]
    assert table["mixed"].tolist() == ["", "", "1.0", "word"]


@pytest.mark.parametrize("kind", ["positions", "prompts", "geometry"])
def test_tables_survive_being_written(kind):
    values = [{"answer": float(row), "group": "a,b\n"} for row in range(4)]
    material = material_of(values=values)
    state = state_of(material)
    table = {
        "positions": lambda: position_table(state, material, reachable_of(material)),
        "prompts": lambda: prompt_table(state, material),
        "geometry": lambda: geometry_table(state, {("embed.out", 2): None}, material),
    }[kind]()

    again = Table.from_csv(table.name, table.to_csv())

    assert table.name == kind
    assert again.units == table.units
    assert tuple(again.columns) == tuple(table.columns)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(again[name], column)


def test_shapes_are_told_with_their_correlations():
    values = [{"answer": answer} for answer in (3.0, 9.0, 5.0, 4.0)]
    material = material_of(values=values)
    state = state_of(material)
    vectors = state.vectors["layers.10.resid.post/y_first/gradients"].astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    losses = state.nats / np.array([1, 2, 1, 4])
    shape = geometry(vectors, standardize=False)

    table = geometry_table(
        state, {("layers.10.resid.post", 2): shape, ("embed.out", 0): None}, material
    )

    assert table["site"].tolist() == ["layers.10.resid.post", "embed.out"]
    assert table["position"].tolist() == ["y_first", "x_first"]
    assert table["num_prompts"].tolist() == [4, 3]
    expected = {
        "layer": 10,
        "norm": norms.mean(),
        "norm_std": norms.std(ddof=1),
        "pc1": shape.explained[0],
        "pc2": shape.explained[1],
        "components_90": shape.components_90,
        "components_95": shape.components_95,
        "effective_rank": shape.effective_rank,
        "mean_cosine": shape.mean_cosine,
        "r_answer": np.corrcoef(norms, [3, 9, 5, 4])[0, 1],
        "r_loss": np.corrcoef(norms, losses)[0, 1],
    }
    for name, value in expected.items():
        assert table[name][0] == pytest.approx(value), name
    for name in ("layer", "pc1", "pc2", "components_90", "effective_rank", "mean_cosine"):
        assert np.isnan(table[name][1])
    # The third prompt has no such position.
    rest = np.linalg.norm(state.vectors["embed.out/x_first/gradients"][[0, 1, 3]], axis=1)
    assert table["norm"][1] == pytest.approx(rest.mean())
    assert table["r_loss"][1] == pytest.approx(np.corrcoef(rest, losses[[0, 1, 3]])[0, 1])
    assert table.units == {
        "norm": "nats/unit",
        "norm_std": "nats/unit",
        "effective_rank": "dimensions",
    }


def test_answers_that_are_words_have_no_correlation():
    material = material_of(values=[{"answer": "NE"}] * 4)

    table = geometry_table(state_of(material), {("embed.out", 2): None}, material)

    assert np.isnan(table["r_answer"]).all()
    assert np.isfinite(table["r_loss"]).all()


def test_what_stands_at_each_position_is_told_of_each_prompt():
    material = material_of()

    found = tokens_of(material, lambda ids: " ".join(map(str, ids)))

    names = [position.name for position in material.grid.positions]
    assert found.shape == (4, len(names))
    assert found[1, names.index("x_first")] == "0"
    assert found[1, names.index("x_last")] == "1"
    assert found[0, names.index("y_middle")] == "2"
    assert found[2, names.index("x_first")] == ""


def test_what_stands_at_a_position_is_plain_and_not_too_long():
    material = material_of(num=1)

    found = tokens_of(material, lambda ids: "\0" if ids == [0] else "long " * 100)

    assert found[0, 0] == "\\x00"
    assert max(map(len, found[0])) == 40
