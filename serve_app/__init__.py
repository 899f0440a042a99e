"""What runs on Ray Serve: audio, engines, models, routing, the Router, and the HTTP API."""
