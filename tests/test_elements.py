"""Symbols, numbers, units, levels of theory."""

import pytest
from pydantic import ValidationError

from idle_md import units
from idle_md.elements import atomic_numbers, symbols
from idle_md.fidelity import LevelOfTheory


def test_symbols_and_numbers_are_inverse() -> None:
    assert symbols([1, 6, 17, 118]) == ["H", "C", "Cl", "Og"]
    assert atomic_numbers(symbols(range(1, 119))) == list(range(1, 119))


@pytest.mark.parametrize("number", [0, -1, 119])
def test_unknown_number(number) -> None:
    with pytest.raises(ValueError, match=f"unknown atomic number {number}: .* 1 to 118"):
        symbols([6, number])


@pytest.mark.parametrize(("symbol", "hint"), [("cl", "write 'Cl'"), ("Q", "H, C or Cl"), ("X", "")])
def test_unknown_symbol(symbol, hint) -> None:
    with pytest.raises(ValueError, match=f"unknown element '{symbol}': .*{hint}"):
        atomic_numbers(["C", symbol])


def test_units_are_those_of_codata() -> None:
    assert pytest.approx(27.211386, rel=1e-6) == units.HARTREE
    assert pytest.approx(0.04336410, rel=1e-6) == units.KCAL_PER_MOL
    assert pytest.approx(0.01036427, rel=1e-6) == units.KJ_PER_MOL
    assert units.NM == 10.0


def test_level_of_theory() -> None:
    assert LevelOfTheory(method="wB97X", basis="6-31G*").title == "wB97X/6-31G*"
    assert LevelOfTheory(method="GFN2-xTB").title == "GFN2-xTB"
    with pytest.raises(ValidationError, match="bassis"):
        LevelOfTheory(method="wB97X", bassis="6-31G*")
