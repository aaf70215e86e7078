"""Low levels of theory that can be calculated live, for explicit delta learning."""

from typing import Any

TBLITE = {"gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB"}
"""Fidelity, and the method of tblite that it is."""


def live_calculator(fidelity: str) -> Any:
    """Return an ASE calculator of a low level, by the name of its fidelity.

    Raises
    ------
    ValueError
        If it is not known how to calculate that fidelity.
    ModuleNotFoundError
        If the program is not installed; says what to install.
    """
    if fidelity not in TBLITE:
        raise ValueError(
            f"cannot calculate {fidelity!r} live: known are {', '.join(TBLITE)}; give the ASE "
            "calculator of the low level as `low_level`"
        )
    try:
        from tblite.ase import TBLite
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this model needs live {TBLITE[fidelity]} energies, and tblite is not installed: "
            "pip install tblite, or train with `method: idle`, whose model needs none"
        ) from error
    return TBLite(method=TBLITE[fidelity], verbosity=0)
