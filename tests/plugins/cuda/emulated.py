"""The CUDA kernels on the host: compiled as C++, called by ctypes."""

import ctypes
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "plugins" / "ops"
HOST_SOURCES = (
    "cuda/painn_step.cpp",
    "cuda/painn_weights.cpp",
    "cuda/particles.cpp",
    "splines.cpp",
    "radial.cpp",
)
"""What launches the kernels and packs weights for them."""
MOST_INTERACTIONS = 16

Int, Long, Double, Pointer = ctypes.c_int, ctypes.c_long, ctypes.c_double, ctypes.c_void_p


@dataclass(frozen=True)
class Shape:
    """What kernels of PaiNN are compiled for, in the order of ``PainnShape::options``."""

    real: str
    features: int
    head: int
    terms: int
    tabulated: bool
    block: int
    threads: int
    slices: int
    tf32: bool = False

    def macros(self) -> list[str]:
        values = vars(self).items()
        return [f"-DIDLE_MD_{name.upper()}={str(value).lower()}" for name, value in values]


class Layer(ctypes.Structure):
    _fields_ = [("weight", Pointer), ("bias", Pointer), ("inputs", Long), ("outputs", Long)]


class Weights(ctypes.Structure):
    _fields_ = [
        ("features", Long),
        ("interactions", Long),
        ("elements", Long),
        ("embedding", Pointer),
        ("sent", Pointer),
        ("message_hidden", Layer * MOST_INTERACTIONS),
        ("message_output", Layer * MOST_INTERACTIONS),
        ("mix", Layer * MOST_INTERACTIONS),
        ("update_hidden", Layer * MOST_INTERACTIONS),
        ("update_output", Layer * MOST_INTERACTIONS),
        ("head_hidden", Layer),
        ("direct", Pointer),
        ("readout", Pointer),
    ]


class System(ctypes.Structure):
    _fields_ = [
        ("atoms", Int),
        ("edges", Int),
        ("owned", Int),
        ("species", Pointer),
        ("centre", Pointer),
        ("neighbor", Pointer),
        ("vectors", Pointer),
        ("energies", Pointer),
        ("gradients", Pointer),
    ]


class Blocking(ctypes.Structure):
    _fields_ = [(name, Int) for name in ("block", "threads", "slices", "processors", "tf32")]


class PainnCall(ctypes.Structure):
    _fields_ = [
        ("weights", Weights),
        ("filters", Pointer * MOST_INTERACTIONS),
        ("nodes", Pointer),
        ("n_radial", Long),
        ("cutoff", Double),
        ("bessel", Int),
        ("tabulated", Int),
        ("blocking", Blocking),
        ("system", System),
    ]


class List(ctypes.Structure):
    _fields_ = [
        ("atoms", Int),
        ("periodic", ctypes.c_bool * 3),
        ("cutoff", Double),
        ("skin", Double),
        ("densest", Double),
    ]


class Particles(ctypes.Structure):
    _fields_ = [
        ("is_double", ctypes.c_bool),
        ("positions", Pointer),
        ("box", Pointer),
        ("chosen", Pointer),
        ("angstrom", Double),
    ]


class Vectors(ctypes.Structure):
    _fields_ = [("is_double", ctypes.c_bool), ("values", Pointer)]


class Forces(ctypes.Structure):
    _fields_ = [
        ("atoms", Int),
        ("edges", Int),
        ("particles", ctypes.c_long),
        ("index", Pointer),
        ("gradients", Vectors),
        ("chosen", Pointer),
        ("energy_unit", Double),
        ("force_unit", Double),
        ("energies", Pointer),
        ("energy", Pointer),
        ("is_double", ctypes.c_bool),
        ("forces", Pointer),
    ]


def compile_library(
    folder: Path, shapes: Sequence[Shape], flags: Sequence[str] = (), sources: Path = SOURCES
) -> Path:
    """Compile the kernels for some shapes, and what launches them; return the library."""
    folder.mkdir(parents=True, exist_ok=True)
    common = ["g++", "-std=c++17", "-O1", "-fPIC", f"-I{sources / 'cuda'}", *flags]
    jobs = [("host", HERE / "host.cpp", [])]
    jobs += [(Path(name).stem, sources / name, []) for name in HOST_SOURCES]
    jobs += [(f"shape{n}", HERE / "painn_kernels.cpp", s.macros()) for n, s in enumerate(shapes)]

    def compiled(job: tuple[str, Path, list[str]]) -> str:
        name, source, macros = job
        made = str(folder / f"{name}.o")
        run([*common, *macros, "-c", str(source), "-o", made])
        return made

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, jobs))
    library = folder / "libemulated.so"
    run(["g++", *flags, "-shared", "-o", str(library), *objects])
    return library


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]


def pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class Emulated:
    """The kernels of one library.

    Attributes
    ----------
    launches
        Of the last call.
    """

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.emulated_problem.restype = ctypes.c_char_p
        self.library.list_bytes.restype = Long
        self.launches = 0

    def call(self, name: str, *arguments: object) -> None:
        passed = [ctypes.byref(a) if isinstance(a, ctypes.Structure) else a for a in arguments]
        self.launches = getattr(self.library, name)(*passed)
        if self.launches < 0:
            raise RuntimeError(self.library.emulated_problem().decode())

    def painn(
        self,
        weights: dict[str, Tensor],
        cutoff: float,
        bessel: bool,
        shape: Shape | None,
        inputs: tuple[Tensor, Tensor, Tensor, int],
        seed: int = 0,
        tabulated: bool = True,
        processors: int = 132,
    ) -> tuple[Tensor, Tensor]:
        """Return energies (N,) and gradients (E, 3); without a shape, it is chosen as on a GPU."""
        species, index, vectors, owned = inputs
        index, vectors = index.contiguous(), vectors.contiguous()
        energies = torch.full((len(species),), torch.nan, dtype=torch.float64)
        gradients = torch.full_like(vectors, torch.nan)
        nodes = weights["basis.nodes"].double().contiguous()
        call = PainnCall(cutoff=cutoff, bessel=bessel, tabulated=tabulated)
        call.nodes, call.n_radial = pointer(nodes), len(nodes)
        fill_weights(call, weights)
        if shape is None:
            call.blocking = Blocking(processors=processors)
        else:
            call.blocking = Blocking(shape.block, shape.threads, shape.slices, 1, shape.tf32)
        call.system = System(
            len(species),
            len(vectors),
            owned,
            pointer(species),
            pointer(index),
            pointer(index) + 8 * len(vectors),
            pointer(vectors),
            pointer(energies),
            pointer(gradients),
        )
        is_double = vectors.dtype == torch.float64
        self.call(f"emulated_painn_{'double' if is_double else 'float'}", call, seed)
        return energies, gradients

    def forces(
        self,
        gradients: Tensor,
        index: Tensor,
        energies: Tensor | None,
        chosen: Tensor | None,
        particles: int,
        atoms: int,
        units: tuple[float, float] = (1.0, 1.0),
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Return the energy and the forces on all particles, as ``particle_forces`` does."""
        forces = torch.zeros((particles, 3), dtype=dtype)
        energy = torch.full((), torch.nan, dtype=torch.float64)
        given = Forces(
            atoms,
            len(gradients),
            particles,
            pointer(index),
            Vectors(gradients.dtype == torch.float64, pointer(gradients)),
            pointer(chosen),
            *units,
            pointer(energies),
            pointer(energy),
            dtype == torch.float64,
            pointer(forces),
        )
        self.call("emulated_forces", given, seed)
        return energy, forces

    def all_pairs(
        self, positions: Tensor, chosen: Tensor, dtype: torch.dtype, unit: float = 1.0
    ) -> Tensor:
        """Return the vectors (N (N - 1), 3) between all pairs."""
        n = len(chosen)
        vectors = torch.full((n * max(n - 1, 0), 3), torch.nan, dtype=dtype)
        given = Particles(
            positions.dtype == torch.float64, pointer(positions), None, pointer(chosen), unit
        )
        made = Vectors(dtype == torch.float64, pointer(vectors))
        self.call("emulated_all_pairs", n, given, made, 0)
        return vectors


class EmulatedList:
    """A list with a skin that is kept between calls, as on a device."""

    def __init__(
        self,
        emulated: Emulated,
        atoms: int,
        periodic: Sequence[bool],
        cutoff: float,
        skin: float,
        densest: float = 0.2,
    ) -> None:
        self.emulated = emulated
        self.list = List(atoms, (ctypes.c_bool * 3)(*periodic), cutoff, skin, densest)
        self.room = emulated.library.list_room(ctypes.byref(self.list))
        size = emulated.library.list_bytes(ctypes.byref(self.list))
        self.memory = torch.full((size + 64,), 255, dtype=torch.uint8)
        self.searches = self.problem = 0

    def edges(
        self,
        positions: Tensor,
        box: Tensor | None = None,
        dtype: torch.dtype = torch.float64,
        unit: float = 1.0,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, N room) and edge_vectors (N room, 3), padding included."""
        n = self.list.atoms
        chosen = torch.arange(n)
        index = torch.full((2, n * self.room), -1, dtype=torch.int64)
        vectors = torch.full((n * self.room, 3), torch.nan, dtype=dtype)
        given = Particles(
            positions.dtype == torch.float64,
            pointer(positions),
            pointer(box),
            pointer(chosen),
            unit,
        )
        made = Vectors(dtype == torch.float64, pointer(vectors))
        searches, problem = Int(0), Int(0)
        state = (pointer(self.memory) + 63) // 64 * 64
        self.emulated.call(
            "emulated_list",
            self.list,
            Pointer(state),
            given,
            Pointer(pointer(index)),
            made,
            ctypes.byref(searches),
            ctypes.byref(problem),
            seed,
        )
        self.searches, self.problem = searches.value, problem.value
        return index, vectors


def fill_weights(call: PainnCall, buffers: dict[str, Tensor]) -> None:
    """Point to an exported PaiNN's buffers, whose names are those of nested stages."""
    weights = call.weights
    weights.elements, features = buffers["embedding"].shape
    weights.features = features
    weights.embedding, weights.sent = pointer(buffers["embedding"]), pointer(buffers["sent"])
    call.filters[0] = pointer(buffers["filter"])

    def layer(name: str) -> Layer:
        weight = buffers[f"{name}.weight"]
        return Layer(pointer(weight), pointer(buffers[f"{name}.bias"]), *weight.shape)

    stage, count = "rest.", 0
    while True:
        if count > 0:
            call.filters[count] = pointer(buffers[f"{stage}filter"])
            weights.message_hidden[count] = layer(f"{stage}network.hidden")
            weights.message_output[count] = layer(f"{stage}network.output")
            stage += "rest."
        weights.mix[count] = Layer(pointer(buffers[f"{stage}mix"]), None, features, 2 * features)
        weights.update_hidden[count] = layer(f"{stage}network.hidden")
        weights.update_output[count] = layer(f"{stage}network.output")
        count += 1
        stage += "rest."
        if f"{stage}filter" not in buffers:
            break
    weights.interactions = count
    weights.direct = pointer(buffers[f"{stage}direct"])
    if f"{stage}output" in buffers:
        weights.head_hidden = layer(f"{stage}hidden")
        weights.readout = pointer(buffers[f"{stage}output"])
