"""`idle-md potential`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.options import Jobs, Scheduler
from idle_md.cli.shared.verb import next_steps

GOING_ON = "Going on"
COURSE = "What is done"


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
        int | None,
        typer.Option(
            min=1, help="Add so many labels to a finished campaign.", rich_help_panel=GOING_ON
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a campaign that was stopped.", rich_help_panel=GOING_ON
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Begin without asking.", rich_help_panel=GOING_ON)
    ] = False,
    low: Annotated[
        str, typer.Option(help="Cheap level, for all geometries.", rich_help_panel=COURSE)
    ] = "gfn2",
    base: Annotated[
        Path | None,
        typer.Option(
            help="Model of the cheap level; default: idle-s where it knows the elements.",
            rich_help_panel=COURSE,
        ),
    ] = None,
    new_base: Annotated[
        bool,
        typer.Option(
            "--new-base",
            help="Train a model of the cheap level all the same.",
            rich_help_panel=COURSE,
        ),
    ] = False,
    frames: Annotated[
        int, typer.Option(min=20, help="Geometries of each molecule.", rich_help_panel=COURSE)
    ] = 1000,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Of training; default: a number of steps.", rich_help_panel=COURSE
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of everything that is drawn.", rich_help_panel=COURSE)
    ] = 0,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
) -> None:
    """Make a potential of a level of theory for your molecules, from nothing but their names.

    Examples
    --------
    idle-md potential 'CC(=O)NC' --level 'wb97x/6-31g*' --labels 40 --out runs/nma
    idle-md potential mine.xyz --level 'b3lyp/def2-svp' --out runs/mine --yes
    idle-md potential --out runs/nma --more 20
    """
    from idle_md.campaign import Campaign, check_free, measured, open_campaign
    from idle_md.campaign.settings import CampaignSettings
    from idle_md.configuration import parse_section
    from idle_md.terminal import make_console

    console = make_console()
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
        for line in plan.lines(jobs, scheduler):
            console.print(line)
        if console.is_terminal and not yes and not typer.confirm("Begin?", default=True):
            raise typer.Exit
    settings, folder = open_campaign(out, given, resume, more)
    results = Campaign(settings, folder, console, jobs, scheduler).run()
    console.print(f"{sum(settings.labels)} labels in {len(results)} rounds: {folder.report}")
    dynamics = ("md", folder.model, "START", "--steps", 100000, "--trajectory", "run.dcd")
    next_steps(console, dynamics, ("potential", "--out", out, "--more", settings.labels[0]))
