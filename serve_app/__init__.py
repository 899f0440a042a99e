"""What runs on Ray Serve: audio, selection, engines, and the deployments that wire them."""
