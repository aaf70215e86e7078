"""The backbone section of the configuration: a union told apart by ``name``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from idle_md.configuration import Count, Positive, Section


class PaiNNConfig(Section):
    """Size of :class:`~idle_md.nn.PaiNN`."""

    head_hidden: ClassVar[int] = 32
    compiles: ClassVar[bool] = True
    name: Literal["painn"] = "painn"
    features: Count = 64
    interactions: Count = 2
    cutoff: Positive = 5.0
    n_radial: Annotated[int, Field(gt=1)] = 16
    radial: Literal["bessel", "gaussian"] = "bessel"


class HIPNNConfig(Section):
    """Size of :class:`~idle_md.nn.HIPNN`; its heads are linear in every interaction level."""

    head_hidden: ClassVar[int] = 0
    compiles: ClassVar[bool] = False  # the width of its tables depends on the edges
    name: Literal["hipnn"] = "hipnn"
    features: Count = 64
    interactions: Count = 2
    cutoff: Positive = 5.0
    n_sensitivities: Annotated[int, Field(gt=1)] = 20
    atom_layers: Annotated[int, Field(ge=0)] = 4
    tensor_order: Literal[0, 1, 2] = 2
    shortest: Positive = Field(
        default=0.75, description="midpoint of the innermost initial sensitivity, angstrom"
    )


class GMNNConfig(Section):
    """Size of :class:`~idle_md.nn.GMNN`; its heads are linear in the last hidden layer."""

    head_hidden: ClassVar[int] = 0
    compiles: ClassVar[bool] = True
    name: Literal["gmnn"] = "gmnn"
    layers: Annotated[tuple[Count, ...], Field(min_length=1)] = (256, 256)
    cutoff: Positive = 5.0
    n_radial: Count = 5
    n_basis: Count = 7
    shortest: Positive = Field(
        default=0.5, description="centre of the innermost radial Gaussian, angstrom"
    )


BackboneSection = Annotated[PaiNNConfig | HIPNNConfig | GMNNConfig, Field(discriminator="name")]
