"""Fine-tuning on human speech: spoken digits, with one speaker held out at a time."""
