"""The settings file: one clear error, naming file, line and key, before anything starts."""

from __future__ import annotations

from collections.abc import Callable
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
def write(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "speech").mkdir()
    (tmp_path / "general.nemo").touch()

    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


def test_good_settings_have_absolute_paths(write: Callable[[str], Path], tmp_path: Path) -> None:
    settings = load_settings(write(GOOD))
    assert settings.models["general"].path == str(tmp_path / "general.nemo")
    assert settings.audio.roots == [str(tmp_path / "speech")]
    assert settings.stream.guarantee == "exactly_once"


def test_roots_may_be_urls(write: Callable[[str], Path], tmp_path: Path) -> None:
    urls = ["s3://calls/2026", "https://host:8443/calls"]
    text = GOOD.replace("[speech]", f"[{urls[0]}, speech, '{urls[1]}']")
    settings = load_settings(write(text))
    assert settings.audio.roots == [urls[0], str(tmp_path / "speech"), urls[1]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "gpu_fraction: 0.25",
            "gpu_fration: 0.25",
            r":4: models\.medical\.gpu_fration: no such key; did you mean `gpu_fraction`\?",
        ),
        ("  roots: [speech]", "  root: [speech]", r":14: audio\.root: .* mean `roots`\?"),
        (
            "gpu_fraction: 0.25",
            "dtype: fp16",
            r":4: models\.medical\.dtype: no such value: 'fp16'; there are: auto, bfloat16",
        ),
        ("gpu_fraction: 0.25", "head: ctx", "no such value: 'ctx'; did you mean `ctc`"),
        ("{field: domain, equals", "{fields: domain, equals", r"any\[0\]\.fields: .*`field`"),
        ("  medical: {", "  1: {", r":4: models\.1: .* put the name in quotes"),
        ("gpu_fraction: 0.25", "gpu_fraction: many", ":4: models.medical.gpu_fraction: .*float"),
        ("default: general", "default: genral", ":6: routing.default: no plan or model `genral`"),
        ("model: medical", "model: legal", r":9: routing.rules\[0\].model: no model `legal`"),
        ("equals: medical", "equals: medical, below: 2", r"any\[0\]: give exactly one of"),
        ("field: domain", "field: audio.snr", "no measure `audio.snr`"),
        ("field: domain", "field: audio.lang", "`audio.lang` needs `routing.language_model`"),
        (
            "default: general",
            "default: general\n  language_model: whisper",
            ":7: routing.language_model: no model `whisper`; defined are: general, medical",
        ),
        ("contains: [medical]", "matches: '('", "not a regular expression"),
        ("name: medical", "name: default", r"\[0\].name: the name `default` is reserved: results"),
        ("name: medical", "name: requested", "reserved: results have `default` where no rule hol"),
        ("roots: [speech]", "roots: [nowhere]", "no such folder: nowhere"),
        ("roots: [speech]", "roots: ['ftp://h/x']", r"roots\[0\]: is neither a folder nor a URL"),
        ("roots: [speech]", "roots: ['s3:///x']", "names no bucket or host"),
        ("roots: [speech]", "roots: ['https://a:b@h/x']", "has credentials in it"),
        ("roots: [speech]", "roots: ['https://h/x?y']", "has a query"),
        ("roots: [speech]", "roots: ['s3://b//x']", "two slashes in a row"),
        ("roots: [speech]", "roots: ['https://h/%2e%2e/x']", r"has `\.` or `\.\.` in it"),
        ("{path: general.nemo}", "{path: missing.nemo}", "no such file: missing.nemo"),
        ("{path: general.nemo}", "{}", "give one of `path`"),
        ("{path: general.nemo}", "{engine: wrong}", "neither `nemo`, `transformers`, `faster"),
        ("{path: general.nemo}", "{engine: transformers}", "give one of `path` .the folder"),
        ("{path: general.nemo}", "{engine: transformers, path: .}", "has no config.json"),
        ("{path: general.nemo}", "{engine: transformers, pretrained: a}", "names a NeMo model"),
        ("{path: general.nemo}", "{model: general@x}", "add `registry: {url: FOLDER_OR_URL}`"),
        ("{path: general.nemo}", "{model: 'general:x'}", r"models\.general\.model: .*NAME@ALIAS"),
        ("  medical: {", "  Medical: {", ":4: models.Medical: a name has only lower-case letters"),
        ("    - name: medical", "    - name: a b", r":8: routing.rules\[0\].name: a name has only"),
        ("  roots: [speech]", "  roots: [speech", "not valid YAML"),
        ("  roots: [speech]", "  roots: []", "audio.roots"),
        ("\nmodels:", "\nstream: {session_timeout_s: 0.1}\nmodels:", "session_timeout_s: must be"),
        (GOOD, "", ":1: the file is empty; `chorus init`"),
        (GOOD, "# models:", ":1: the file is empty; `chorus init`"),
        (GOOD, "- models", ":1: keys with values are expected, and this is a list"),
        (GOOD, "models", ":1: keys with values are expected, and this is a text"),
        ("\nmodels:", "\nkafka:\nmodels:", ":2: kafka: nothing stands under this key; fill it"),
        ("\nmodels:", "\nkafka: 9092\nmodels:", ":2: kafka: keys .* and this is a number"),
    ],
)
def test_a_fault_is_named_with_its_line_and_key(
    write: Callable[[str], Path], old: str, new: str, said: str
) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError, match=said):
        load_settings(write(GOOD.replace(old, new, 1)))


