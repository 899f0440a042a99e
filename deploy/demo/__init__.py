"""The demo: its speech, its models and what makes them."""

from pathlib import Path

#: The shipped models, with a card each.
MODELS = Path(__file__).parent / "models"
#: The shipped speech: a manifest for each test set.
SPEECH = Path(__file__).parent / "speech"
#: Settings with plans, and what the models' confidences are worth.
PLANS = Path(__file__).parent / "plans.yaml"
CALIBRATION = Path(__file__).parent / "calibration.json"
#: Where the corpus, trainings and other large things are made unless a command is told otherwise.
CACHE = Path("~/.cache/chorus-asr").expanduser()
