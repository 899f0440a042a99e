"""`make hostile-models`, with all kinds at the quick doors and a few at the slow ones."""

from __future__ import annotations

import pytest

from tests.commands import Commands
from tests.scenarios.hostile_archives import KINDS
from tests.scenarios.hostile_doors import DOORS, SLOW
from tests.scenarios.hostile_models import kinds_of, run_hostile_models

FEW = [
    "an argument of the preprocessor unpickles",
    "a gzip that is a tar too",
    "weights that run code",
]


@pytest.mark.nemo
@pytest.mark.slow
@pytest.mark.timeout(600)  # hundreds of files, on a machine that may be busy
@pytest.mark.parametrize(
    ("doors", "kinds"),
    [
        (sorted(set(DOORS) - SLOW - {"rollout"}), list(KINDS)),
        pytest.param(["rollout", *sorted(SLOW)], FEW, marks=pytest.mark.ray),
    ],
    ids=["quick", "slow"],
)
def test_every_hostile_file_is_refused_at_every_door(
    commands: Commands, doors: list[str], kinds: list[str]
) -> None:
    figures, _, faults = run_hostile_models(commands, dict.fromkeys(doors, kinds), say=print)
    assert faults == []
    tried = len(doors) * len(kinds)
    assert figures == {"doors": len(doors), "tried": tried, "refused": tried, "executed": 0}


def test_the_command_tries_enough_at_every_door() -> None:
    assert all(len(kinds_of(door)) >= 20 for door in DOORS)
