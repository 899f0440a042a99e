"""A registry whose writers are killed: no version is half there, nothing that was said is lost.

Two writers register, promote, roll back and collect garbage in one registry at the same time. Each
is killed (SIGKILL) at a random moment, again and again, and replaced. After every kill a reader
looks at the whole registry, and at the end what the writers were told is compared with what it has.
The registry is in a folder, and then in an S3 server (moto, installed in an environment of its own
below the cache). The last line is JSON; the exit code is 1 if something was unreadable, half there,
named but not there, or lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from schemas.model_card import ModelCard
from serve_app.registry.collecting import collect
from serve_app.registry.errors import ConflictError, RegistryFaultError, UnknownModelError
from serve_app.registry.local_copy import version_faults
from serve_app.registry.registry import Registry
from serve_app.registry.store import exists, open_store
from tests.scenarios.s3_server import s3_server

MODEL = "medical"
ALIASES = ("production", "candidate")
WRITERS = 2
#: What nothing names is removed after so long: soon, so that promotions meet removals.
UNUSED = timedelta(seconds=0.3)
#: Seconds that a writer lives, at most.
LONGEST_S = 2.0


def write(url: str, log: Path, seed: int) -> None:
    """Work on the registry until killed; what has succeeded is appended to `log` at once."""
    rng = random.Random(seed)
    registry = Registry(open_store(url))
    operations: list[Callable[[], dict[str, Any] | None]] = [
        lambda: _register(registry, rng, log.parent),
        lambda: _promote(registry, rng),
        lambda: _promote(registry, rng),
        lambda: _rollback(registry, rng),
        lambda: _collect(registry),
    ]
    with log.open("ab", buffering=0) as file:
        while True:
            with contextlib.suppress(UnknownModelError, ConflictError, RegistryFaultError):
                done = rng.choice(operations)()
                if done is not None:
                    file.write(json.dumps(done).encode() + b"\n")


def _register(registry: Registry, rng: random.Random, folder: Path) -> dict[str, Any]:
    files = {}
    for name in ("model.nemo", "more/tokenizer.model"):
        file = folder / f"{os.getpid()}-{Path(name).name}"
        file.write_bytes(rng.randbytes(200_000))
        files[name] = file
    card = ModelCard(name="", version="", domain="d", made="2026-01-01T00:00:00+00:00")
    card = registry.register(MODEL, files, card)
    return {"registered": card.version, "sha256": card.sha256}


def _promote(registry: Registry, rng: random.Random) -> dict[str, Any] | None:
    versions = registry.versions(MODEL)
    if not versions:
        return None
    alias = rng.choice(ALIASES)
    moved = registry.promote(MODEL, rng.choice(versions), alias)
    return {"alias": alias, "number": moved.number, "version": moved.move.version}


def _rollback(registry: Registry, rng: random.Random) -> dict[str, Any]:
    alias = rng.choice(ALIASES)
    moved = registry.rollback(MODEL, alias)
    return {"alias": alias, "number": moved.number, "version": moved.move.version}


def _collect(registry: Registry) -> None:
    list(collect(registry, UNUSED))


class Found(msgspec.Struct):
    """What a reader met, counted over all its looks."""

    looks: int = 0
    unreadable: int = 0
    half_versions_seen: int = 0
    dangling_aliases: int = 0


def look(registry: Registry, found: Found) -> None:
    """Read the whole registry as `chorus models list` and a replica do."""
    found.looks += 1
    for version in registry.versions(MODEL):
        try:
            card = registry.card(MODEL, version)
        except UnknownModelError:  # removed meanwhile
            continue
        except RegistryFaultError:
            found.unreadable += 1
            continue
        if version_faults(registry.store, card) and version in registry.versions(MODEL):
            found.half_versions_seen += 1
    try:
        named = registry.aliases(MODEL)
    except (msgspec.DecodeError, FileNotFoundError):
        found.unreadable += 1
        return
    for alias, named_version in named.items():
        if not exists(registry.store, f"{MODEL}/{named_version}/model.json"):
            still = registry.aliases(MODEL).get(alias) == named_version
            found.dangling_aliases += still


def lost_updates(registry: Registry, logs: list[Path]) -> int:
    """What writers were told had been done, and the registry does not have."""
    said = [json.loads(line) for log in logs for line in log.read_bytes().splitlines()]
    histories = {
        alias: {each.number: each.move.version for each in registry.history(MODEL, alias)}
        for alias in ALIASES
    }
    lost = 0
    for each in said:
        if "alias" in each:
            lost += histories[each["alias"]].get(each["number"]) != each["version"]
            continue
        version = each["registered"]
        if exists(registry.store, f"{MODEL}/{version}/model.json"):
            lost += registry.card(MODEL, version).sha256 != each["sha256"]
        else:
            lost += not exists(registry.store, f"{MODEL}/{version}/removed.json")
    return lost


def run(url: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill writers on one registry, and count what went wrong."""
    rng = random.Random(seed)
    registry, found = Registry(open_store(url)), Found()
    logs, writers = [], {}
    started = 0

    def start() -> None:
        nonlocal started
        log = folder / f"{started}.log"
        logs.append(log)
        log.touch()
        command = [
            sys.executable,
            "-m",
            "tests.scenarios.registry_crash",
            "--write",
            url,
            str(log),
            str(started),
        ]
        writers[subprocess.Popen(command)] = time.monotonic() + rng.uniform(0.6, LONGEST_S)
        started += 1

    try:
        for _ in range(WRITERS):
            start()
        done = 0
        while done < kills:
            look(registry, found)
            for process, end in list(writers.items()):
                if time.monotonic() > end:
                    del writers[process]
                    _end(process)
                    done += 1
                    start()
    finally:
        for process in writers:
            _end(process)
    look(registry, found)
    list(collect(registry, UNUSED))
    look(registry, found)
    operations = sum(len(log.read_bytes().splitlines()) for log in logs)
    counts = msgspec.to_builtins(found)
    return {
        "kills": done,
        "operations": operations,
        **counts,
        "lost_updates": lost_updates(registry, logs),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() not in (None, -signal.SIGKILL):
        raise RuntimeError(f"a writer ended by itself, with {process.returncode}")
    process.kill()
    process.wait()


def main() -> int:
    """Run the scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50, help="per store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stores", nargs="+", default=["folder", "s3"])
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        url, log, seed = options.write
        write(url, Path(log), int(seed))
    total: dict[str, int] = {}
    for store in options.stores:
        with tempfile.TemporaryDirectory(prefix="chorus-registry-") as temporary:
            folder = Path(temporary)
            with contextlib.ExitStack() as stack:
                url = str(folder / "models")
                if store == "s3":
                    stack.enter_context(s3_server(folder, "registry"))
                    url = "s3://registry/models"
                counts = run(url, options.kills, options.seed, folder)
        print(f"{store}: {counts}", file=sys.stderr)
        total = {key: total.get(key, 0) + value for key, value in counts.items()}
    print(json.dumps(total))
    faults = ("unreadable", "half_versions_seen", "dangling_aliases", "lost_updates")
    return int(any(total[key] for key in faults))


if __name__ == "__main__":
    sys.exit(main())
