"""The demo: its speech, its models and what makes them."""
