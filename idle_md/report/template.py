"""Pages that are made of the same parts."""

from importlib.resources import files
from typing import Any

import jinja2


def render(template: str, **content: Any) -> str:
    """Return a page's HTML.

    Parameters
    ----------
    template
        Path of a template inside the package, such as ``report/page.html``.
    content
        What the template names; plain text is escaped.
    """
    loader = jinja2.FunctionLoader(lambda name: files("idle_md").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)
