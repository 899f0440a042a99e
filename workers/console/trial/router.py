"""The Router that tries go to."""

from __future__ import annotations

from schemas.settings import Settings, settings_digest
from serve_app.router.protocol import Backend


def connect_router(settings: Settings) -> Backend:
    """Connect this process to the application with these settings. Blocks; imports Ray.

    It is the one at `serve.address`, or a `chorus serve` on this machine.

    Raises:
        ConnectionError: there is none, or it has other settings.
    """
    from serve_app.cluster import ray_cluster
    from serve_app.cluster.announcements import OtherSettingsError, find
    from serve_app.router.client import RouterClient

    app, digest = settings.serve.app, settings_digest(settings)
    try:
        address = settings.serve.address or find(app, digest)
    except OtherSettingsError as error:
        raise ConnectionError(str(error)) from None
    ray_cluster.connect(address)
    return RouterClient(app, settings.stream.call_timeout_s, digest)
