"""Draw the picture of the start page from benchmarks/results/models.json."""

import json
from pathlib import Path
from typing import Any

import ase.build
from matplotlib.axes import Axes

from idle_md.report.drawing import draw_structure
from idle_md.report.plots import new_axes, svg

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "benchmarks/results/models.json"
SETS = {
    "test geometries of chno": "other geometries of\nmolecules it knows",
    "larger molecules of chno-mini": "larger molecules,\nnever seen",
}
PANELS = {
    "relative_energy_mae_mev": "relative energies, meV",
    "force_mae_mev_per_angstrom": "forces, meV/Å",
}
WORDS = "font-family:DejaVu Sans, sans-serif;text-anchor:middle"


def main() -> None:
    """Write start.svg: a molecule, the file, and two panels of errors."""
    rows = [row for row in json.loads(RESULTS.read_text())["rows"] if "trivial_baseline" in row]
    by_set = {row["set"]: row for row in rows}
    ethanol = ase.build.molecule("CH3CH2OH")
    panels = [_errors(by_set, key, title) for key, title in PANELS.items()]
    parts = [
        _nested(draw_structure(ethanol), 0, 20, 190, 170),
        _text(95, 190, "many cheap labels,", 14),
        _text(95, 210, "a few expensive ones", 14),
        '<path d="M200 105 h44 m-9 -7 l9 7 l-9 7" stroke="#374151" stroke-width="2" fill="none"/>',
        '<rect x="256" y="72" width="108" height="66" rx="8" fill="#0b6e4f"/>',
        _text(310, 112, "model.pt", 19, "white"),
        _text(310, 165, "ASE · OpenMM · LAMMPS", 14),
        _nested(panels[0], 0, 240, 350, 250),
        _nested(panels[1], 350, 240, 350, 250),
        _text(560, 90, "errors at ωB97X/6-31G*", 17),
        _text(560, 114, "■ idle-s", 15, "#0b6e4f"),
        _text(560, 136, "■ live GFN2-xTB plus", 15, "#6b7280"),
        _text(560, 156, "fitted reference energies", 15, "#6b7280"),
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    size = 'width="700" height="495"'
    frame = f'{head} {size} viewBox="0 0 700 495"><rect {size} fill="white"/>'
    (HERE / "start.svg").write_text("\n".join([frame, *parts, "</svg>"]) + "\n")


def _errors(by_set: dict[str, Any], key: str, title: str) -> str:
    figure, axes = new_axes(3.5, 2.5)
    for place, row in enumerate(by_set[name] for name in SETS):
        _bar(axes, place - 0.2, row[key], "#0b6e4f")
        _bar(axes, place + 0.2, row["trivial_baseline"][key], "#9ca3af")
    axes.set_xticks(range(len(SETS)), SETS.values())
    axes.set_yticks([])
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return svg(figure)


def _bar(axes: Axes, place: float, height: float, colour: str) -> None:
    axes.bar(place, height, 0.38, color=colour)
    axes.annotate(f"{height:.0f}", (place, height), ha="center", va="bottom")


def _nested(text: str, x: int, y: int, width: int, height: int) -> str:
    """Return an SVG as a part of another one."""
    head, _, body = text.partition(">")
    box = next(word for word in head.split('"') if word.count(" ") == 3)
    return f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}">{body}'


def _text(x: int, y: int, words: str, size: int, colour: str = "#111827") -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" style="{WORDS}">{words}</text>'
    )


if __name__ == "__main__":
    main()
