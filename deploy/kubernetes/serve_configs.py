"""The Serve config of each overlay, as a patch of its RayService."""

from __future__ import annotations

from pathlib import Path

import yaml

from schemas.settings import load_settings
from workers.deploying.config import serve_config

FOLDER = Path(__file__).parent
#: Each has settings, `chorus.yaml`, and the patch that follows from them, `serve-config.yaml`.
OVERLAYS = sorted(path.parent for path in FOLDER.glob("overlays/*/chorus.yaml"))
#: Where the settings are in the pods.
SETTINGS = "/etc/chorus/chorus.yaml"

_HEAD = """\
# Made from chorus.yaml: `python -m deploy.kubernetes`, or `chorus deploy --dry-run --file {file}`.
apiVersion: ray.io/v1
kind: RayService
metadata: {{name: chorus}}
spec:
  serveConfigV2: |
"""


def serve_config_patch(overlay: Path) -> str:
    """The patch of an overlay.

    Args:
        overlay: its folder.
    """
    settings = load_settings(overlay / "chorus.yaml", files=False)
    # workers with a backend are pods of their own
    config = serve_config(settings, file=SETTINGS, worker=settings.stream.backend is None)
    lines = yaml.safe_dump(config, sort_keys=False, width=1000).splitlines()
    return _HEAD.format(file=SETTINGS) + "".join(f"    {line}\n" for line in lines)


def write_serve_config(overlay: Path) -> None:
    """Write the patch of an overlay beside its settings."""
    (overlay / "serve-config.yaml").write_text(serve_config_patch(overlay))
