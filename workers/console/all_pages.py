"""The pages, in the order of the navigation."""

from __future__ import annotations

from workers.console.dead_letters import page as dead_letters
from workers.console.evaluation import page as evaluation
from workers.console.live import page as live
from workers.console.models import page as models
from workers.console.pages import Page
from workers.console.rollouts import page as rollouts
from workers.console.trial import page as trial
from workers.console.utterance import page as utterance

PAGES: tuple[Page, ...] = (
    live.PAGE,
    trial.PAGE,
    models.PAGE,
    rollouts.PAGE,
    dead_letters.PAGE,
    evaluation.PAGE,
    utterance.PAGE,
)
