"""Command lines made at random from the command's own parameters, with hostile values."""

import random
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np

from idle_md.data import load

NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "99999999999999999999",
    "0x10",
    "1_000",
    "1,5",
    "\u0663",
    "",
)
TEXTS = (
    "",
    " ",
    "\u00e4\u00f6\u00fc \u6f22",
    "a b",
    "a=b",
    "=",
    "=b",
    "a=",
    ",",
    ":",
    "/",
    "..",
    "~",
    "%s%n",
    "{0}",
    "[red]x[/]",
    "[/]",
    "'",
    '"',
    "\\",
    "\n",
    "\t",
    "None",
    "null",
    "true",
    "wb97x",
    "gfn2",
    "gfn2/",
    "/6-31g*",
    "cpu",
    "cuda",
    "cuda:99",
    "cpu:7",
    "native",
    "test",
    "train",
    "eV",
    "hartree",
    "tcp://",
    "tcp://127.0.0.1:1",
    "\udcff",
    "x" * 300,
    "-",
    "md=0.5",
    "md=nan",
    "md=1,modes=-1",
    "C",
    "c1ccccc",
    "O=C=O",
    "[U]",
    "[H+]",
)
ABSENT = (
    "absent",
    "absent.h5",
    "absent.pt",
    "absent/file.xyz",
    "\u00e4bsent ort/x.h5",
    "absent.yaml",
)
SHIPPED = ("idle-s", "idle-s-gfn2", "idle-s-", "chno-mini")
OUTPUTS = (
    "out",
    "new.h5",
    "new.extxyz",
    "new.pt",
    "no ending",
    "new folder/new.h5",
    "new.html",
    "new.yaml",
)
INTEGERS = ("0", "1", "2", "3", "-1", "7", "99999999999999999999")
STARTS = (
    "good.xyz",
    "g\u00f6\u00f6d start [1].xyz",
    "one place.xyz",
    "nan.xyz",
    "silicon.xyz",
    "CO",
    "absent.xyz",
)
MODELS = ("idle-s", "idle-s-gfn2", "model.pt", "half model.pt", "best.ckpt")
SETS = ("good.h5", "chno-mini", "half good.h5", "good.xyz", "folder good.h5", "\u00e4bsent.h5")
LIKELY = {
    "model": MODELS,
    "checkpoint": ("best.ckpt", "idle-s", "text best.ckpt", "new.chk", "folder best.ckpt"),
    "structure": STARTS,
    "structures": STARTS,
    "sources": (*SETS, *STARTS),
    "source": SETS,
    "store": SETS,
    "data": SETS,
    "config": (
        "odd.yaml",
        "broken.yaml",
        "list.yaml",
        "latin.yaml",
        "unsafe.yaml",
        "absent.yaml",
        "empty.yaml",
    ),
    "overrides": (
        "out=new",
        "target=wb97x",
        "a.b=1",
        "=",
        "data.store=good.h5",
        "out=",
        "labels={gfn2: [energy]}",
    ),
    "smiles": ("C", "O water", "C(", "", "odd.smi", "good.xyz"),
    "level": ("gfn2", "gfn", "hf/sto-3g", "hf/", "/", "pm6"),
    "fidelity": ("gfn2", "wb97x", "high", "low", "", "="),
    "role": ("test", "train", "none", "tset"),
    "mix": ("md=1", "modes=nan", "md"),
    "device": ("cpu", "cuda", "cuda:9", "gpu", "cpu:1", ""),
    "energy": ("gfn2_energy=gfn2", "=x", "E"),
    "forces": ("gfn2_forces=gfn2", "F"),
    "energy_unit": ("eV", "hartree", "ev", "kcal"),
    "length_unit": ("angstrom", "bohr", "m"),
    "scheduler": ("tcp://127.0.0.1:1", "x", ""),
    "platform": ("Reference", "CPU", "GPU", ""),
    "temperature": NUMBERS,
    "restart": ("new.chk", "good.xyz", "absent"),
    **dict.fromkeys(("out", "output", "target", "folder", "trajectory", "spread_file"), OUTPUTS),
}
SHARE_OF_NONSENSE = 0.1
OPTIONS_OF_A_LINE = 2.5  # besides those that must be given
SHARE_OF_LOOSE_WORDS = 0.05


