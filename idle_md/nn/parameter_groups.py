"""Named groups of parameters, and what the optimiser makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from idle_md.configuration import nearest
from idle_md.nn.potential import Potential

SCALE_SHIFT = "scale_shift"
EMBEDDING = "embedding"
SMALLEST_WEIGHT = 1e-3  # that a change is relative to


def parameter_groups(potential: Potential) -> dict[str, list[nn.Parameter]]:
    """Return the parameters by named group.

    ``scale_shift`` holds the scales and constants of the heads, ``readout`` the rest of them,
    ``interaction_k`` the k-th member of the backbone's module lists, counted from 1; everything
    else goes by the name of its module, such as ``embedding``.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in potential.named_parameters():
        groups.setdefault(_group_of(name), []).append(parameter)
    return groups


def _group_of(name: str) -> str:
    owner, *path = name.split(".")
    if owner == "heads":
        is_shift = path[0] == "scale" or (path[0], path[-1]) == ("output", "bias")
        return SCALE_SHIFT if is_shift else "readout"
    numbers = [part for part in path if part.isdigit()]
    return f"interaction_{int(numbers[0]) + 1}" if numbers else path[0]


def free_parameters(potential: Potential) -> list[nn.Parameter]:
    """Return all parameters but scales and constants, group by group."""
    groups = parameter_groups(potential)
    return [p for name, members in groups.items() if name != SCALE_SHIFT for p in members]


def expected_changes(potential: Potential, table: Mapping[str, Sequence[float]]) -> Tensor:
    """Return standard deviations (P,) of the free parameters' changes between levels of theory.

    They are known up to a factor, float64, in the order of :func:`free_parameters`, by a table as
    of :meth:`~idle_md.nn.backbone.Backbone.expected_changes`.

    Raises
    ------
    ValueError
        If it says nothing of one of them, or has numbers for blocks that its rows do not fill.
    """
    names = {id(parameter): name for name, parameter in potential.named_parameters()}
    parts = []
    for parameter in free_parameters(potential):
        name = _name_in_table(names[id(parameter)])
        if name not in table or len(parameter) % len(table[name]):
            raise ValueError(
                f"expected_changes of {type(potential.backbone).__name__} must have a number for "
                f"{name}, or one for each of several equal blocks of its {len(parameter)} rows"
            )
        parts.append(_spread_over(parameter, table[name]))
    return torch.cat(parts)


def _name_in_table(name: str) -> str:
    owner, *path = name.split(".")
    return ".".join(path if owner == "backbone" else ["head", path[0], path[-1]])


def _spread_over(parameter: nn.Parameter, numbers: Sequence[float]) -> Tensor:
    """Return numbers times the size of the weights in as many blocks of rows, one per weight."""
    blocks = parameter.detach().double().reshape(len(numbers), -1)
    sizes = blocks.square().mean(1, keepdim=True).sqrt().clamp(min=SMALLEST_WEIGHT)
    factors = blocks.new_tensor(numbers)[:, None]
    return (factors * sizes).expand_as(blocks).flatten()


def known_group(groups: dict[str, list[nn.Parameter]], name: str) -> list[nn.Parameter]:
    """Return a group by name.

    Raises
    ------
    ValueError
        If there is none of that name; suggests the nearest and lists all.
    """
    if name not in groups:
        hint = nearest(name, groups)
        raise ValueError(
            f"unknown parameter group {name!r}: {hint and hint + ' '}There are " + ", ".join(groups)
        )
    return groups[name]


def optimizer_groups(
    potential: Potential, rates: Mapping[str, float], learning_rate: float, correction_decay: float
) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups: trained parameters by rate and weight decay.

    Parameters
    ----------
    potential
        The model; what does not require a gradient is left out.
    rates
        Factors on the learning rate by named group, 1 where not named.
    learning_rate
        The rate that they multiply.
    correction_decay
        Weight decay of correction heads; nothing else has any.
    """
    heads = potential.heads
    corrections = {id(p) for f in heads.correction_on for p in heads.output[f].parameters()}
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameters in parameter_groups(potential).items():
        for parameter in parameters:
            if parameter.requires_grad:
                decay = correction_decay if id(parameter) in corrections else 0.0
                found.setdefault((rates.get(name, 1.0), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate * learning_rate, "weight_decay": decay}
        for (rate, decay), parameters in found.items()
    ]
