"""The settings file: one clear error, naming file, line and key, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import SettingsError, client_options, load_settings

GOOD = """
models:
  general: {path: general.nemo}
  medical: {path: general.nemo, gpu_fraction: 0.25}
routing:
  default: general
  rules:
    - name: medical
      model: medical
      any:
        - {field: domain, equals: medical}
        - {field: audio_filepath, contains: [medical]}
audio:
  roots: [speech]
"""


@pytest.fixture
def write(tmp_path: Path):
    (tmp_path / "speech").mkdir()
    (tmp_path / "general.nemo").touch()

    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


def test_good_settings_have_absolute_paths(write, tmp_path):
    settings = load_settings(write(GOOD))
    assert settings.models["general"].path == str(tmp_path / "general.nemo")
    assert settings.audio.roots == [str(tmp_path / "speech")]
    assert settings.stream.guarantee == "exactly_once"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gpu_fraction: 0.25", "gpu_fration: 0.25", ":4: models.medical: .*gpu_fration"),
        ("gpu_fraction: 0.25", "gpu_fraction: many", ":4: models.medical.gpu_fraction: .*float"),
        ("default: general", "default: genral", ":6: routing.default: no plan or model `genral`"),
        ("model: medical", "model: legal", r":9: routing.rules\[0\].model: no model `legal`"),
        ("equals: medical", "equals: medical, below: 2", r"any\[0\]: give exactly one of"),
        ("field: domain", "field: audio.snr", "no measure `audio.snr`"),
        ("contains: [medical]", "matches: '('", "not a regular expression"),
        ("name: medical", "name: default", "the name `default` is taken"),
        ("roots: [speech]", "roots: [nowhere]", "no such folder: nowhere"),
        ("{path: general.nemo}", "{path: missing.nemo}", "no such file: missing.nemo"),
        ("{path: general.nemo}", "{}", "give either `path`"),
        ("{path: general.nemo}", "{engine: wrong}", "neither `nemo` nor"),
        ("  roots: [speech]", "  roots: [speech", "not valid YAML"),
        ("  roots: [speech]", "  roots: []", "audio.roots"),
    ],
)
def test_a_fault_is_named_with_its_line_and_key(write, old: str, new: str, said: str):
    assert old in GOOD
    with pytest.raises(SettingsError, match=said):
        load_settings(write(GOOD.replace(old, new, 1)))


def test_all_contradictions_are_named_at_once(write):
    text = GOOD.replace("default: general", "default: a").replace("model: medical", "model: b", 1)
    with pytest.raises(SettingsError) as caught:
        load_settings(write(text))
    assert "`a`" in str(caught.value)
    assert "`b`" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "just text", "models: {}"])
def test_what_is_no_settings_file_is_refused(write, text: str):
    with pytest.raises(SettingsError):
        load_settings(write(text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "no.yaml")


def test_secrets_come_from_the_environment(write, monkeypatch):
    text = GOOD + "kafka: {client: {security_protocol: SASL_SSL, sasl_plain_password: {env: PW}}}\n"
    kafka = load_settings(write(text)).kafka
    monkeypatch.delenv("PW", raising=False)
    with pytest.raises(SettingsError, match=r"sasl_plain_password: environment variable PW"):
        client_options(kafka)
    monkeypatch.setenv("PW", "secret")
    assert client_options(kafka) == {
        "security_protocol": "SASL_SSL",
        "sasl_plain_password": "secret",
    }
    assert "secret" not in repr(kafka)


PLANNED = (
    GOOD
    + """
plans:
  alone: {model: general, fallback: [medical]}
  both:
    ensemble: [general, medical]
    combine: {method: weighted, weights: {medical: 2}}
  two_steps:
    tiers: {screen: general, high_quality: both, standard: medical}
"""
).replace("default: general", "default: two_steps")


def test_plans_name_models_and_rules_name_plans(write):
    text = PLANNED.replace("      model: medical\n", "      plan: alone\n")
    settings = load_settings(write(text))
    assert settings.routing.default == "two_steps"
    assert [rule.target for rule in settings.routing.rules] == ["alone"]
    assert settings.plans["both"].combine.weights == {"medical": 2.0}
    assert settings.plans["two_steps"].tiers.max_screening_wer == 40.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("alone:", "general:", "plans.general: a model has this name too"),
        ("model: general, fallback", "fallback", "plans.alone: give exactly one of"),
        ("{model: general,", "{model: general, ensemble: [general, medical],", "exactly one of"),
        ("{model: general,", "{model: both,", "plans.alone.model: no model `both`"),
        ("fallback: [medical]", "fallback: [x]", "plans.alone.fallback: no model `x`"),
        ("[general, medical]", "[general, x]", "plans.both.ensemble: no model `x`"),
        ("[general, medical]", "[general]", "name at least two models, each once"),
        ("[general, medical]", "[general, general]", "name at least two models, each once"),
        ("[general, medical]", "[]", "name at least two models, each once"),
        ("weights: {medical", "weights: {x", "plans.both.combine.weights: no model `x`"),
        ("method: weighted", "method: majority", "combine.method: .*majority"),
        ("method: weighted", "method: rover, alpha: 2", "combine.alpha: .*<= 1"),
        ("screen: general", "screen: both", "plans.two_steps.tiers.screen: no model `both`"),
        ("high_quality: both", "high_quality: x", "tiers.high_quality: no plan or model `x`"),
        ("standard: medical", "standard: x", "tiers.standard: no plan or model `x`"),
        ("standard: medical", "standard: two_steps", "`two_steps` has tiers itself"),
        ("standard: medical", "standard: alone", "`alone` has a fallback; give it to `two_steps`"),
        ("      model: medical\n", "      plan: x\n", r"rules\[0\].plan: no plan or model `x`"),
        ("      model: medical\n", "      model: both\n", r"rules\[0\].model: no model `both`"),
        ("      model: medical\n", "", r"rules\[0\]: give exactly one of `plan` and `model`"),
        ("default: two_steps", "default: x", "routing.default: no plan or model `x`"),
        ("default: two_steps", "default: both\n  calibration: no.json", "file: no.json"),
    ],
)
def test_a_fault_in_a_plan_is_named_with_its_key(write, old: str, new: str, said: str):
    assert old in PLANNED
    with pytest.raises(SettingsError, match=said):
        load_settings(write(PLANNED.replace(old, new, 1)))


RULED = (
    GOOD.replace("{path: general.nemo}", "{path: general.nemo, text_rules: ward}")
    + """
text_rules:
  ward:
    rules: [{find: bp, replace: blood pressure}]
    examples: [{heard: my bp, written: my blood pressure}]
"""
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("written: my blood", "written: your blood", r"text_rules.ward.examples\[0\]: the rules"),
        ("{find: bp", "{fnid: bp", "text_rules"),
        ("{find: bp", "{find: ''", r"text_rules.ward.rules\[0\]: `find` has no words"),
        ("text_rules: ward}", "text_rules: wrad}", "models.general.text_rules: no rules `wrad`"),
    ],
)
def test_text_rules_are_tried_on_their_examples(write, old: str, new: str, said: str):
    load_settings(write(RULED))
    assert old in RULED
    with pytest.raises(SettingsError, match=said):
        load_settings(write(RULED.replace(old, new)))
