import pytest
import yaml
from pydantic import ValidationError

from backlight.errors import ConfigError
from backlight.surveys.driver.options.reading import explain, merge, read_config, same_numbers
from backlight.surveys.driver.options.shared import ShownRunOptions
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.tokens.options import TokensConfig
from backlight.tools.export.options import ExportConfig
from backlight.tools.sites.options import SitesConfig


def test_defaults_are_those_of_the_seed():
    config = LayersConfig()

    assert (config.model_name, config.num_samples) == ("Qwen/Qwen2.5-0.5B", 500)
    assert (config.batch_size, config.max_length) == (4, 128)
    assert (config.layers, config.site, config.device) == ("all", "mlp.out", "auto")
    assert (config.aggregation_mode, config.aggregate_by) == ("mean_abs", "gradients")
    assert (config.power, config.normalize) == (None, "none")
    assert config.loss_reduction == "sequence_mean"
    assert config.dataset == "wikitext"
    assert not (config.save_outputs)
    assert not (config.overwrite)
    assert not (config.resume)
    assert not (config.output_dir)
    assert not config.trust_remote_code


def test_options_cannot_be_changed_after_the_fact():
    config = LayersConfig()

    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1


def test_every_option_is_described():
    for kind in (LayersConfig, SitesConfig):
        assert all(field.description for field in kind.model_fields.values())


def test_what_is_given_wins_over_the_file_and_the_file_over_defaults():
    config = merge(LayersConfig, {"num_samples": 7, "batch_size": 2}, {"batch_size": 3})

    assert (config.num_samples, config.batch_size, config.max_length) == (7, 3, 128)


def test_an_unknown_option_is_told_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"num_sample: no such option\. Did you mean num_samples\?"
    ):
        merge(LayersConfig, {"num_sample": 1}, {})


def test_an_option_that_must_be_given_is_asked_for():
    with pytest.raises(
        ConfigError, match=r"^output: must be given \(--output, in Python output=\)$"
    ):
        merge(ExportConfig, {}, {"run": "plays"})


def test_an_option_like_no_other_does_not_exist():
    with pytest.raises(ConfigError, match=r"zzzz: no such option\. It does not exist\."):
        merge(LayersConfig, {"zzzz": 1}, {})


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        merge(LayersConfig, {"layer": "0", "num_samples": 0}, {"aggregation_mode": "median"})

    message = str(caught.value)
    assert message.count("; ") == 2
    assert "layer: no such option. Did you mean layers?" in message
    assert "num_samples: Input should be greater than 0 (got 0)" in message
    assert "aggregation_mode: Input should be 'mean', 'mean_abs', 'rms' or 'both'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_samples", 0),
        ("num_samples", "many"),
        ("batch_size", 0),
        ("max_length", 1),
        ("seed", -1),
        ("power", 0),
        ("dtype", "int8"),
        ("aggregation_mode", "max"),
        ("aggregate_by", "hessian"),
        ("normalize", "all"),
        ("loss_reduction", "mean"),
        ("model_name", None),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(option, value):
    with pytest.raises(ConfigError, match=rf"^{option}: .* \(got {value!r}\)$"):
        merge(LayersConfig, {option: value}, {})


def test_a_single_layer_may_be_written_as_a_number():
    assert merge(LayersConfig, yaml.safe_load("layers: 5"), {}).layers == "5"


def test_mistakes_are_explained_for_the_command_that_was_asked():
    with pytest.raises(ValidationError) as caught:
        SitesConfig.model_validate({"dataset": "shakespeare", "layrs": "all"})

    told = explain(SitesConfig, caught.value)

    assert told == (
        "dataset: no such option. It does not exist.; layrs: no such option. Did you mean layers?"
    )


def test_where_results_go_cannot_change_a_number():
    kept = same_numbers(LayersConfig(save_outputs=True, quiet=True, workers=2, seed=3))

    of_the_call = {*ShownRunOptions.model_fields, "check", "workers", "cluster", "memory"}
    of_the_call |= {"dry_run"}
    assert set(kept) == set(LayersConfig.model_fields) - of_the_call
    assert kept["seed"] == 3


