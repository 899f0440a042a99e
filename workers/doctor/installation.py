"""Examine the whole installation. Starts nothing, and takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.settings import Settings
from workers.doctor.finding import Finding, warning
from workers.doctor.guarded import guarded


def examine_installation(settings: Settings | None) -> Iterator[Finding]:
    """Examine this machine, and what the settings want of it; yields findings as they are made.

    Args:
        settings: None examines what does not depend on them.
    """
    yield from guarded("libraries", _libraries)
    yield from guarded("decoders", _audio)
    yield from guarded("Ray's token", _access)
    yield from guarded("disk", lambda: _disks(settings))
    if settings is None:
        yield warning(
            "settings",
            "none were given: memory, GPU shares, ports, Kafka and registry were not examined",
            next="name a file with --settings, or write one with `chorus init`",
        )
        return
    yield from guarded("settings", lambda: _named(settings))
    yield from guarded("Ray cluster", lambda: _capacity(settings))
    yield from guarded("Kafka", lambda: _kafka(settings))
    yield from guarded("registry", lambda: _registry(settings))


# Each imports what it needs: another examination goes on where a package is missing.


def _libraries() -> Iterator[Finding]:
    from workers.doctor.libraries import examine_installed

    yield from examine_installed()


def _audio() -> Iterator[Finding]:
    from workers.doctor.decoders import examine_audio

    yield from examine_audio()


def _access() -> Iterator[Finding]:
    from workers.doctor.ray_access import examine_access

    yield from examine_access()


def _disks(settings: Settings | None) -> Iterator[Finding]:
    from workers.doctor.disk import examine_disks
    from workers.doctor.sizes import model_sizes

    yield from examine_disks(settings, model_sizes(settings) if settings else {})


def _named(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.named import examine_engines, examine_secrets

    yield from examine_engines(settings)
    yield from examine_secrets(settings)


def _capacity(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.named import cluster_of, examine_cluster

    if (address := cluster_of(settings)) is not None:
        yield examine_cluster(address)
        return
    yield from guarded("memory", lambda: _machine(settings))
    yield from guarded("GPU", lambda: _gpus(settings))
    yield from guarded("HTTP port", lambda: _port(settings))


def _machine(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.machine import examine_machine
    from workers.doctor.sizes import model_sizes

    yield from examine_machine(settings, model_sizes(settings))


def _gpus(settings: Settings) -> Iterator[Finding]:
    import torch

    from workers.doctor.gpu import examine_gpus, gpu_devices

    yield examine_gpus(settings.models, torch.cuda.device_count(), gpu_devices())


def _port(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.ports import examine_port

    if settings.http is not None:
        yield examine_port(settings.http)


def _kafka(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.topics import examine_kafka

    yield from examine_kafka(settings.kafka)


def _registry(settings: Settings) -> Iterator[Finding]:
    from workers.doctor.registry import examine_registry

    yield from examine_registry(settings)
