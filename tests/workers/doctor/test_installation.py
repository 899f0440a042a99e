"""`chorus doctor` without a model: each examination, and the command."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from schemas.settings import HttpSettings, KafkaSettings, ModelSettings, Settings
from serve_app.registry.local_store import LocalStore
from tests.versioned import ENGINE, promote, register
from tests.workers.cli.shell import Shell
from workers.broker.cluster import Cluster
from workers.doctor.decoders import examine_audio, examine_decoders
from workers.doctor.disk import examine_ray_disk, examine_room, examine_shared_memory
from workers.doctor.finding import Finding
from workers.doctor.gpu import examine_gpus, unplaced
from workers.doctor.guarded import guarded
from workers.doctor.libraries import examine_libraries, examine_python
from workers.doctor.machine import examine_cores, examine_memory
from workers.doctor.named import cluster_of, examine_cluster, examine_engines, examine_secrets
from workers.doctor.ports import Holder, examine_port, taken
from workers.doctor.ray_access import examine_access
from workers.doctor.registry import examine_registry, examine_writing
from workers.doctor.sizes import model_sizes
from workers.doctor.topics import examine_kafka
from workers.kafka.topics import ensure_settings_topics

GIB = 1 << 30


def settings(**sections: object) -> Settings:
    return msgspec.convert(
        {
            "models": {"general": {"engine": ENGINE}},
            "routing": {"default": "general"},
            "audio": {"roots": ["/"]},
            **sections,
        },
        Settings,
    )


def states(found: Iterator[Finding] | list[Finding]) -> list[tuple[str, str]]:
    return [(each.name, each.state) for each in found]


def with_share(share: float, replicas: int = 1) -> dict[str, ModelSettings]:
    return {"m": ModelSettings(gpu_fraction=share, replicas=replicas)}


WANTED = [Requirement("torch>=2.13,<2.14"), Requirement("nemo_toolkit[asr]>=3.0")]


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (examine_python("3.11.7", ">=3.11,<3.12"), "ok", "3.11.7"),
        (examine_python("3.13.0", ">=3.11,<3.12"), "failure", "Chorus needs >=3.11,<3.12"),
        (examine_room("disk", Path("/x"), 5 * GIB, 1 * GIB), "ok", "5.0 GiB free in /x"),
        (examine_room("disk", Path("/x"), 1 * GIB, 1 * GIB), "warning", "little"),
        (examine_room("disk", Path("/x"), GIB // 2, 1 * GIB), "failure", "1.0 GiB are needed"),
        (examine_ray_disk(Path("/x"), 0.5), "ok", "50% of the disk"),
        (examine_ray_disk(Path("/x"), 0.96), "failure", "Ray puts no objects there"),
        (examine_shared_memory(GIB), "ok", "1.0 GiB free"),
        (examine_shared_memory(64 << 20), "warning", "64.0 MiB free"),
        (examine_memory(with_share(1, 2), {"m": GIB}, 8 * GIB), "ok", "about 5.2 GiB"),
        (examine_memory(with_share(1, 2), {"m": GIB}, 4 * GIB), "warning", "about 5.2 GiB"),
        (examine_memory(with_share(1), {"m": GIB}, GIB), "failure", "largest alone"),
        (examine_memory(with_share(1), {"m": None}, GIB), "ok", "whose size is not known"),
        (examine_cores(2.0, 2), "ok", "2 cores; the settings reserve 2"),
        (examine_cores(2.5, 2), "warning", "share cores"),
        (examine_gpus(with_share(0.5), 0, 0), "ok", "run on CPUs"),
        (examine_gpus(with_share(0.5, 2), 1, 1), "ok", "reserve 1.00"),
        (examine_gpus(with_share(0.5, 3), 1, 1), "failure", "1 of 3 replicas find no place"),
        (examine_gpus(with_share(2.0), 2, 2), "ok", "reserve 2.00"),
        (examine_gpus(with_share(1.5), 2, 2), "failure", "`gpu_fraction` of m is above 1"),
        (examine_gpus(with_share(0.5), 0, 2), "failure", "has 2 GPUs, and torch can use none"),
        (examine_decoders({"aac", "flac", "mp3", "opus", "vorbis"}), "ok", "opus"),
        (examine_decoders({"flac", "vorbis"}), "failure", "no decoder for aac, mp3, opus"),
        (taken("h:1", None), "failure", "another user"),
        (taken("h:1", Holder(7, "nginx", ours=False)), "failure", "process 7 (nginx)"),
        (taken("h:1", Holder(7, "ray::Proxy", ours=True)), "ok", "a running `chorus serve`"),
    ],
)
def test_what_was_measured_is_judged(found: Finding, state: str, said: str) -> None:
    assert found.state == state
    assert said in found.said
    assert bool(found.next) == (state != "ok")


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"torch": "2.13.0", "nemo-toolkit": "3.0.1"}, [("libraries", "ok")]),
        ({"torch": "2.12.0", "nemo-toolkit": "3.0.1"}, [("libraries", "failure")]),
        ({"torch": "2.13.0", "nemo-toolkit": None}, [("libraries", "warning")]),
        (
            {"torch": "2.14.0", "nemo-toolkit": None},
            [("libraries", "failure"), ("libraries", "warning")],
        ),
    ],
)
def test_libraries_of_other_versions_or_none(
    installed: dict[str, str | None], expected: list[tuple[str, str]]
) -> None:
    found = list(examine_libraries(WANTED, installed))
    assert states(found) == expected
    for each in found:
        named = {"failure": "torch", "warning": "nemo-toolkit", "ok": "2 in all"}[each.state]
        assert named in each.said


@pytest.mark.parametrize(
    ("shares", "gpus", "left"),
    [
        ([0.5, 0.5, 0.5, 0.5], 2, 0),
        ([0.6, 0.6, 0.4, 0.4], 2, 0),
        ([0.6, 0.6, 0.6], 2, 1),
        ([0.1] * 10, 1, 0),
        ([2.0, 1.0], 3, 0),
        ([2.0, 0.5], 2, 1),
        ([3.0], 2, 1),
    ],
)
def test_shares_are_placed_as_ray_does(shares: list[float], gpus: int, left: int) -> None:
    assert unplaced(shares, gpus) == left


def test_a_hidden_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert examine_gpus(with_share(0.5), 0, 1).cause == "CUDA_VISIBLE_DEVICES hides them"


def test_a_port_is_free_or_its_holder_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = examine_port(HttpSettings(port=port))
        assert found.state == "failure"
        assert "process " in found.said
    assert examine_port(HttpSettings(port=port)).state == "ok"
    assert examine_port(HttpSettings(host="192.0.2.1", port=port)).state == "failure"


def test_audio_is_read() -> None:
    assert states(examine_audio()) == [("audio", "ok"), ("decoders", "ok")]


def test_an_open_token_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert states(examine_access()) == [("Ray's token", "ok")]
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700)
    token.write_text("secret")
    token.chmod(0o644)
    (found,) = examine_access()
    assert found.state == "failure"
    assert "open to others (mode 0644)" in found.said
    assert "secret" not in found.said


def test_sizes_of_files_and_versions(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    promote(folder, "known", register(folder, "known", "four"))
    (tmp_path / "a.nemo").write_bytes(b"12345")
    found = model_sizes(
        settings(
            models={
                "general": {"path": str(tmp_path / "a.nemo")},
                "known": {"engine": ENGINE, "model": "known"},
                "unknown": {"engine": ENGINE, "model": "unknown"},
                "own": {"engine": ENGINE},
                "hub": {"pretrained": "a/b"},
            },
            registry={"url": str(folder)},
        )
    )
    assert found == {"general": 5, "known": 4, "unknown": None, "own": None, "hub": None}


def test_the_registry_is_read_resolved_and_written(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    models = {
        "general": {"engine": ENGINE, "model": "known@production"},
        "gone": {"engine": ENGINE, "model": "known@candidate"},
    }
    chosen = settings(models=models, registry={"url": str(folder)})
    assert states(examine_registry(chosen))[0] == ("registry", "warning")
    promote(folder, "known", register(folder, "known", "text"))
    before = sorted(folder.rglob("*"))
    found = list(examine_registry(chosen))
    assert states(found) == [
        ("registry", "ok"),
        ("registry, writing", "ok"),
        ("models.general.model", "ok"),
        ("models.gone.model", "failure"),
    ]
    assert "known@production is known:1" in found[2].said
    assert "candidate" in found[3].said
    assert sorted(folder.rglob("*")) == before  # nothing is left behind
    assert list(examine_registry(settings())) == []


class Overwriting(LocalStore):
    """Replaces a file that exists, as some imitations of S3 do."""

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        Path(self.url, key).write_bytes(content)


class Closed(LocalStore):
    """May not be written."""

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        raise PermissionError(13, "Permission denied", key)


@pytest.mark.parametrize(("kind", "state"), [(Overwriting, "failure"), (Closed, "warning")])
def test_a_store_that_overwrites_or_is_read_only(
    tmp_path: Path, kind: type[LocalStore], state: str
) -> None:
    assert examine_writing(kind(tmp_path)).state == state


def test_an_examination_that_breaks_is_a_finding_and_the_others_go_on() -> None:
    def fails(error: Exception) -> Callable[[], Iterator[Finding]]:
        def examine() -> Iterator[Finding]:
            raise error
            yield

        return examine

    (absent,) = guarded("GPU", fails(ModuleNotFoundError("no", name="torch.cuda")))
    assert (absent.state, absent.said) == ("warning", "not examined: torch is not installed")
    (broken,) = guarded("disk", fails(OSError(28, "No space left on device")))
    assert (broken.name, broken.state) == ("disk", "failure")
    assert "full" in broken.cause


def unreachable() -> KafkaSettings:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return KafkaSettings(
        bootstrap_servers=[f"127.0.0.1:{port}"], client={"bootstrap_timeout_ms": 300}
    )


def test_the_command_examines_everything_and_fails_with_1(tmp_path: Path) -> None:
    kafka = msgspec.to_builtins(unreachable())
    with socket.create_server(("127.0.0.1", 0)) as server:
        http = {"port": server.getsockname()[1]}
        shell = Shell(settings(kafka=kafka, http=http), tmp_path)
        lines = shell.output("doctor", "--json", code=1).splitlines()
    found = {each["name"]: each for each in map(json.loads, lines)}
    for name in ("Python", "libraries", "decoders", "temporary folder", "memory", "cores", "GPU"):
        assert name in found
    failed = {name for name, each in found.items() if each["state"] == "failure"}
    assert {"Kafka", "HTTP port"} <= failed
    assert all(found[name]["next"] for name in failed)
    assert "127.0.0.1" in found["Kafka"]["said"]


def test_engines_and_secrets_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHORUS_TEST_KEY", "CHORUS_TEST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    chosen = settings(
        models={"general": {"engine": ENGINE}, "own": {"engine": "no.such:Engine"}},
        http={"keys": {"web": {"env": "CHORUS_TEST_KEY"}}},
        kafka={"client": {"sasl_plain_password": {"env": "CHORUS_TEST_PASSWORD"}}},
    )
    assert states(examine_engines(chosen)) == [("models.own.engine", "failure")]
    assert states(examine_secrets(chosen)) == [
        ("http.keys.web.env", "failure"),
        ("kafka.client.sasl_plain_password", "failure"),
    ]
    assert states(examine_kafka(chosen.kafka)) == [("Kafka", "failure")]
    monkeypatch.setenv("CHORUS_TEST_KEY", "k" * 32)
    monkeypatch.setenv("CHORUS_TEST_PASSWORD", "p")
    assert list(examine_secrets(chosen)) == []
    assert states(examine_engines(settings())) == [("engines", "ok")]


def test_of_another_cluster_only_the_address_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster_of(settings()) is None
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert cluster_of(settings()) == "127.0.0.1:1"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert cluster_of(settings(serve={"address": address})) == address
        assert examine_cluster(address).state == "ok"
    assert examine_cluster(address).state == "failure"


def test_wrong_settings_end_with_2(tmp_path: Path) -> None:
    shell = Shell(settings(models={"other": {"engine": ENGINE}}), tmp_path)
    assert "general" in shell.run("doctor", code=2)


@pytest.mark.kafka
def test_topics_that_are_there_or_not(kafka: Cluster, unique: Callable[[str], str]) -> None:
    names = {name: unique(name) for name in ("manifests", "transcripts", "metrics", "dead_letters")}
    chosen = msgspec.convert(
        {"bootstrap_servers": [kafka.bootstrap], "topics": names}, KafkaSettings
    )
    found = list(examine_kafka(chosen))
    assert states(found) == [("Kafka", "ok"), ("topics", "failure")]
    assert found[1].next == "`chorus topics`"
    ensure_settings_topics(chosen, 3)
    found = list(examine_kafka(chosen))
    assert states(found) == [("Kafka", "ok"), ("topics", "ok")]
    assert f"{names['manifests']} (3)" in found[1].said
