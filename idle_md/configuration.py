"""What all configurations share: sections, numbers, files, and what is wrong in words."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from inspect import isabstract
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=Section)
Location = Sequence[int | str]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` with the valid name nearest to a wrong one, "" if none is near.

    Whether letters are capitals makes no difference to what is near.
    """
    spelt = {each.lower(): each for each in valid}
    close = get_close_matches(name.lower(), spelt, n=1)
    return f"did you mean {spelt[close[0]]!r}?" if close else ""


def unknown(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the message for a name that there is not: the nearest, and all that there are.

    >>> unknown("method", "transfre", ["idle", "transfer"])
    "unknown method 'transfre', did you mean 'transfer'? There are idle, transfer"
    """
    names = list(valid)
    hint = nearest(name, names)
    return f"unknown {what} {name!r}{', ' + hint if hint else '.'} There are {', '.join(names)}"


def load_section(path: str | Path, kind: type[Kind], what: str = "configuration") -> Kind:
    """Read a YAML or JSON file that holds one section, and check it.

    Parameters
    ----------
    path
        The file.
    kind
        The section that it must hold.
    what
        What such a file is called where there is none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no YAML or JSON, or a key or value is wrong; names the file, the key and, for a
        misspelt key, the nearest valid one.
    """
    return parse_section(read_settings(path, kind, what), kind, str(path))


def read_settings(
    path: str | Path, kind: type[Section], what: str = "configuration"
) -> dict[str, Any]:
    """Return the keys and values of a YAML or JSON file that :func:`parse_section` is to check.

    Parameters and errors are those of :func:`load_section`, but no key or value is looked at.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid YAML or JSON: {error}") from error
    if not isinstance(content, dict):
        fields = kind.model_fields
        keys = [key for key, field in fields.items() if field.is_required()] or list(fields)
        raise ValueError(f"{path} must be a mapping of keys such as {', '.join(keys[:3])}")
    return content


class _Loader(yaml.SafeLoader):
    """Plain numbers are those of YAML 1.2, and no plain text is a date; keys do not come twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in pairs if not re.search("int|float|time", tag)]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"the key {twice[0]!r} comes twice in the mapping of line {line}")
        return super().construct_mapping(node, deep)


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_REAL = r"(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF)"
_DIGITS = list("-+.0123456789")
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?[0-9]+$"), _DIGITS)
_Loader.add_implicit_resolver(_FLOAT, re.compile(rf"([-+]?({_REAL})|\.(nan|NaN|NAN))$"), _DIGITS)
_Loader.add_constructor(_INT, lambda _, node: int(node.value))


def parse_yaml(text: str) -> Any:
    """Values of a text in YAML, as YAML 1.2 has numbers; JSON is YAML.

    Raises
    ------
    ValueError
        It is no YAML, or a key comes twice.
    """
    try:
        return yaml.load(text, _Loader)  # a safe one
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def parse_section(content: Any, kind: type[Kind], source: str = "configuration") -> Kind:
    """Check a section that is given as plain values.

    Parameters
    ----------
    content
        The values by key.
    kind
        The section that they make.
    source
        Where they are from, with which errors begin.

    Raises
    ------
    ValueError
        If a key or value is wrong; see :func:`load_section`.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{source}: {explain(error, kind)}") from error


def explain(error: ValidationError, root: type[Section]) -> str:
    """Return one line that names every wrong key.

    Parameters
    ----------
    error
        What pydantic found.
    root
        The section that was validated.
    """
    return "; ".join(_line(dict(issue), root) for issue in error.errors())


def _line(issue: dict[str, Any], root: type[Section]) -> str:
    section, keys = _walk(issue["loc"], root)
    key = ".".join(keys)
    if issue["type"] != "extra_forbidden":
        return f"{key}: {issue['msg']}" if key else str(issue["msg"])
    hint = nearest(keys[-1], section.model_fields)
    return f"unknown key {key!r}; {hint or 'valid keys: ' + ', '.join(section.model_fields)}"


def _walk(location: Location, root: type[Section]) -> tuple[type[Section], list[str]]:
    """Return the innermost section of a location, and the keys on the way without union tags."""
    options, keys = [root], []
    for part in map(str, location):
        tagged = [o for o in options if _tag(o) == part]
        if tagged:
            options = tagged
            continue
        keys.append(part)
        if part in options[0].model_fields:
            options = _sections(options[0].model_fields[part].annotation) or options
    return options[0], keys


def _tag(section: type[Section]) -> Any:
    name = section.model_fields.get("name")
    return None if name is None else name.default


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        derived = [s for each in annotation.__subclasses__() for s in _sections(each)]
        return derived if isabstract(annotation) else [annotation, *derived]
    return [section for inner in get_args(annotation) for section in _sections(inner)]