def test_options_come_back_from_yaml_as_they_were():
    config = LayersConfig(power=0.5, layers="0-5,7", aggregation_mode="both")

    assert merge(LayersConfig, yaml.safe_load(yaml.safe_dump(same_numbers(config))), {}) == config


def test_a_file_of_options_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("num_samples: 7\nlayers: 0-5,7\n", encoding="utf-8")

    assert read_config(path) == {"num_samples": 7, "layers": "0-5,7"}


def test_an_empty_file_has_no_options(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n", encoding="utf-8")

    assert read_config(tmp_path / "empty.yaml") == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file '.*lost\.yaml'\."):
        read_config(tmp_path / "lost.yaml")


@pytest.mark.parametrize(
    "content", [b"layers: [0, 1", b"\xff\xfe\x00", b"a: b: c"], ids=["open", "bytes", "colons"]
)
def test_a_file_that_is_no_yaml_is_told_in_one_line(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=r"^'.*bad\.yaml' cannot be read(:| as YAML:) .*$"):
        read_config(tmp_path / "bad.yaml")


def test_a_folder_is_no_file_of_options(tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder, not a file"):
        read_config(tmp_path)


def test_of_a_run_directory_the_file_of_its_options_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("num_samples: 7")

    with pytest.raises(
        ConfigError, match=r"is a folder; the options of its run are '.*config.yaml'"
    ):
        read_config(tmp_path)


@pytest.mark.parametrize("content", ["- layers\n- all\n", "shakespeare"])
def test_a_file_that_holds_no_options_is_refused(tmp_path, content):
    (tmp_path / "list.yaml").write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"must hold options such as `num_samples: 500`"):
        read_config(tmp_path / "list.yaml")


@pytest.mark.parametrize("value", ["true", "yes", "1", "[]", "'no'", "{}"])
def test_a_file_cannot_switch_on_the_code_of_a_model(value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"trust_remote_code: {value}\n", encoding="utf-8")

    found = read_config(path)
    with pytest.raises(ConfigError, match=r"give --trust_remote_code yourself \(in Python trust"):
        merge(LayersConfig, found, {"seed": 1})
    assert merge(LayersConfig, found, {"trust_remote_code": True}).trust_remote_code
    assert not merge(LayersConfig, found, {"trust_remote_code": False}).trust_remote_code


@pytest.mark.parametrize("value", ["false", "off", "null", "~"])
def test_a_file_may_say_that_no_code_is_run(value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"trust_remote_code: {value}\n", encoding="utf-8")

    found = {name: value or False for name, value in read_config(path).items()}
    assert not merge(LayersConfig, found, {}).trust_remote_code


def test_a_file_cannot_name_a_kernel_of_the_hub(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("attn_implementation: somebody/kernel\n", encoding="utf-8")

    found = read_config(path)
    with pytest.raises(ConfigError, match=r"'somebody/kernel', which is code of the hub.*yourself"):
        merge(LayersConfig, found, {})
    assert merge(LayersConfig, found, {"attn_implementation": "a/b"}).attn_implementation == "a/b"


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("num_samples", 10**30, "the number is larger than 9,007,199,254,740,992"),
        ("seed", 10**30, "the number is larger than"),
        ("power", float("inf"), "finite number"),
        ("power", float("nan"), "finite number"),
        ("model_name", "a\0b", "it has a NUL character"),
        ("output_dir", "a\0b", "it has a NUL character"),
    ],
)
def test_what_no_option_can_be_is_refused(option, value, told):
    with pytest.raises(ConfigError, match=f"{option}: .*{told}"):
        merge(LayersConfig, {option: value}, {})


def test_many_mistakes_are_told_in_one_line_of_sensible_length():
    found = {f"{number}{'x' * 5000}": "y" * 5000 for number in range(1000)}
    with pytest.raises(ConfigError, match=r"and 995 more mistakes$") as caught:
        merge(LayersConfig, {"num_samples": "9" * 10_000, **found}, {})

    assert len(str(caught.value)) < 1500


def test_patterns_that_multiply_out_to_very_many_are_refused():
    with pytest.raises(ConfigError, match="the patterns, multiplied out, are more than 1,000"):
        merge(TokensConfig, {"probe_train": ["a||b"] * 40}, {})
