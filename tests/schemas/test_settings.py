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
