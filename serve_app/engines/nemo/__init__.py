"""The engine for NeMo models: read untrusted model files, load them, transcribe with them."""
