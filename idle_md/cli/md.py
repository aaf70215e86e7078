"""`idle-md md`; its options are the fields of :class:`~idle_md.engines.md_settings.MDSettings`."""

import inspect
import re
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from idle_md.cli.shared.options import Fidelity, shipped_names
from idle_md.cli.shared.verb import add_verb, next_steps
from idle_md.models import at_fidelity

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from idle_md.engines.results import MDResult
    from idle_md.engines.run_file import RunFile

UNIT = re.compile(r"_(K|bar|fs|per_ps)$")
"""What an option's name does without."""


def md() -> None:
    """Run molecular dynamics with an exported model.

    A run file (YAML) holds any of the settings below, with the units in their names
    (temperature_K), and model and structure. A run with a trajectory writes one beside it.

    Examples
    --------
    idle-md md idle-s molecule.xyz --steps 20000 --trajectory md.dcd
    idle-md md model.pt box.pdb --ensemble npt --temperature 300 --checkpoint md.chk
    idle-md md model.pt box.data --engine lammps --ranks 4
    idle-md md md.run.yaml --trajectory again.dcd
    """


class MDVerb(TyperCommand):
    """The verb with an option for every setting; they are made when needed, as pydantic is slow."""

    @cached_property
    def _full(self) -> Any:
        return typer.main.get_command(_application())

    def get_params(self, ctx: Any) -> list[Any]:
        """Return what the settings become."""
        found: list[Any] = self._full.get_params(ctx)
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run with what was given."""
        return self._full.invoke(ctx)


def _application() -> typer.Typer:
    """Return the command with one option for every setting."""
    from idle_md.engines.md_settings import MDSettings

    fields = {UNIT.sub("", name): name for name in MDSettings.model_fields}
    settings = MDSettings.model_fields
    options = [_option(option, name, settings[name]) for option, name in fields.items()]

    def run(
        context: typer.Context,
        model: Path,
        structure: Path | None,
        fidelity: str | None,
        **given: Any,
    ) -> None:
        chosen = {}
        for option, value in given.items():
            source = context.get_parameter_source(option)
            if source is not None and source.name == "COMMANDLINE":
                chosen[fields[option]] = value.value if isinstance(value, Enum) else value
        _run(at_fidelity(model, fidelity), structure, chosen)

    described = Annotated[
        Path,
        typer.Argument(
            help="Exported model, name of a shipped one, or a run file (.yaml).",
            autocompletion=shipped_names,
        ),
    ]
    start = Annotated[
        Path | None,
        typer.Argument(help="Start: .pdb, .xyz or what ASE reads; that of a run file by default."),
    ]
    parameters = [
        _parameter("context", typer.Context),
        _parameter("model", described),
        _parameter("structure", start, None),
        _parameter("fidelity", Fidelity, None),
        *options,
    ]
    vars(run)["__signature__"] = inspect.Signature(parameters)
    app = typer.Typer(add_completion=False)
    add_verb(app, run, "md")
    return app


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _option(option: str, name: str, setting: "FieldInfo") -> Any:
    """Return the parameter of the command that a setting becomes."""
    from idle_md.engines.md_settings import MDSettings

    kind = _kind(name, setting.annotation)
    default = setting.default or None if kind == list[str] else setting.default
    if isinstance(default, str) and isinstance(kind, type) and issubclass(kind, Enum):
        default = kind(default)
    described = typer.Option(help=setting.description, rich_help_panel=MDSettings.group(name).title)
    return _parameter(option, Annotated[kind, described], default)


def _kind(name: str, annotation: Any) -> Any:
    """Return what typer takes for the type of a setting; its value is checked by the setting."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(name, arguments[0])
    if origin is Literal:
        return Enum(name, {value: value for value in arguments}, type=str)
    if origin is list:
        return list[str]
    if origin in (Union, UnionType):
        [inner] = (each for each in arguments if each is not type(None))
        return _kind(name, inner) | None
    return annotation


def _run(model: Path, structure: Path | None, given: dict[str, Any]) -> None:
    from idle_md.engines.dynamics import run_md
    from idle_md.progress import LongTask
    from idle_md.terminal import make_console

    run = _read(model, structure, given)
    if run.model is None or run.structure is None:
        missing = "model" if run.model is None else "structure"
        raise ValueError(f"{model} names no {missing}: add the line `{missing}: FILE`")
    with LongTask(run.engine, make_console()) as shown:
        result = run_md(
            run.model,
            run.structure,
            run,
            progress=lambda done, speed: shown.update(done, run.steps, note=f"{speed:.2f} ns/day"),
        )
    _print(result, run)


def _read(model: Path, structure: Path | None, given: dict[str, Any]) -> "RunFile":
    from pydantic import ValidationError

    from idle_md.configuration import explain
    from idle_md.engines.run_file import RunFile, read_run_file

    if model.suffix.lower() in (".yaml", ".yml"):
        start = {} if structure is None else {"structure": structure}
        return read_run_file(model, given | start)
    if structure is None:
        raise typer.BadParameter("give a start after the model", param_hint="STRUCTURE")
    try:
        return RunFile.model_validate({"model": model, "structure": structure, **given})
    except ValidationError as error:
        raise ValueError(explain(error, RunFile)) from error


def _print(result: "MDResult", run: "RunFile") -> None:
    from idle_md.terminal import make_console

    console, settings = make_console(), result.settings
    speed = f"{result.ns_per_day:.2f} ns/day"
    console.print(f"{settings.steps:,} steps, {speed}, {result.ran_by}")
    if result.nve_drift_mev_per_atom_per_ps is not None:
        console.print(f"energy drift {result.nve_drift_mev_per_atom_per_ps:.4f} meV/atom/ps")
    if settings.trajectory is not None:
        console.print(f"trajectory: {settings.trajectory}")
    if settings.checkpoint is not None:
        console.print(f"restart file: {settings.checkpoint}")
    start = ("md", run.model, run.structure)
    if settings.checkpoint is not None:
        next_steps(console, (*start, "--restart", settings.checkpoint, "--steps", settings.steps))
    elif settings.trajectory is not None:
        again = settings.trajectory.with_suffix(".run.yaml")
        other = settings.trajectory.with_stem(f"{settings.trajectory.stem}.again")
        next_steps(console, ("md", again, "--seed", settings.seed + 1, "--trajectory", other))
    else:
        steps = 10 * settings.steps
        next_steps(console, (*start, "--steps", steps, "--trajectory", "md.dcd"))
