"""Whether an engine is what the protocol `serve_app.engines.base.Engine` says, told in words."""
