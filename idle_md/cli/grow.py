"""`idle-md grow`."""

from pathlib import Path
from typing import Annotated

import typer


def grow(config: Annotated[Path, typer.Argument(help="YAML configuration.")]) -> None:
    """Grow a data set where models know least: rounds of sample, label, select and train."""
    from idle_md.campaign import grow as run
    from idle_md.campaign import load_campaign
    from idle_md.terminal import make_console

    console = make_console()
    settings = load_campaign(config)
    done = run(settings, console)
    console.print(f"{len(done)} rounds; the model is in {settings.out / f'round-{len(done) - 1}'}")
