"""Training of the demo models: what each learns from (`recipes`), and the command."""
