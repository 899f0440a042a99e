"""`chorus rollout replay`: would a candidate be promoted or rolled back, on recorded speech?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, OptionalSettings, print_json
from workers.cli.evaluation import (
    DEFAULT_NORMALISER,
    SYSTEM_HELP,
    NormaliserOption,
    SkipOption,
    WorkOption,
    errors_for_people,
    interruption,
    normaliser_named,
    progress_bars,
    read_sets,
    settings_of,
)

if TYPE_CHECKING:
    from schemas.settings import RolloutSettings
    from workers.evaluation.rollout.replay import Replay


def replay(
    incumbent: Annotated[str, typer.Argument(metavar="INCUMBENT", help=SYSTEM_HELP)],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help=SYSTEM_HELP)],
    manifest: Annotated[
        list[str],
        typer.Option(
            "--manifest",
            "-m",
            help="Speech with references: a manifest, NAME=PATH, or - for standard input; "
            "repeatable.",
        ),
    ],
    settings_file: OptionalSettings = None,
    block_by: Annotated[
        str,
        typer.Option(help="What errors are counted over: `speaker`, `recording` or `record`."),
    ] = "recording",
    seed: Annotated[int, typer.Option(help="Seed of the order of the blocks.")] = 0,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    normaliser: NormaliserOption = DEFAULT_NORMALISER,
    as_json: JsonOption = False,
) -> None:
    """Say what a rollout on recorded speech would have come to, and after how much of it.

    Blocks of speech are compared one after the other, as in a stream, until the rules of the
    settings (`rollout`) have a verdict. The last line is one JSON object. Exits with 7 unless the
    candidate would be promoted.
    """
    settings = settings_of(settings_file, [incumbent, candidate])
    with errors_for_people(interruption(work)):
        from schemas.settings import RolloutSettings
        from workers.evaluation.rollout.replay import paired_blocks
        from workers.evaluation.rollout.replay import replay as run
        from workers.evaluation.systems.naming import as_systems

        if block_by not in ("speaker", "recording", "record"):
            raise ValueError(f"--block-by {block_by}: give `speaker`, `recording` or `record`")
        systems = as_systems([incumbent, candidate], settings)
        rules = settings.rollout if settings is not None else RolloutSettings()
        with progress_bars() as bars:
            blocks = paired_blocks(
                systems,
                read_sets(manifest, skip_faults, settings),
                block_by=block_by,  # type: ignore[arg-type]
                seed=seed,
                folder=work,
                normaliser=normaliser_named(normaliser),
                report=bars,
            )
        found = run(blocks, rules)
    if not as_json:
        names = [each.name for each in systems]
        print(f"{names[0]}: WER {found.incumbent_wer}% on {found.words} words")
        print(f"{names[1]}: WER {found.candidate_wer}%")
        print(_sentence(found, names[1], rules))
    print_json(
        {
            "verdict": found.verdict.value,
            "blocks": found.blocks,
            "of": found.of,
            "words": found.words,
            "incumbent_wer": found.incumbent_wer,
            "candidate_wer": found.candidate_wer,
        }
    )
    if found.verdict.value != "promote":
        raise typer.Exit(exit_codes.NOT_PASSED)


def _sentence(found: Replay, candidate: str, rules: RolloutSettings) -> str:
    after = f"after {found.blocks} of {found.of} blocks"
    if found.verdict.value == "promote":
        how = "better" if rules.promote_when == "better" else "not worse"
        return f"promote: {candidate} is {how} ({after})"
    if found.verdict.value == "roll_back":
        return f"roll back: {candidate} is worse by more than {rules.max_worse:.0%} ({after})"
    if found.verdict.value == "inconclusive":
        return f"inconclusive: neither is shown {after}; decide by what else you know"
    if found.of < rules.min_blocks:
        return f"no verdict: {found.of} blocks are too few; at least {rules.min_blocks} are needed"
    return f"no verdict: {found.of} blocks do not show a difference; more speech is needed"
