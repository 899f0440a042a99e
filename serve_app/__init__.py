"""What runs on Ray Serve: audio, selection, engines, and the deployments that wire them."""

from serve_app import ray_environment

ray_environment.apply()
