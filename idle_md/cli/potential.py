"""`idle-md potential`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.options import Jobs, Scheduler


def potential(
    molecules: Annotated[
        list[str] | None,
        typer.Argument(help="SMILES, 'SMILES name', files of those, or structure files."),
    ] = None,
    level: Annotated[
        str | None, typer.Option(help="Level of theory of the potential, such as wb97x/6-31g*.")
    ] = None,
    labels: Annotated[
        int, typer.Option(min=6, help="Expensive labels; a tenth is held out for the error.")
    ] = 40,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/potential"),
    more: Annotated[
        int | None, typer.Option(min=1, help="Add so many labels to a finished campaign.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a campaign that was stopped.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    low: Annotated[str, typer.Option(help="Cheap level, for all geometries.")] = "gfn2",
    base: Annotated[
        Path | None,
        typer.Option(help="Model of the cheap level; default: idle-s where it knows the elements."),
    ] = None,
    new_base: Annotated[
        bool, typer.Option("--new-base", help="Train a model of the cheap level all the same.")
    ] = False,
    frames: Annotated[int, typer.Option(min=20, help="Geometries of each molecule.")] = 1000,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Of training; default: a number of steps.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
) -> None:
    """Make a potential of a level of theory for your molecules, from nothing but their names."""
    from idle_md.campaign import Campaign, check_free, measured, open_campaign
    from idle_md.campaign.settings import CampaignSettings
    from idle_md.configuration import parse_section
    from idle_md.terminal import make_console

    console = make_console(highlight=False)
    given = None
    if molecules:
        if level is None:
            raise typer.BadParameter("say which level of theory", param_hint="--level")
        check_free(out)
        wanted = {
            "molecules": molecules,
            "level": level,
            "low": low,
            "labels": [labels],
            "base": base,
            "new_base": new_base,
            "sample": {"frames": frames},
            "minutes": minutes,
            "seed": seed,
        }
        given = parse_section(wanted, CampaignSettings, "options")
        plan = measured(given, given.read_molecules())
        given = plan.settings
        for line in plan.lines():
            console.print(line)
        if console.is_terminal and not yes and not typer.confirm("Begin?", default=True):
            raise typer.Exit
    settings, folder = open_campaign(out, given, resume, more)
    results = Campaign(settings, folder, console, jobs, scheduler).run()
    console.print(f"{sum(settings.labels)} labels in {len(results)} rounds: {folder.report}")
    console.print(f"  idle-md md {folder.model} START --steps 100000 --trajectory run.dcd")
    console.print(f"  idle-md potential --out {out} --more {settings.labels[0]}")
