"""Real human speech: spoken digits, a speaker held out each time."""