def test_shares_and_channels_as_they_are_written_elsewhere(write: Callable[[str], Path]) -> None:
    """Shares as on the command line, channels as in records."""
    text = GOOD.replace("gpu_fraction: 0.25", "gpu_fraction: 25%, interactive_share: 50%")
    settings = load_settings(
        write(
            text.replace("[speech]", '[speech]\n  channel: "1"')
            + "rollout: {shadow: 20%, canary: 2.5%, max_worse: 120%, error_rate: 1%}\n"
            "stream: {max_dead_letter_ratio: 10%}\n"
            "validation: {max_wer: 25%, max_slice_wer: {short: 30%}}\n"
        )
    )
    medical, rollout = settings.models["medical"], settings.rollout
    assert (medical.gpu_fraction, medical.interactive_share) == (0.25, 0.5)
    assert (rollout.shadow, rollout.canary, rollout.max_worse) == (0.2, 0.025, 1.2)
    assert (rollout.error_rate, settings.stream.max_dead_letter_ratio) == (0.01, 0.1)
    assert (settings.validation.max_wer, settings.validation.max_slice_wer) == (25, {"short": 30})
    assert settings.audio.channel == 1
    mean = load_settings(write(GOOD.replace("[speech]", "[speech]\n  channel: average")))
    assert mean.audio.channel == "mean"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("rollout: {shadow: 120%}", "rollout.shadow: Expected `float` <= 1.0"),
        ("rollout: {shadow: much}", "rollout.shadow: Expected `float`, got `str`"),
        ("stream: {batch_records: 20%}", "stream.batch_records: Expected `int"),
    ],
)
def test_what_is_no_share_is_refused(
    write: Callable[[str], Path], section: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(GOOD + section))
    assert message in str(caught.value)


def test_all_contradictions_are_named_at_once(write: Callable[[str], Path]) -> None:
    text = GOOD.replace("default: general", "default: a").replace("model: medical", "model: b", 1)
    with pytest.raises(SettingsError) as caught:
        load_settings(write(text))
    assert "`a`" in str(caught.value)
    assert "`b`" in str(caught.value)


def test_what_needs_no_files_takes_settings_of_another_machine(
    write: Callable[[str], Path],
) -> None:
    text = GOOD.replace("general.nemo", "elsewhere.nemo").replace("[speech]", "[elsewhere]")
    text = text.replace("routing:", "routing:\n  calibration: elsewhere.json")
    with pytest.raises(SettingsError) as caught:
        load_settings(write(text))
    assert len(str(caught.value).splitlines()) == 4
    load_settings(write(text), files=False)
    with pytest.raises(SettingsError, match="no plan or model `genral`"):
        load_settings(write(text.replace("default: general", "default: genral")), files=False)


