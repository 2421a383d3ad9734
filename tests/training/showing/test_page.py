"""The doctor's page: every sentence, every number that a page can hold, and never too much."""

from dataclasses import replace

import numpy as np
import pytest

from backlight.report.page.document import document
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.showing.course import MOST_POINTS
from backlight.training.showing.page import page_of
from zoo.histories import changed, column, healthy

COURSE, GRADIENTS, UPDATES = (
    *("What was recorded", "Gradient by place and step"),
    "Update by matrix and step",
)


@pytest.fixture
def exploded():
    history = healthy()
    return changed(history, "norm", 45, column(history, "h.2.mlp.c_fc.weight"), 1e4)


def shown(history, **more):
    """Make the page of a history: its views by their titles."""
    page = page_of(history, diagnose(history), title="my run", **more)
    return page, {view.title: view for view in page.views}


def cells(history, title):
    """Read the one map of a view: its view, and the map."""
    view = shown(history)[1][title]
    return view, view.maps[()]


def text_of(history):
    return document(shown(history)[0]).decode()


def test_every_sentence_of_a_diagnosis_is_on_its_page():
    history = replace(healthy(), loss_steps=np.arange(60) + 1, losses=np.full(60, np.nan))
    history = changed(history, "norm", 50, column(history, "head.weight"), np.nan)
    history = replace(history, understood="60 steps of something.")
    diagnosis = diagnose(history)
    first, *others = diagnosis.findings
    first = replace(first, followed_by=(replace(first, since_step=7), replace(first, title="b")))
    diagnosis = replace(diagnosis, findings=(first, *others), notes=("A note.",))
    page = page_of(history, diagnosis, title="my run", commands={"Again:": "backlight doctor x"})

    text = document(page).decode()

    assert "60 steps of something." in page.summary
    for finding in diagnosis.findings:
        told = [finding.evidence, finding.cause[1:], finding.remedy[1:]]
        told += [f"{each.title}: {each.place}, {each.when}." for each in finding.followed_by]
        told += [f"{finding.title[1:]}: {finding.place}, {finding.when}"]
        for sentence in told:
            assert sentence.replace("'", "&#x27;") in text
    for sentence in (*diagnosis.not_observed, *diagnosis.notes):
        assert sentence.replace("'", "&#x27;") in text
    assert "backlight doctor x" in text


@pytest.mark.parametrize(("factor", "tone"), [(1.0, "good"), (np.nan, "bad")])
def test_the_verdict_stands_beside_the_title(factor, tone):
    history = healthy()
    history = changed(history, "norm", range(50, 60), column(history, "head.weight"), factor)

    page, _ = shown(history)

    assert page.mark == diagnose(history).verdict
    assert page.tone == tone


def test_places_are_shown_from_the_input_to_the_loss(exploded):
    assert cells(exploded, GRADIENTS)[0].rows == ["wte", "h.0", "h.1", "h.2", "h.3", "head"]
    view, found = cells(exploded, UPDATES)
    assert view.rows[0] == "wte"
    assert view.rows[-1] == "head"
    assert found.values.shape == (len(view.rows), 60)


def test_without_blocks_modules_are_shown(exploded):
    infos = tuple(replace(info, layer=None) for info in exploded.parameters)

    view, _ = cells(replace(exploded, parameters=infos), GRADIENTS)

    assert view.row_label == "module"
    assert "h.2.mlp.c_fc" in view.rows


def test_findings_are_marked_where_they_begin(exploded):
    _, views = shown(exploded)

    for chart in views[COURSE].charts:
        assert chart.marks == {"finding 1: step 46": 46.0}
    assert cells(exploded, GRADIENTS)[1].columns[44:47] == ["45", "46, finding 1", "47"]
    assert "Findings begin at 46 (finding 1)." in views[GRADIENTS].note


def test_what_has_no_colour_says_why(exploded):
    present = exploded.present.copy()
    present[:, column(exploded, "head.weight")] = False
    broken = changed(exploded, "norm", range(50, 60), column(exploded, "h.0.ln.weight"), np.nan)
    for name in ("ln", "attn.c_attn", "mlp.c_fc"):
        broken = changed(broken, "norm", range(9), column(exploded, f"h.1.{name}.weight"), 0)

    view, found = cells(replace(broken, present=present), GRADIENTS)

    reasons = dict(enumerate(("", *view.reasons)))
    rows = {
        name: [reasons[mark] for mark in row]
        for name, row in zip(view.rows, found.marks, strict=True)
    }
    assert rows["h.0"] == [""] * 50 + ["NaN or infinite"] * 10
    assert rows["h.1"] == ["exactly zero"] * 9 + [""] * 51
    assert rows["head"] == ["no gradient"] * 60
    assert np.isnan(found.values).sum() == 79
    assert rows["wte"] == [""] * 60


