"""The demo: its speech, its models and its settings."""

from pathlib import Path

#: Where the settings and all that they name are.
FOLDER = Path(__file__).resolve().parent
#: The shipped models, each with its model card.
MODELS = FOLDER / "models"
#: The shipped speech: a manifest for each test set.
SPEECH = FOLDER / "speech"
#: Settings with plans.
PLANS = FOLDER / "plans.yaml"
#: Calibration of the models' confidences.
CALIBRATION = FOLDER / "calibration.json"
