"""What all verbs have in common, found by walking over them."""

import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from idle_md.cli import main as cli
from idle_md.cli.shared.verb import ExitCode
from idle_md.data import load

ROOT = Path(__file__).resolve().parents[2]
WITH_JSON = {
    "info", "data info", "evaluate", "check", "doctor", "bench openmm", "bench lammps", "freq",
}  # fmt: skip
MOST_AT_FIRST = 5  # options before the headings, --help among them


def walk(command: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    for name in command.list_commands(context):
        yield from walk(command.get_command(context, name), context, (*path, name))


GROUP: Any = typer.main.get_command(cli.app)
CONTEXT = typer.Context(GROUP, info_name="idle-md", **GROUP.context_settings)
VERBS = dict(walk(GROUP, CONTEXT))
every_verb = pytest.mark.parametrize("name", VERBS)


def parameters(name: str) -> list[Any]:
    return VERBS[name].get_params(typer.Context(VERBS[name], parent=CONTEXT, info_name=name))


def options(name: str) -> list[Any]:
    return [each for each in parameters(name) if each.param_type_name == "option"]


def check_parses(line: str) -> None:
    """Fail unless a command line is one that the command takes."""
    program, *words = shlex.split(line, comments=True)
    assert program == "idle-md"
    n = next(n for n in (2, 1) if " ".join(words[:n]) in VERBS)
    command = VERBS[" ".join(words[:n])]
    command.make_context(" ".join(words[:n]), words[n:], parent=CONTEXT)


def invoke(*arguments: object, **environment: str) -> Any:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.app, words, env={"COLUMNS": "200", **environment})


def test_all_verbs_are_found() -> None:
    assert len(VERBS) == 21
    assert {"md", "freq", "data import", "bench lammps", "build-plugins"} <= set(VERBS)


@every_verb
def test_few_options_come_first(name) -> None:
    first = [each.opts[-1] for each in options(name) if each.rich_help_panel is None]
    assert len(first) <= MOST_AT_FIRST, first


@every_verb
def test_every_option_is_described(name) -> None:
    assert [each.opts for each in parameters(name) if not each.help] == []


@every_verb
def test_help_ends_with_examples_that_can_be_run(name) -> None:
    result = invoke(*name.split(), "--help")
    assert result.exit_code == 0
    examples = re.findall(r"^ (idle-md .*?) *$", result.output.partition("Examples:")[2], re.M)
    assert examples
    for example in examples:
        assert example.startswith(f"idle-md {name}")
        check_parses(example)


@every_verb
def test_common_options(name) -> None:
    found = {flag for option in options(name) for flag in option.opts}
    assert {"--quiet", "-q", "--debug", "--help"} <= found
    assert ("--json" in found) == (name in WITH_JSON)
    assert all(option.is_flag for option in options(name) if "--json" in option.opts)


@every_verb
def test_verb_says_what_is_next(name) -> None:
    source = inspect.getsource(sys.modules[inspect.unwrap(VERBS[name].callback).__module__])
    assert re.search(r"\bnext_steps\(|_end\(", source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model_file):
    """A data set, a model and a start, with names that a shell has to quote."""
    folder = tmp_path_factory.mktemp("f\u00e4lder")
    store = load("chno-mini")
    store.select(np.flatnonzero(store.group == "methanol")[:20]).write(folder / "it's a [set].h5")
    (folder / "a [model].pt").write_bytes(model_file(fidelities=("low", "high")).read_bytes())
    ase.io.write(folder / "\u00e4thanol.xyz", ase.build.molecule("CH3CH2OH"))
    return folder


RUNS = {
    'data info "it\'s a [set].h5"': ["data.store=it's a [set].h5"],
    "data convert \"it's a [set].h5\" '[other] set.extxyz'": ["[other] set.extxyz"],
    "data join \"it's a [set].h5\" chno-mini -o 'both sets.h5'": ["both sets.h5"],
    "data import \"it's a [set].extxyz\" -o 'a.h5' --energy gfn2_energy=gfn2 --energy-unit eV": [
        "a.h5"
    ],
    "info 'a [model].pt'": ["a [model].pt"],
    "doctor": [],
    "freq idle-s \u00e4thanol.xyz": ["\u00e4thanol.xyz"],
    "md idle-s \u00e4thanol.xyz --steps 20 --trajectory 'a run.xyz'": ["a run.run.yaml"],
}


@pytest.mark.parametrize(("line", "named"), RUNS.items(), ids=[line[:12] for line in RUNS])
def test_the_next_command_can_be_run(line, named, folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    if "import" in line:
        invoke("data", "convert", "it's a [set].h5", "it's a [set].extxyz")
    result = invoke(*shlex.split(line))
    assert result.exit_code == 0, result.output
    command = result.output.splitlines()[-1].removeprefix("next: ")
    check_parses(command)
    assert set(named) <= set(shlex.split(command))
    assert all(Path(name.removeprefix("data.store=")).exists() for name in named)
    quiet = invoke(*shlex.split(line.replace("a run.xyz", "a quiet run.xyz")), "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


@pytest.mark.parametrize("name", ["info idle-s", "data info chno-mini", "doctor"])
def test_json_is_all_that_is_printed(name) -> None:
    for more in ((), ("--quiet",)):
        assert json.loads(invoke(*name.split(), "--json", *more).output)


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["idle-md", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_debug_shows_where_an_error_arose(monkeypatch, capsys) -> None:
    assert run_main(monkeypatch, "info", "absent.pt") == ExitCode.BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no model at absent.pt")
    assert run_main(monkeypatch, "info", "absent.pt", "--debug") == ExitCode.BAD_INPUT
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("Traceback")
    assert shown[-1] == line


def test_no_color_is_respected() -> None:
    colour = re.compile(r"\x1b\[(3\d|38;|4\d|9\d)")
    on_a_terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    for line in ("doctor", "freq --help"):
        assert colour.search(invoke(*line.split(), **on_a_terminal).output)
        assert not colour.search(invoke(*line.split(), **on_a_terminal, NO_COLOR="1").output)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("fr", "freq"),
        ("md idle-s a.xyz --ens", "--ensemble"),
        ("md idle-s a.xyz --ensemble n", "npt"),
        ("freq idle-", "idle-s-gfn2"),
        ("data inf", "info"),
        ("bench openmm m.pt --pl", "--platform"),
    ],
)
def test_shell_completion(typed, wanted) -> None:
    words = f"idle-md {typed}"
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = CliRunner().invoke(
        cli.app, prog_name="idle-md", env={**environment, "_IDLE_MD_COMPLETE": "complete_bash"}
    )
    assert wanted in result.output.splitlines()


def test_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "command.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)}
    assert documented == set(ExitCode)
    listed = re.search(r"`--json` prints JSON.*?: (.*?)\. Numbers", text)
    assert listed is not None
    assert set(re.findall("`(.*?)`", listed[1])) == WITH_JSON
