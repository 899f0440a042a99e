"""The faster-whisper engine: Whisper models in CTranslate2's format, many clips in a batch."""
