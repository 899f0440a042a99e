"""The Kubernetes manifests, overlay by overlay, against the schemas of those who take them.

The Serve configs are written anew from the settings first. Ends with code 1 if anything is refused.
"""

from __future__ import annotations

import json
import sys

import yaml

from deploy.kubernetes.serve_configs import OVERLAYS, write_serve_config
from tests.deploy.manifest_checks import faults, rendered, serve_faults


def main() -> int:
    """Check everything; print what is refused and, last, the figures as JSON."""
    objects = applications = 0
    found: list[str] = []
    for overlay in OVERLAYS:
        write_serve_config(overlay)
        for each in rendered(overlay):
            objects += 1
            found += [f"{overlay.name}: {fault}" for fault in faults(each)]
            if each["kind"] == "RayService":
                text = each["spec"]["serveConfigV2"]
                applications += len(yaml.safe_load(text)["applications"])
                found += [f"{overlay.name}: {fault}" for fault in serve_faults(text)]
    for line in found:
        print(line)
    figures = {
        "overlays": len(OVERLAYS),
        "objects": objects,
        "applications": applications,
        "faults": len(found),
    }
    print(json.dumps(figures))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
