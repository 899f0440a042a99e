"""The commands that need neither Kafka nor Ray, as a shell sees them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from deploy.local import CHORUS, ROOT
from schemas.settings import SettingsError, load_settings
from tests.workers.cli.shell import chorus
from workers import exit_codes
from workers.cli.evaluation import settings_of


def process(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`chorus` as a shell starts it."""
    return subprocess.run(
        [*CHORUS, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
    )
    return path


def test_right_settings(settings_file: Path) -> None:
    done = process("check", settings_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "general" in done.stdout
    as_json = json.loads(chorus("check", settings_file, "--json").stdout)
    assert as_json == {"models": ["general"], "plans": [], "rules": {"default": "general"}}


def test_a_wrong_key_is_one_clear_error(settings_file: Path) -> None:
    settings_file.write_text(settings_file.read_text() + "strem: {}\n")
    done = process("check", settings_file)
    assert done.returncode == 2
    assert "strem" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_are_named_as_for_other_commands(settings_file: Path, tmp_path: Path) -> None:
    assert chorus("check", "--settings", settings_file).returncode == 0
    assert chorus("check", settings=settings_file).returncode == 0
    assert chorus("check", cwd=tmp_path).returncode == 0
    assert chorus("check", settings_file, settings="elsewhere.yaml").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["tail"], None, "there is no chorus.yaml in "),
        (["check"], None, "name your settings file with --settings or in CHORUS_SETTINGS"),
        (["tail"], "gone.yaml", "CHORUS_SETTINGS=gone.yaml: there is no such file, seen from "),
        (["dead-letters", "list"], "gone.yaml", "CHORUS_SETTINGS=gone.yaml: there is no such"),
        (["validate", "a.nemo", "-m", "a.jsonl"], "gone.yaml", "CHORUS_SETTINGS=gone.yaml"),
        (["compare", "a", "-m", "a.jsonl", "-s", "b.yaml"], None, "--settings b.yaml: there is no"),
        (["stream", "--settings", "."], None, "--settings .: is a folder"),
        (["check", "gone.yaml"], None, "SETTINGS gone.yaml: there is no such file"),
    ],
)
def test_a_missing_settings_file_says_what_named_it(
    arguments: list[str], settings: str | None, said: str, tmp_path: Path
) -> None:
    done = chorus(*arguments, cwd=tmp_path, settings=settings)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


@pytest.mark.parametrize("fault", [None, "models: {}"])
def test_models_named_by_file_do_not_need_the_settings(
    fault: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, settings = tmp_path / "a.nemo", tmp_path / "settings.yaml"
    model.touch()
    if fault is not None:
        settings.write_text(fault)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHORUS_SETTINGS", str(settings))
        assert settings_of(settings, [str(model), f"name={tmp_path}"]) is None
        assert f"going on without settings, which no model here needs: {settings}" in (
            capsys.readouterr().err
        )
        with pytest.raises((SettingsError, SystemExit)):
            settings_of(settings, [str(model), "general"])


DEMO_MODEL = ROOT / "deploy/demo/models/general.nemo"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a note, and no model", "cannot be read as a .nemo archive"),
        (b"", "cannot be read as a .nemo archive"),
        (DEMO_MODEL.read_bytes()[:-200_000], "cannot be read as a .nemo archive: unexpected end"),
        (DEMO_MODEL.read_bytes()[:300], "cannot be read as a .nemo archive"),
    ],
    ids=["text", "empty", "cut short", "cut in the first file"],
)
def test_a_file_that_is_no_model_is_named(
    settings_file: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "junk.nemo").write_bytes(content)
    text = settings_file.read_text().replace(
        "engine: 'tests.standin:StandInEngine'", "path: junk.nemo"
    )
    settings_file.write_text(text)
    done = chorus("check", settings_file)
    assert done.returncode == 2
    assert "chorus.yaml:1: models.general.path: " in done.stderr
    assert message in done.stderr


