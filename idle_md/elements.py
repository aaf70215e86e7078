"""Atomic numbers and chemical symbols."""

from collections.abc import Iterable

from ase.data import chemical_symbols

_NUMBER_OF = {symbol: number for number, symbol in enumerate(chemical_symbols) if number > 0}


def symbols(numbers: Iterable[int]) -> list[str]:
    """Chemical symbols of atomic numbers.

    Parameters
    ----------
    numbers
        Atomic numbers, 1 (H) and up.

    Raises
    ------
    ValueError
        A number belongs to no element.
    """
    return [_symbol(int(number)) for number in numbers]


def _symbol(number: int) -> str:
    if not 0 < number < len(chemical_symbols):
        raise ValueError(
            f"unknown atomic number {number}: elements run from 1 to {len(chemical_symbols) - 1}"
        )
    return str(chemical_symbols[number])


def atomic_numbers(symbols: Iterable[str]) -> list[int]:
    """Atomic numbers of chemical symbols.

    Parameters
    ----------
    symbols
        Chemical symbols, capitalised as usual (``"H"``, ``"Cl"``).

    Raises
    ------
    ValueError
        A symbol belongs to no element.
    """
    return [_number(symbol) for symbol in symbols]


def _number(symbol: str) -> int:
    number = _NUMBER_OF.get(symbol)
    if number is not None:
        return number
    if symbol.capitalize() in _NUMBER_OF:
        raise ValueError(f"unknown element {symbol!r}: write {symbol.capitalize()!r}")
    raise ValueError(f"unknown element {symbol!r}: use a chemical symbol such as H, C or Cl")
