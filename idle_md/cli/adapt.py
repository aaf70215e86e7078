"""`idle-md adapt`."""

from pathlib import Path
from typing import Annotated

import typer

from idle_md.cli.shared.verb import next_steps
from idle_md.run_folder import RunFolder

LABELS = "Labels"
TRAINING = "Training"


def adapt(
    checkpoint: Annotated[
        Path, typer.Argument(help=f"Trained model: a {RunFolder.BEST}, or idle-s.")
    ],
    store: Annotated[str, typer.Argument(help="Data set with labels of the new fidelity.")],
    fidelity: Annotated[str, typer.Option(help="New fidelity, as the data set names it.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    base: Annotated[
        str | None,
        typer.Option(
            help="Fidelity of the model to correct; default: its target.", rich_help_panel=LABELS
        ),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Labels to use; default: all that may be trained on.",
            rich_help_panel=LABELS,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="To train the student for; default: 4,000 steps.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of labels.", rich_help_panel=TRAINING)] = 0,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu or cuda; default: a GPU where torch sees one.", rich_help_panel=TRAINING
        ),
    ] = None,
) -> None:
    """Add a fidelity to a trained model: in closed form, learned by the whole network.

    Examples
    --------
    idle-md adapt idle-s mine.h5 --fidelity dft --out runs/dft
    idle-md adapt runs/low/best.ckpt mine.h5 --fidelity dft --out runs/dft --labels 100 --minutes 3
    """
    from idle_md.terminal import make_console
    from idle_md.train import adapt_config
    from idle_md.train import train as run

    console = make_console()
    student = None if minutes is None else {"budget": {"minutes": minutes}}
    config = adapt_config(checkpoint, store, fidelity, out, base, labels, seed, student)
    run(config.model_copy(update={"device": device}), console=console)
    console.print(f"Errors on test data are in {RunFolder(out).metrics_file}")
    next_steps(console, ("report", out), ("export", RunFolder(out).best_checkpoint))
