"""Write the Serve configs of the overlays anew: `python -m deploy.kubernetes`."""

from deploy.kubernetes.serve_configs import OVERLAYS, write_serve_config

for overlay in OVERLAYS:
    write_serve_config(overlay)
