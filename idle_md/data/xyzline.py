"""The comment line of extended XYZ: ``key=value`` pairs and the layout of the columns."""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike, NDArray

_QUOTED = r"""\"(?:[^"\\]|\\.)*\""""
_BRACKETS = r"""(?:\[[^\s",\[\]]*\][^\s",\[\]]*)+(?=\s|$)"""  # SMILES such as [NH4+]
_ARRAY = r"""\[[^=\s]*[,\s][^=]*?\](?=\s|$)"""  # [F, F, F] or [[1, 2], [3, 4]]
_VALUE = rf"""{_QUOTED}|'[^']*'|\{{[^}}]*\}}|{_BRACKETS}|{_ARRAY}|[^\s"'{{}}][^\s"]*"""
_NOTHING = r"""(?=\s+[^\s=]+\s*=|\s*$)"""  # before the next key or the end
_PAIR = re.compile(
    rf"""\s*({_QUOTED}|[^\s="'{{}}]+)(?:\s*=({_NOTHING}|\s*(?:{_VALUE})))?(?=\s|$)"""
)
_ASSIGNED = re.compile(r"""[^\s=]=[^\s=]""")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[dD][+-]?\d+")
_NUMBER = r"[+-]?\d*\.\d+(?:[eEdD][+-]?\d+)?"
_UNIT = r"hartree|Eh|Ha|eV|kcal/mol|kJ/mol"
_ENERGY = re.compile(
    rf"(?:^|(?<=[\s,;(]))(?:E|energy)\s*[:= ]\s*({_NUMBER})(?![\w.])(?:\s*({_UNIT})\b)?", re.I
)
LABEL = re.compile(r"energ|force|gradient|stress|virial", re.IGNORECASE)
"""What is in keys that look like labels."""
_ASYMMETRY = 1e-3  # of the largest component
_PLAIN = re.compile(r"""[^\s"'\\{}]+""")


def parse_comment(line: str) -> dict[str, str]:
    """The pairs of a comment line; a comment of plain XYZ is the one value of ``comment``.

    That is a line without ``Properties`` and without any ``key=value``, such as CP2K, xtb and ORCA
    write it.

    Raises
    ------
    ValueError
        See :func:`parse_pairs`.
    """
    if "Properties" in line or _ASSIGNED.search(line):
        return parse_pairs(line)
    return {"comment": line.strip()} if line.strip() else {}


def real(text: str) -> float:
    """A number, its exponent perhaps that of Fortran (``-0.2D+04``).

    Raises
    ------
    ValueError
        It is none.
    """
    if "_" in text or not text.isascii():  # numbers to Python alone
        raise ValueError(f"could not convert string to float: {text!r}")
    return float(re.sub("[dD]", "e", text) if _REAL.fullmatch(text) else text)


def comment_energy(comment: str) -> tuple[float, str] | None:
    """The energy in a comment of plain XYZ and its unit, if it says it; None unless there is one.

    It is a number by itself, or one that follows ``E`` or ``energy``: ``E = -17.1`` of CP2K,
    ``energy: -5.07 gnorm: 0.001`` of xtb, ``Coordinates from ORCA-job x E -76.3`` of ORCA.
    """
    alone = _ENERGY.fullmatch(f"E {comment.strip()}")
    found = [alone] if alone else list(_ENERGY.finditer(comment))
    return (real(found[0][1]), found[0][2] or "") if len(found) == 1 else None


def read_voigt(text: str) -> NDArray[np.float64]:
    """Six numbers of those in a text, which may be nine, in brackets, and after ASE's ``_JSON``.

    Raises
    ------
    ValueError
        See :func:`voigt`.
    """
    plain = text.removeprefix("_JSON").translate(str.maketrans("[],", "   "))
    return voigt([real(number) for number in plain.split()])


def voigt(values: ArrayLike) -> NDArray[np.float64]:
    """Six numbers (xx, yy, zz, yz, xz, xy) of six, of nine or of a matrix (3, 3).

    Raises
    ------
    ValueError
        They are of another number, not finite, or the matrix is not symmetric.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape not in ((6,), (9,), (3, 3)):
        raise ValueError(
            f"shape {found.shape} is no stress or virial; give six numbers (xx, yy, zz, yz, xz, "
            "xy) or a matrix (3, 3)"
        )
    if not np.isfinite(found).all():
        raise ValueError("holds NaN or infinity; leave it out where there is no label")
    if found.size == 6:
        return found
    matrix = found.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > _ASYMMETRY * np.abs(matrix).max():
        raise ValueError("the matrix (3, 3) is not symmetric, as a stress or virial must be")
    return np.asarray(full_3x3_to_voigt_6_stress(matrix))


def parse_pairs(line: str) -> dict[str, str]:
    """Split a comment line into keys and values, both as text; a key without value is true.

    Raises
    ------
    ValueError
        The line is no sequence of pairs, or a key comes twice.
    """
    pairs: dict[str, str] = {}
    text, position = line.rstrip(), 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position:].strip()[:40]!r} as key=value")
        key, value = _unquoted(match.group(1)), match.group(2)
        if key in pairs:
            raise ValueError(f"the key {key!r} comes twice")
        pairs[key] = "T" if value is None else _unquoted(value.strip())
        position = match.end()
    return pairs


def _unquoted(value: str) -> str:
    if value[:1] == '"':
        return re.sub(r"\\([\"\\])", r"\1", value[1:-1])
    if value[:1] == "[" and re.search(r"[,\s]", value):
        return " ".join(re.findall(r"""[^\s,\[\]"']+""", value))
    return value[1:-1] if value[:1] in ("'", "{") else value


def quoted(value: str) -> str:
    """A value as it is written, in quotes where it needs them.

    Raises
    ------
    ValueError
        It holds a line break.
    """
    if re.search(r"[\r\n]", value):
        raise ValueError(f"{value[:40]!r} holds a line break, as no extended XYZ can: write .h5")
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True)
class Columns:
    """Where the columns of the atom lines are.

    Attributes
    ----------
    width
        Number of columns.
    start
        First column of every property.
    kind
        ``S``, ``R``, ``I`` or ``L`` and the number of columns of every property.
    """

    width: int
    start: dict[str, int]
    kind: dict[str, tuple[str, int]]


@lru_cache(maxsize=256)
def parse_columns(properties: str) -> Columns:
    """Read ``Properties=species:S:1:pos:R:3:...``.

    Raises
    ------
    ValueError
        The text is no list of name, type and number, a property comes twice, or there is no
        species or no position.
    """
    parts = properties.split(":")
    triples = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    if len(parts) % 3 or any(
        kind not in ("S", "R", "I", "L") or not count.isdigit() for _, kind, count in triples
    ):
        raise ValueError(f"cannot read Properties={properties}: write name:type:number:...")
    start, width = {}, 0
    for name, _, count in triples:
        if name in start:
            raise ValueError(f"the property {name!r} comes twice in Properties")
        start[name] = width
        width += int(count)
    kinds = {name: (kind, int(count)) for name, kind, count in triples}
    if kinds.get("species") != ("S", 1) or kinds.get("pos") != ("R", 3):
        raise ValueError(f"Properties={properties} lacks species:S:1 or pos:R:3")
    return Columns(width, start, kinds)
