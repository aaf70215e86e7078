"""What the reference needs of docstrings that the parser of numpydoc does not give (for griffe)."""

import re
from typing import Any

from griffe import Class, DocstringSectionKind, Extension, Function, NameResolutionError, Object

ROLE = re.compile(r":[a-z]+:`~?(?P<name>[\w.]+)`")


class Docstrings(Extension):
    """Roles become links, and parameters that share a description keep types of their own."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Mend the docstring of an object once its members are known."""
        if obj.docstring is None:
            return
        obj.docstring.value = ROLE.sub(lambda role: _link(obj, role["name"]), obj.docstring.value)
        if isinstance(obj, Class | Function):
            _type_each(obj)


def _link(obj: Object, name: str) -> str:
    """Return a link to a name as the object knows it; plain where the site does not have it."""
    try:
        place = obj.resolve(name)
    except NameResolutionError:
        place = name
    return f'<autoref identifier="{place}" optional><code>{name}</code></autoref>'


def _type_each(obj: Class | Function) -> None:
    """Give parameters that are described together (``a, b``) the type and default of each."""
    for section in obj.docstring.parsed if obj.docstring else []:
        if section.kind is DocstringSectionKind.parameters:
            for described in section.value:
                if described.name in obj.parameters:
                    own = obj.parameters[described.name]
                    described.annotation = own.annotation
                    described.value = None if own.default is None else str(own.default)