def make_files(folder: Path, model: Path, checkpoint: Path) -> list[str]:
    """Write good and bad files, and return the names of all."""
    ase.io.write(folder / "good.xyz", ase.build.molecule("CH3OH"))
    ase.io.write(folder / "g\u00f6\u00f6d start [1].xyz", ase.build.molecule("H2O"))
    ase.io.write(folder / "silicon.xyz", ase.build.bulk("Si"))
    store = load("chno-mini")
    store.select(np.flatnonzero(store.group == "methanol")[:6]).write(folder / "good.h5")
    (folder / "model.pt").write_bytes(model.read_bytes())
    (folder / "best.ckpt").write_bytes(checkpoint.read_bytes())
    for name in ("good.h5", "model.pt", "best.ckpt"):
        content = (folder / name).read_bytes()
        (folder / f"half {name}").write_bytes(content[: len(content) // 2])
        (folder / f"text {name}").write_text("no such thing\n")
        (folder / f"empty {name}").touch()
        (folder / f"folder {name}").mkdir()
    (folder / "junk.xyz").write_bytes(bytes(range(256)))
    (folder / "latin.yaml").write_bytes("out: \u00e4\n".encode("latin-1"))
    for name, text in (
        ("list.yaml", "- 1\n- 2\n"),
        ("broken.yaml", "a: [1\nb: {"),
        ("empty.yaml", ""),
        ("odd.yaml", "out: {1: 2}\ntarget: 3\n"),
        ("unsafe.yaml", "out: !!python/object/apply:os.system ['true']\n"),
        ("run.yaml", "model: 1\nstructure: {}\n"),
        ("zero.xyz", "0\n\n"),
        ("liar.xyz", "99999999999\n\nH 0 0 0\n"),
        ("nan.xyz", "1\n\nH nan nan nan\n"),
        ("one place.xyz", "2\n\nH 0 0 0\nH 0 0 0\n"),
        ("odd.pdb", "ATOM      1  X   UNK\nEND\n"),
        ("odd.csv", "a,b\n1\n"),
        ("odd.smi", "C(\n"),
        ("odd.npz", "PK\x03\x04"),
    ):
        (folder / name).write_text(text)
    return sorted(path.name for path in folder.iterdir())


def command_line(verb: str, parameters: list[Any], files: list[str], seed: int) -> list[str]:
    """Return a line of the verb; the same for the same seed."""
    rng = random.Random(f"{verb} {seed}")
    words, arguments = [], []
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            if parameter.required or rng.random() < 0.5:
                count = rng.randint(1, 2) if parameter.nargs == -1 else 1
                arguments += [value_of(parameter, files, rng) for _ in range(count)]
        elif parameter.required or rng.random() < OPTIONS_OF_A_LINE / len(parameters):
            if parameter.is_flag:
                if not parameter.is_eager:
                    words.append(rng.choice(parameter.opts + parameter.secondary_opts))
            else:
                words += [rng.choice(parameter.opts), value_of(parameter, files, rng)]
    if rng.random() < SHARE_OF_LOOSE_WORDS:
        words.append(
            rng.choice(("--no-such-option", "-x", "--", "--help=1", "--quiet=yes", "more"))
        )
    return [*verb.split(), *words, *arguments]


def value_of(parameter: Any, files: list[str], rng: random.Random) -> str:
    """Return something that might be meant for a parameter, or, now and then, not at all."""
    if rng.random() < SHARE_OF_NONSENSE:
        return rng.choice(rng.choice((NUMBERS, TEXTS, files)))
    descriptor = parameter.type_descriptor
    if descriptor.is_choice:
        return str(rng.choice(list(descriptor.choices)).value)
    shown = str(descriptor.annotation)
    if "int" in shown:
        return rng.choice(INTEGERS)
    if "float" in shown:
        return rng.choice(NUMBERS)
    if parameter.name in LIKELY:
        return rng.choice(LIKELY[parameter.name])
    return rng.choice((*files, *ABSENT, *SHIPPED))
