"""Backbones by name: this project's, and those that installed packages bring.

A package brings one by an entry point whose value is the class, in its ``pyproject.toml``::

    [project.entry-points."idle_md.backbones"]
    mine = "my_package.network:Mine"

The name is that of the class' section of the configuration, and the package is imported when
the name is asked for.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from idle_md.configuration import unknown
from idle_md.nn.backbone import Backbone, BackboneSection
from idle_md.nn.gmnn.network import GMNN
from idle_md.nn.hipnn.network import HIPNN
from idle_md.nn.painn.network import PaiNN

ENTRY_POINTS = "idle_md.backbones"
BACKBONES: dict[str, type[Backbone]] = {"painn": PaiNN, "hipnn": HIPNN, "gmnn": GMNN}
"""Those of this project."""


def backbone_names() -> list[str]:
    """Return the names of all backbones, this project's first."""
    return list(dict.fromkeys([*BACKBONES, *entry_points(group=ENTRY_POINTS).names]))


def backbone_class(name: str) -> type[Backbone]:
    """Return a backbone by its name.

    Raises
    ------
    ValueError
        If there is none of that name (names the nearest and lists all), or a package gives
        something else than a backbone of that name.
    ImportError
        If the package that brings it cannot be imported.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return _checked(entry.load(), name, entry.value)
    raise ValueError(
        unknown("backbone", str(name), backbone_names())
        + "; others come with packages that have to be installed"
    )


def _checked(found: Any, name: str, where: str) -> type[Backbone]:
    """Return what an entry point gave, if it is a backbone of that name."""
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise ValueError(f"backbone {name!r} is to be {where}, which is no idle_md.nn.Backbone")
    own = found.Config.model_fields["name"].default
    if own != name:
        raise ValueError(
            f"backbone {name!r} is to be {where}, but its section of the configuration calls it "
            f"{own!r}: the entry point must have the same name"
        )
    return found


def make_backbone(elements: list[int], config: BackboneSection) -> Backbone:
    """Return an untrained backbone of a section of the configuration.

    Parameters
    ----------
    elements
        Atomic numbers that it is to know.
    config
        Its name and sizes.
    """
    return cast(Any, backbone_class(config.name))(elements, config)  # type: ignore[no-any-return]


def backbone_of(hyperparameters: Mapping[str, Any]) -> Backbone:
    """Return an untrained backbone of what :attr:`Backbone.hyperparameters` gave.

    Raises
    ------
    ValueError
        If there is none of that name, or its sizes are not those that it has.
    """
    sizes = dict(hyperparameters)
    elements = sizes.pop("elements")
    kind = backbone_class(sizes["name"])
    return make_backbone(elements, kind.Config.model_validate(sizes))