def test_a_path_may_be_the_folder_of_a_version(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    version = tmp_path / "models" / "ward" / "2"
    version.mkdir(parents=True)
    text = GOOD.replace("{path: general.nemo}", "{path: models/ward/2}", 1)
    with pytest.raises(SettingsError, match=r"the folder models/ward/2 has no model\.nemo$"):
        load_settings(write(text))
    (version / "model.nemo").touch()
    assert load_settings(write(text)).models["general"].path == str(version / "model.nemo")
    with pytest.raises(SettingsError, match=r"no model\.nemo; it has the versions 2: name"):
        load_settings(write(text.replace("ward/2", "ward")))


@pytest.mark.parametrize("engine", ["faster-whisper", "package.module:Class"])
def test_the_path_of_another_engine_may_be_a_folder(
    write: Callable[[str], Path], tmp_path: Path, engine: str
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/config.json").write_text("{}")
    text = GOOD.replace("{path: general.nemo}", f"{{engine: '{engine}', path: weights}}", 1)
    assert load_settings(write(text)).models["general"].path == str(tmp_path / "weights")


@pytest.mark.parametrize("text", ["", "[]", "just text", "models: {}"])
def test_what_is_no_settings_file_is_refused(write: Callable[[str], Path], text: str) -> None:
    with pytest.raises(SettingsError):
        load_settings(write(text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "no.yaml")


def test_secrets_come_from_the_environment(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weights: {medical: 2}", "weights: {B: 2}", "plans.both.combine.weights.B: a name has"),
        ("method: weighted", "methods: weighted", "plans.both.combine.methods: .*`method`"),
        ("alone: {model", "Alone: {model", "plans.Alone: a name has"),
        ("{screen: general,", "{screens: general,", "plans.two_steps.tiers.screens: .*`screen`"),
    ],
)
def test_a_fault_within_named_entries_has_their_names(
    write: Callable[[str], Path], old: str, new: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(write(PLANNED.replace(old, new, 1)))


def test_plans_name_models_and_rules_name_plans(write: Callable[[str], Path]) -> None:
    text = PLANNED.replace("      model: medical\n", "      plan: alone\n")
    settings = load_settings(write(text))
    assert settings.routing.default == "two_steps"
    assert [rule.target for rule in settings.routing.rules] == ["alone"]
    combiner, tiers = settings.plans["both"].combine, settings.plans["two_steps"].tiers
    assert combiner is not None
    assert combiner.weights == {"medical": 2.0}
    assert tiers is not None
    assert tiers.max_screening_wer == 40.0


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
        (
            "ensemble: [general, medical]",
            "ensemble: [general, medical]\n    spelling: [x]",
            "plans.both.spelling: `x` is no member of `ensemble`",
        ),
        ("weights: {medical", "weights: {x", "plans.both.combine.weights: no model `x`"),
        ("method: weighted", "method: majority", "combine.method: .*majority"),
        ("method: weighted", "method: rover, alpha: 2", "plans.both.combine.alpha: .*<= 1"),
        (
            "weights: {medical",
            "weights: {Medical",
            r"plans.both.combine.weights.Medical: a name has",
        ),
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
def test_a_fault_in_a_plan_is_named_with_its_key(
    write: Callable[[str], Path], old: str, new: str, said: str
) -> None:
    assert old in PLANNED
    with pytest.raises(SettingsError, match=said):
        load_settings(write(PLANNED.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("{sha256: secret}", "http.keys.ward.sha256: .*regex"),
        ("{}", "http.keys.ward: give either"),
        ("{env: A}, other: {env: A}", "http.keys.other: has the same key as `ward`"),
    ],
)
def test_a_fault_in_an_api_key_is_named_with_its_client(
    write: Callable[[str], Path], key: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(write(f"{GOOD}http:\n  keys: {{ward: {key}}}\n"))


@pytest.mark.parametrize("origin", ["https://page/", "page", "https://Page", "https://a/b", ""])
def test_an_origin_that_no_browser_sends_is_named(
    write: Callable[[str], Path], origin: str
) -> None:
    known = "['*', 'null', 'https://page.example:8443', 'chrome-extension://abc', 'http://[::1]:1']"
    load_settings(write(f"{GOOD}http:\n  allowed_origins: {known}\n"))
    with pytest.raises(SettingsError, match=rf"allowed_origins\[0\]: `{origin}` is no origin"):
        load_settings(write(f"{GOOD}http:\n  allowed_origins: ['{origin}']\n"))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("{whisper-1: large}", "models.whisper-1: no plan or model `large`; defined are: auto"),
        ("{general: auto}", "http.models.general: this name is taken"),
        ("{auto: general}", "http.models.auto: this name is taken"),
        ("{'general:2': auto}", "http.models.general:2: this name is taken"),
        ("{'a b': auto}", "http.models"),
    ],
)
def test_an_alias_names_something_and_has_a_name_of_its_own(
    write: Callable[[str], Path], models: str, said: str
) -> None:
    load_settings(write(f"{GOOD}http:\n  models: {{whisper-1: auto, Org/Name-v3: general}}\n"))
    with pytest.raises(SettingsError, match=said):
        load_settings(write(f"{GOOD}http:\n  models: {models}\n"))


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
        ("{find: bp", "{fnid: bp", r"text_rules.ward.rules\[0\].fnid: .*`find`"),
        ("{find: bp", "{find: ''", r"text_rules.ward.rules\[0\]: `find` has no words"),
        ("text_rules: ward}", "text_rules: wrad}", "models.general.text_rules: no rules `wrad`"),
    ],
)
def test_text_rules_are_tried_on_their_examples(
    write: Callable[[str], Path], old: str, new: str, said: str
) -> None:
    load_settings(write(RULED))
    assert old in RULED
    with pytest.raises(SettingsError, match=said):
        load_settings(write(RULED.replace(old, new)))
