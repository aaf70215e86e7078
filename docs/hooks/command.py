"""The page of the command, from the parameters of its verbs."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from idle_md.cli.main import app
from idle_md.cli.md import _application

ADDRESS = "reference/command.md"
HEAD = """# The command

`idle-md VERB --help` says the same in a terminal. Bad input ends a verb with one sentence that
says what is wrong and what would be right.
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    text = "\n".join([HEAD, *(_section(words, verb) for words, verb in verbs())])
    files.append(File.generated(config, ADDRESS, content=text))
    return files


def verbs() -> Iterator[tuple[str, Any]]:
    """Yield every verb by its words, such as ``data convert``."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {sub}", verb) for sub, verb in command.commands.items())
        else:
            yield name, command


def parameters(words: str, verb: Any) -> list[Any]:
    """Return the parameters of a verb, without ``--help``; ``md`` makes its own when it runs."""
    return list(typer.main.get_command(_application()).params if words == "md" else verb.params)


def _section(words: str, verb: Any) -> str:
    all_of_it = parameters(words, verb)
    arguments = [each for each in all_of_it if each.param_type_name == "argument"]
    options = [each for each in all_of_it if each.param_type_name == "option"]
    usage = " ".join(["idle-md", words, *map(_placeholder, arguments), "[options]"])
    parts = [f"## {words}", verb.help, f"```text\n{usage}\n```"]
    if verb.epilog:
        examples = [line for line in verb.epilog.splitlines() if line.startswith("idle-md")]
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    parts.append(_table(arguments + [each for each in options if not _panel(each)]))
    grouped = groupby(sorted(filter(_panel, options), key=_panel), key=_panel)
    parts += [f"**{panel}**\n\n{_table(list(members))}" for panel, members in grouped]
    return "\n\n".join(filter(None, parts)) + "\n"


def _panel(option: Any) -> str:
    return getattr(option, "rich_help_panel", None) or ""


def _placeholder(argument: Any) -> str:
    name = argument.name.upper() + (" ..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _table(shown: list[Any]) -> str:
    rows = [f"| {_name(each)} | {_cell(each.help or '')} | {_default(each)} |" for each in shown]
    return "\n".join(["| | | default |", "| --- | --- | --- |", *rows]) if rows else ""


def _name(each: Any) -> str:
    if each.param_type_name == "argument":
        return f"`{each.name.upper()}`"
    return ", ".join(f"`{name}`" for name in [*each.opts, *each.secondary_opts])


def _default(each: Any) -> str:
    if each.required:
        return "required"
    value = getattr(each.default, "value", each.default)
    none = value is None or value is False or value in ([], ())
    return "" if none or callable(value) else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")