def test_a_folder_without_what_its_engine_needs_is_named(
    settings_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/config.json").write_text('{"model_type": "whisper"}')
    for engine, message in (
        ("transformers", "has no tokenizer"),
        (
            "faster-whisper",
            "model.bin, tokenizer.json, vocabulary.json or vocabulary.txt is missing",
        ),
    ):
        settings_file.write_text(
            f"models: {{general: {{engine: {engine}, path: folder}}}}\n"
            "routing: {default: general}\naudio: {roots: ['.']}\n"
        )
        done = chorus("check", settings_file)
        assert done.returncode == 2
        assert "models.general.path: " in done.stderr
        assert message in done.stderr


def test_an_engine_of_ones_own_is_imported_from_the_folder_of_the_command(
    settings_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "class Echo:\n    def transcribe(self, clips, requests): return []\n"
    )
    settings_file.write_text(settings_file.read_text().replace("tests.standin:StandIn", "mine:"))
    done = process("check", settings_file, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{settings_file}:1: models.general.engine: " in done.stderr
    assert "mine has no class `Engine`; there are: Echo" in done.stderr
    settings_file.write_text(settings_file.read_text().replace("mine:Engine", "mine:Echo"))
    assert process("check", settings_file, cwd=tmp_path).returncode == 0


def test_a_pretrained_name_that_cannot_be_is_a_fault(settings_file: Path) -> None:
    text = settings_file.read_text().replace("engine: 'tests.standin:StandInEngine'", "PRE")
    settings_file.write_text(text.replace("PRE", "pretrained: 'nvidia/a b'"))
    done = chorus("check", settings_file)
    assert done.returncode == 2
    assert ":1: models.general.pretrained: 'nvidia/a b' cannot be" in done.stderr


def test_a_model_file_that_is_another_one_is_a_fault(settings_file: Path) -> None:
    model, digest = settings_file.with_name("m.bin"), hashlib.sha256(b"the model").hexdigest()
    text = settings_file.read_text().replace("Engine'", f"Engine', path: m.bin, sha256: {digest}")
    settings_file.write_text(text)
    model.write_bytes(b"the model")
    assert chorus("check", settings_file).returncode == 0
    model.write_bytes(b"another one")
    other = hashlib.sha256(b"another one").hexdigest()
    done = chorus("check", settings_file)
    assert done.returncode == exit_codes.SETTINGS
    assert f":1: models.general.sha256: the file at `path` has the SHA-256 {other}" in done.stderr


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("{}", ""),
        ("{session_timeout_s: 6}", ""),
        ("{session_timeout_s: 5}", "stream.session_timeout_s: brokers allow 6 to 1800 s, unless"),
        ("{session_timeout_s: 1801}", "session_timeout_s: brokers allow 6 to 1800 s, unless"),
        ("{transaction_timeout_s: 901}", "transaction_timeout_s: brokers allow at most 900 s"),
        ("{transaction_timeout_s: 901, guarantee: at_least_once}", ""),
    ],
)
def test_what_brokers_refuse_unless_told_otherwise_is_warned_of(
    settings_file: Path, stream: str, said: str
) -> None:
    settings_file.write_text(f"{settings_file.read_text()}stream: {stream}\n")
    done = chorus("check", settings_file)
    assert done.returncode == 0
    assert said in done.stderr
    assert bool(said) == (f"warning: {settings_file}:4: stream." in done.stderr)


def test_the_version() -> None:
    assert re.fullmatch(r"chorus \d+\.\d+\.\d+\S*\n", process("--version").stdout)


