"""The notes of replicas: each tells what it serves, and none outlives its replica."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest

from serve_app.model import reports
from serve_app.model.protocol import ModelInfo

INFO = ModelInfo(name="m", sha256="ab", device="cpu", sample_rate=16_000, version="1")


class _Cluster:
    """What Ray keeps for a cluster, without one: notes by their name, and who has ended."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.dead: set[str] = set()
        self.me = "actor 1"
        self.fails = False

    def put(self, group: str, name: str, text: str) -> None:
        if self.fails:
            raise RuntimeError("no head")
        self.notes[name] = text

    async def run(self, *infos: ModelInfo) -> None:
        """Let a replica report each of these after the other."""
        left = list(infos)

        async def describe() -> ModelInfo:
            if len(left) == 1:
                ending.set()
            return left.pop(0) if len(left) > 1 else left[0]

        ending = asyncio.Event()
        task = asyncio.create_task(reports.report("app", describe))
        await ending.wait()
        wanted, key = f'"version":"{infos[-1].version}"', f"{infos[-1].name} {self.me}"
        while not self.fails and wanted not in self.notes.get(key, ""):
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> _Cluster:
    made = _Cluster()
    monkeypatch.setattr(reports, "put_note", made.put)
    monkeypatch.setattr(reports, "delete_note", lambda group, name: made.notes.pop(name))
    monkeypatch.setattr(reports, "notes", lambda group: dict(made.notes))
    monkeypatch.setattr(reports, "ended", lambda names: made.dead & set(names))
    monkeypatch.setattr(reports, "own_name", lambda: made.me)
    monkeypatch.setattr(reports, "_LOOK_S", 0.01)
    return made


def served() -> dict[str, list[str]]:
    return {
        name: [each.version for each in infos] for name, infos in reports.reported("app").items()
    }


async def test_each_replica_tells_what_it_serves_now(cluster: _Cluster) -> None:
    await cluster.run(INFO)
    cluster.me = "actor 2"
    await cluster.run(INFO, INFO, msgspec.structs.replace(INFO, version="2"))
    cluster.me = "actor 3"
    await cluster.run(msgspec.structs.replace(INFO, name="other", version="7"))
    assert served() == {"m": ["1", "2"], "other": ["7"]}


async def test_the_dead_count_no_more_and_are_cleared_away(cluster: _Cluster) -> None:
    await cluster.run(INFO)
    cluster.dead = {"actor 1"}
    assert served() == {}
    assert len(cluster.notes) == 1  # who only looks changes nothing
    cluster.me = "actor 2"
    await cluster.run(msgspec.structs.replace(INFO, version="2"))
    assert list(cluster.notes) == ["m actor 2"]


async def test_a_note_that_is_not_renewed_counts_no_more(
    cluster: _Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.run(INFO)
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert served() == {}


async def test_a_cluster_that_takes_no_note_does_not_end_the_replica(cluster: _Cluster) -> None:
    cluster.fails = True
    await cluster.run(INFO, INFO, INFO)
    assert served() == {}
    cluster.fails = False
    await cluster.run(INFO)
    assert served() == {"m": ["1"]}
