"""`idle-md grow`."""

from pathlib import Path
from typing import Annotated

import typer


def grow(config: Annotated[Path, typer.Argument(help="YAML configuration.")]) -> None:
    """Grow a data set where models disagree: rounds of sample, label, select and train."""
    from rich.console import Console

    from idle_md.campaign import grow as run
    from idle_md.campaign import load_campaign

    console = Console()
    settings = load_campaign(config)
    done = run(settings, console)
    console.print(f"{len(done)} rounds; the model is in {settings.out / f'round-{len(done) - 1}'}")
