"""Speech models of Hugging Face Transformers: Whisper, and CTC models."""