def test_numbers_that_no_page_can_hold_are_infinite_or_zero():
    history = healthy()
    history = changed(history, "norm", 3, column(history, "head.weight"), 1e60)
    history = changed(history, "norm", 4, column(history, "head.weight"), 1e-60)
    history = replace(history, losses=np.where(np.arange(60) == 7, -1e300, history.losses))

    _, found = cells(history, GRADIENTS)
    norm, loss, _ = shown(history)[1][COURSE].charts

    assert found.marks[-1, 2:6].tolist() == [0, 1, 2, 0]
    for chart, step in ((norm, 4), (loss, 8)):
        line, broken = chart.series
        assert np.isnan(line.y[step - 1])
        assert broken.name == "NaN or infinite"
        assert broken.x.tolist() == [step]
        assert broken.y[0] == np.nanmax(line.y)
    assert document(shown(history)[0])


def test_a_clipped_norm_is_shown_beside_the_raw_one():
    history = healthy()
    names = [each.name for each in shown(history)[1][COURSE].charts[0].series]
    clipped = np.minimum(history.global_norm, 0.3)
    clipped[3] = np.nan  # a step that was left out

    both = shown(replace(history, clipped_norm=clipped))[1][COURSE].charts[0].series

    assert names == [""]
    assert [each.name for each in both] == ["before clipping", "as used"]
    assert np.nanmax(both[1].y) == 0.3


def test_values_far_apart_have_a_logarithmic_axis(exploded):
    norm, loss, _ = shown(exploded)[1][COURSE].charts

    assert norm.scales == ("linear", "log")
    assert loss.scales == ("linear", "linear")


def test_updates_are_a_median_with_its_range():
    history = healthy()
    history = changed(history, "update_ratio", 5, column(history, "head.weight"), 100.0)
    history = changed(history, "update_ratio", 6, column(history, "head.weight"), np.inf)
    history = changed(history, "update_ratio", 7, range(len(history.parameters)), 0.0)

    chart = shown(history)[1][COURSE].charts[-1]

    (line,) = chart.series
    np.testing.assert_allclose(line.y, 1e-3)
    np.testing.assert_allclose(line.high[5:7], [0.1, 1e-3])
    assert list(line.x[6:8]) == [7.0, 9.0]
    assert chart.levels == {"0.001, usual for large models": 1e-3}


@pytest.mark.parametrize("num_steps", [0, 1, 2, 900])
def test_histories_of_any_length_are_shown(num_steps):
    page, views = shown(healthy(num_steps=num_steps))

    titles = {COURSE, GRADIENTS, UPDATES}
    assert titles & set(views) == (titles if num_steps else set())
    assert document(page)


def test_a_log_of_losses_has_a_page_of_losses():
    history = replace(
        *(healthy(num_steps=0),), loss_steps=np.arange(1, 30), losses=np.full(29, 2.0)
    )

    _, views = shown(history)

    (chart,) = views[COURSE].charts
    assert chart.y == "loss"
    assert views[COURSE].note == "Loss."
    assert GRADIENTS not in views


def test_a_long_log_keeps_its_extremes_and_the_steps_of_findings():
    history = healthy(num_steps=30_000, num_layers=2)
    place = column(history, "h.1.mlp.c_fc.weight")
    history = changed(history, "norm", 20_002, place, 1e4)
    history = replace(history, losses=np.where(np.arange(30_000) == 777, 4.7, history.losses))
    steps = [finding.since_step for finding in diagnose(history).findings]
    assert 20_003 in steps

    page, views = shown(history)

    norm, loss, _ = views[COURSE].charts
    assert len(norm.series[0].x) <= MOST_POINTS + len(steps)
    assert norm.series[0].y.max() == history.global_norm.max()
    assert loss.series[0].x[loss.series[0].y.argmax()] == 778
    assert (norm.series[0].x[0], norm.series[0].x[-1]) == (1, 30_000)
    assert "There are 30,000 steps, more than a page can show" in views[COURSE].note
    found = views[GRADIENTS].maps[()]
    number = steps.index(20_003) + 1
    assert f"20003, finding {number}" in found.columns
    assert found.values.shape[1] == len(found.columns) <= 400 + len(steps)
    assert f"Of 30,000 recorded steps {len(found.columns)} are shown" in views[GRADIENTS].note
    assert len(document(page)) < 300_000


def test_a_long_stretch_of_nan_is_few_points():
    history = replace(healthy(num_steps=5_000), losses=np.full(5_000, np.nan))

    loss = shown(history)[1][COURSE].charts[1]

    broken = loss.series[1]
    assert (broken.x[0], broken.x[-1]) == (1, 5_000)
    assert len(broken.x) < 100  # the page draws no more points that are not joined


def test_many_matrices_are_shown_at_fewer_steps():
    _, found = cells(healthy(num_steps=500, num_layers=100), UPDATES)

    assert found.values.shape[0] == 202
    assert 100 < found.values.shape[1] < 130


def test_names_are_only_read(exploded):
    infos = tuple(
        replace(info, module=info.module.replace("mlp", "<img src=x onerror=alert(1)>"))
        for info in exploded.parameters
    )
    history = replace(exploded, parameters=infos)

    text = document(page_of(history, diagnose(history), title="<script>&")).decode()

    assert "<img" not in text
    assert "&lt;script&gt;&amp;" in text
    assert text.count("</script>") == text.count("<script")
