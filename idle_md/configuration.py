"""What all configurations share: sections, numbers, and what is wrong in words."""

import difflib
from collections.abc import Sequence
from inspect import isabstract
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Location = Sequence[int | str]


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
    near = difflib.get_close_matches(keys[-1], list(section.model_fields), n=1, cutoff=0.0)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"unknown key {key!r}{hint}"


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
        return annotation.__subclasses__() if isabstract(annotation) else [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]
