"""`idle-md train`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.verb import next_steps


def train(
    config: Annotated[Path, typer.Argument(help="YAML configuration.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change: key.sub=value ...")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped run exactly where it was saved.")
    ] = False,
) -> None:
    """Train a potential or a committee; `out` ends with a checkpoint and its errors.

    README and docs/methods.md say what goes into a configuration.

    Examples
    --------
    idle-md train examples/idle.yaml
    idle-md train examples/idle.yaml out=runs/mine data.store=mine.h5 target=dft
    idle-md train examples/idle.yaml --resume
    """
    from idle_md.run_folder import RunFolder
    from idle_md.terminal import make_console
    from idle_md.train import diagnose, load_config, processes, train_ensemble
    from idle_md.train import train as run

    settings = load_config(config, overrides or [])
    processes.join()
    console = make_console(quiet=processes.rank() > 0)
    if settings.ensemble > 1:
        out = model = train_ensemble(settings, settings.ensemble, resume, console)
    else:
        out = run(settings, resume=resume, console=console)
        model = RunFolder(out).best_checkpoint
    if settings.diagnose:
        diagnose(settings, settings.diagnose, resume, console)
    console.print(f"Errors on test data are in {RunFolder(out).metrics_file}")
    next_steps(console, ("report", out), ("export", model))
