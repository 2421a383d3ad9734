"""``backlight doctor`` on logs, on plain logs, on a model with one batch; its page."""

import json
import re

import numpy as np
import pytest

from backlight import cli
from backlight.errors import ConfigError, RunDirectoryError
from backlight.tools.doctor.command import doctor, run
from backlight.tools.doctor.options import DoctorConfig
from backlight.training.doctor.catalogue import SYMPTOMS


@pytest.fixture
def plain_log(tmp_path):
    """Write a plain log of norms from the input to the loss, one list for each step."""

    def write(rows, **losses):
        path = tmp_path / "norms.jsonl"
        lines = [
            {"step": step, "norms": {f"layer {place}": norm for place, norm in enumerate(row)}}
            for step, row in enumerate(rows, start=1)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def test_a_plain_log_of_alike_norms_is_healthy_and_leaves_with_zero(plain_log, capsys):
    path = plain_log([[0.1, 0.11, 0.09, 0.1, 0.12, 0.08]] * 5)

    assert run(DoctorConfig(run_dir=path)) == 0

    out = capsys.readouterr().out
    assert f"healthy. Of {len(SYMPTOMS)} symptoms, none was found." in out
    assert "Looked at 5 recorded steps (1 to 5) of 6 parameters." in out
    assert "Not observed: No loss was seen" in out


@pytest.mark.parametrize(
    ("norms", "verdict"),
    [([1e-5, 1e-4, 1e-3, 0.01, 0.1], "vanishing"), ([10, 1, 0.1, 0.01, 1e-3], "exploding")],
)
def test_a_plain_log_along_depth_vanishes_or_explodes_and_leaves_with_one(
    plain_log, capsys, norms, verdict
):
    path = plain_log([norms] * 5)

    assert run(DoctorConfig(run_dir=path)) == 1

    out = capsys.readouterr().out
    assert f": {verdict}." in out
    assert "Seen: Walking back from the last layer to the first" in out
    assert "Likely: " in out
    assert "Try: " in out


def test_a_finding_is_told_with_its_consequences(plain_log, tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    lines = [{"step": s, "grad_norm": 1.0, "loss": 3.0} for s in range(1, 40)]
    lines += [{"step": 40, "grad_norm": "NaN", "loss": "NaN"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert run(DoctorConfig(run_dir=path)) == 1

    out = capsys.readouterr().out
    assert "non-finite" in out
    assert "1. NaN or infinity: the whole model, since step 40" in out


def test_a_log_without_a_gradient_leaves_with_one_and_its_page_says_so(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    lines = [{"step": s, "loss": 3.0 + 1.0 / s} for s in range(1, 40)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert run(DoctorConfig(run_dir=path, html=tmp_path / "page.html")) == 1

    out = capsys.readouterr().out
    assert "nothing to judge. No gradient was read, so this is no sign of health." in out
    assert "No step was recorded. 39 losses are known." in out
    assert re.search(r"^Page +\S*page\.html$", out, re.MULTILINE)
    assert "badge odd" in (tmp_path / "page.html").read_text()


def test_the_python_call_gives_the_diagnosis(plain_log):
    assert doctor(plain_log([[0.1, 0.1, 0.1]] * 4)).is_healthy


def test_a_watched_run_is_judged_on_disk_as_in_memory(tmp_path):
    import torch

    from backlight.training.watching.watch import watch

    layers = [torch.nn.Linear(8, 8) for _ in range(5)]
    layers[1].requires_grad_(requires_grad=False)
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(layers[3].parameters(), lr=1e-3)
    with watch(model, optimizer, tmp_path / "run", schedule=1, status=False) as monitor:
        for _ in range(12):
            optimizer.zero_grad()
            loss = model(torch.randn(16, 8)).square().mean()
            loss.backward()
            monitor.loss(loss)
            optimizer.step()

    diagnosis = doctor(tmp_path / "run")

    assert str(diagnosis) == str(monitor.diagnose())
    assert diagnosis.verdict == "dead"
    assert "it has a gradient and never moves" in str(diagnosis)


def test_a_missing_log_is_a_users_mistake(tmp_path):
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        run(DoctorConfig(run_dir=tmp_path / "nothing.jsonl"))


def test_a_log_and_a_model_exclude_each_other_and_one_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="model_name, dataset would have no effect"):
        run(DoctorConfig(run_dir=tmp_path, model_name="city", dataset="shakespeare"))
    with pytest.raises(ConfigError, match="a run directory, or --model_name"):
        run(DoctorConfig())


def test_a_model_and_one_batch_of_text_are_enough(model_folder, text_file, capsys):
    config = DoctorConfig(
        model_name=str(model_folder), dataset=str(text_file), device="cpu", max_length=20
    )

    status = run(config)

    out = capsys.readouterr().out
    assert status == 0, out
    assert "Looked at 1 recorded step (1)" in out
    assert "Updates were not recorded" in out


def test_the_probe_leaves_the_model_as_it_was_and_gives_autograds_norms(model_folder, text_file):
    import torch

    from backlight.data.batches import Batch, tokenize
    from backlight.models.loading import load_subject
    from backlight.tools.doctor.probe import probe_subject

    subject = load_subject(str(model_folder), device="cpu")
    rows = text_file.read_text().splitlines()[1:4]
    passages = tokenize(rows, subject.tokenizer, max_length=20)
    frozen, gathered = list(subject.model.parameters())[:2]
    frozen.requires_grad_(requires_grad=False)
    gathered.grad = torch.ones_like(gathered)  # half-way through a step
    history = probe_subject(subject, Batch.of(passages, range(3)))

    flags = [each.requires_grad for each in subject.model.parameters()]
    assert not flags[0]
    assert all(flags[1:])
    assert (gathered.grad == 1).all()
    assert all(each.grad is None for each in subject.model.parameters() if each is not gathered)
    gathered.grad = None
    frozen.requires_grad_()
    losses = []
    for tokens in passages.tokens:
        ids = torch.from_numpy(tokens)[None]
        logits = subject.model(input_ids=ids).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
    torch.cat(losses).mean().backward()
    expected = [each.grad.norm().item() for each in subject.model.parameters()]
    np.testing.assert_allclose(history.statistics["norm"][0], expected, rtol=1e-4)
    assert history.losses[0] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)


def test_the_python_call_writes_the_page_and_gives_the_diagnosis(plain_log, tmp_path):
    log = plain_log([[10, 1, 0.1, 0.01, 1e-3]] * 5)

    diagnosis = doctor(log, html=tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text()
    assert diagnosis.verdict == "exploding"
    assert f"Doctor: {log}" in text
    assert "Walking back from the last layer to the first" in text


def test_a_page_replaces_a_page_and_nothing_else(tmp_path, capsys):
    log, page = tmp_path / "log.jsonl", tmp_path / "page.html"
    log.write_text('{"step": 1, "grad_norm": 0.3, "loss": 2.1}\n')
    before = log.read_bytes()
    (tmp_path / "link.html").symlink_to(log)
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    (tmp_path / "folder.html").mkdir()

    for name in ("log.jsonl", "link.html", "mine.html", "folder.html"):
        assert cli.main(["doctor", str(log), "--html", str(tmp_path / name)]) == 2
        assert f"{name}' is there already and is no page" in capsys.readouterr().err
    assert log.read_bytes() == before
    for _ in range(2):
        assert cli.main(["doctor", str(log), "--html", str(page)]) in (0, 1)
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
