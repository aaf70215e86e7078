"""The page of the configuration, from the sections that check it."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic.fields import FieldInfo

from idle_md.configuration import Section
from idle_md.engines.md_settings import MDSettings
from idle_md.nn import BACKBONES, BackboneSection
from idle_md.train.config import Method, TrainConfig
from idle_md.train.registry import OWN as METHODS
from idle_md.train.registry import method_named

ADDRESS = "reference/configuration.md"
HEAD = """# Configuration

A misspelt key is an error that names the nearest valid one. Numbers must suit what they are: a
share is between 0 and 1, a count at least 1.

## Training

`idle-md train FILE` reads these keys; `key.sub=value` after the file changes them.
[Examples](../../examples/methods) are explained in [Methods](../methods.md).
"""
DYNAMICS = """## Dynamics

Keys of a [run file](../../examples/md.yaml), and settings of `MDSettings` in Python; as options
they lose their unit (`--temperature`).
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    parts = [HEAD, *_tables(TrainConfig)]
    for name in METHODS:
        parts += [f"### `method: {name}`", *_tables(method_named(name), "method.")]
    for name, backbone in BACKBONES.items():
        parts += [f"### `backbone: {name}`", *_tables(backbone.Config, "backbone.")]
    parts += [DYNAMICS, *_tables(MDSettings)]
    files.append(File.generated(config, ADDRESS, content="\n\n".join(parts)))
    return files


def _tables(kind: type[Section], place: str = "") -> Iterator[str]:
    """Yield a table of a section's keys, and those of the sections within it."""
    rows = [_row(name, field) for name, field in kind.model_fields.items() if name != "name"]
    if rows:
        yield "\n".join(["| key | | default |", "| --- | --- | --- |", *rows])
    for name, field in kind.model_fields.items():
        for inner in _sections(field.annotation):
            yield f"### `{place}{name}`\n\n{_summary(inner)}"
            yield from _tables(inner, f"{place}{name}.")


def _sections(annotation: Any) -> list[type[Section]]:
    """Return the sections that a value can be, but not what has sections of its own by name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [] if annotation in (Method, BackboneSection) else [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]


def _summary(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().partition("\n\n")[0]


def _row(name: str, field: FieldInfo) -> str:
    meaning = " ".join(filter(None, [_kind(field.annotation), _cell(field.description or "")]))
    return f"| `{name}` | {meaning} | {_default(field)} |"


def _kind(annotation: Any) -> str:
    """Return the words that a value can be, if it can be no others."""
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return ", ".join(f"`{choice}`" for choice in choices) + ("." if choices else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default in (None, [], {}) or isinstance(field.default, Section):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")