@pytest.mark.parametrize(
    ("kafka", "said"),
    [
        (
            "client: {linger_mss: 5}",
            "kafka.client.linger_mss: kafka-python has no such option; did",
        ),
        ("client: {linger_mss: 5}", "did you mean `linger_ms`?"),
        ("client: {acks: 0}", "kafka.client.acks: is set by Chorus"),
        ("client: {linger_ms: soon}", "kafka.client.linger_ms: is to be a whole number"),
        ("client: {linger_ms: true}", "kafka.client.linger_ms: is to be a whole number"),
        ("client: {check_crcs: 1}", "kafka.client.check_crcs: is to be true or false"),
        ("client: {security_protocol: SSLL}", "is one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("client: {security_protocol: SASL_SSL}", "`sasl_mechanism` says which one"),
        ("client: {sasl_mechanism: NOPE}", "kafka-python has no such mechanism"),
        ("client: {ssl_cafile: nowhere.pem}", "kafka.client.ssl_cafile: there is no such file"),
        ("client: {compression_type: zip}", "is one of gzip, snappy, lz4, zstd"),
        ("bootstrap_servers: ['kafka:port']", "kafka.bootstrap_servers: 'kafka:port' is not"),
        ("bootstrap_servers: ['kafka']", "kafka.bootstrap_servers: 'kafka' is not `host:port`"),
        ("bootstrap_servers: ['http://kafka:9092']", "is not `host:port`"),
        ("topics: {metrics: asr.transcripts}", "kafka.topics: `asr.transcripts` is given twice"),
    ],
)
def test_what_kafka_would_stumble_over_is_named(tmp_path: Path, kafka: str, said: str) -> None:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
        f"kafka: {{{kafka}}}\n"
    )
    done = chorus("check", path)
    assert done.returncode == exit_codes.SETTINGS
    assert said in done.stderr


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "{ward: {env: NO_SUCH_KEY}}",
            ":4: http.keys.ward.env: the environment variable NO_SUCH_KEY is not set",
        ),
        (
            f"{{ward: {{sha256: {'ab' * 32}}}, other: {{sha256: {'ab' * 32}}}}}",
            ":4: http.keys.other: has the same key as `ward`",
        ),
    ],
)
def test_a_key_that_is_absent_or_there_twice_is_named(
    settings_file: Path, keys: str, said: str
) -> None:
    settings_file.write_text(f"{settings_file.read_text()}http: {{keys: {keys}}}\n")
    done = chorus("check", settings_file)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("http", "warned"),
    [
        ("{}", False),
        ("{host: 127.0.0.2}", False),
        ("{host: Localhost}", False),
        ("{host: '::1'}", False),
        ("{host: 0.0.0.0}", True),
        ("{host: '::'}", True),
        ("{host: asr.example}", True),
        (f"{{host: 0.0.0.0, keys: {{ward: {{sha256: {'ab' * 32}}}}}}}", False),
    ],
)
def test_an_open_door_is_warned_of(settings_file: Path, http: str, warned: bool) -> None:
    settings_file.write_text(f"{settings_file.read_text()}http: {http}\n")
    done = chorus("check", settings_file)
    assert done.returncode == 0
    said = done.stderr
    assert ("without `http.keys`: anybody" in said and "`chorus key`" in said) == warned
    assert said == "" or f"{settings_file}:4: http.host: `chorus serve` will refuse this" in said


@pytest.mark.parametrize("servers", ["'[::1]:9092'", "kafka-1.example:9092, 10.0.0.1:65535"])
def test_addresses_of_brokers(settings_file: Path, servers: str) -> None:
    given = f"kafka: {{bootstrap_servers: [{servers}]}}\n"
    settings_file.write_text(settings_file.read_text() + given)
    assert load_settings(settings_file).kafka.bootstrap_servers


@pytest.mark.parametrize("name", ["chorus.yaml", "plans.yaml"])
def test_the_demo_settings_are_right(name: str) -> None:
    assert chorus("check", f"deploy/demo/{name}", cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_explain_shows_what_the_rules_make_of_records() -> None:
    arguments = ["deploy/demo/speech/calls.jsonl", "-s", "deploy/demo/plans.yaml"]
    told = chorus("explain", *arguments, cwd=ROOT)
    assert told.returncode == 0
    assert "telephony-first, by rule telephone" in told.stdout
    held = re.compile(r"  holds  telephone +audio\.bandwidth_hz below 4000 +\d+")
    assert len(held.findall(told.stdout)) == 40
    *_, last = told.stdout.splitlines()
    assert last.split()[:3] == ["telephone", "telephony-first", "40"]
    assert last.rstrip().endswith("telephony, then vote")
    lines = chorus("explain", *arguments, "--json", cwd=ROOT).stdout.splitlines()
    assert len(lines) == 40
    assert {json.loads(line)["rule"] for line in lines} == {"telephone"}


def test_schema_of_one_contract() -> None:
    schema = json.loads(chorus("schema", "manifest").stdout)
    jsonschema.validate({"audio_filepath": "a.wav"}, schema)


def test_an_unknown_contract_names_the_known_ones() -> None:
    done = chorus("schema", "manifst")
    assert done.returncode == 2
    assert "manifest" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "serve", "stream", "produce", "tail", "transcribe", "init", "check", "schema", "broker",
        "topics", "dead-letters list", "dead-letters show", "dead-letters replay",
    ],
)  # fmt: skip
def test_every_command_has_help(command: str) -> None:
    done = chorus(*command.split(), "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout
