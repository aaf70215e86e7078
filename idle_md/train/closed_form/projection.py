"""Random projections of long feature vectors to short ones that keep inner products."""

import torch
from torch import Tensor

MOST_AT_ONCE = 1 << 25  # numbers that are transformed at a time


class Projection:
    """A random projection that is drawn from a seed and takes no memory to speak of.

    Signs are changed at random, the result is Fourier-transformed, and some frequencies are kept
    (a subsampled randomised trigonometric transform: Ailon and Chazelle, SIAM J. Comput. 39, 302,
    2009; Tropp, arXiv 1011.1595). Inner products are kept on average, within about sqrt(2 / D).

    Parameters
    ----------
    n_columns
        P, of the vectors that are projected.
    n_kept
        D, even and smaller than P.
    seed
        Of signs and frequencies, which are the same on every device.
    device
        Where vectors are.
    """

    def __init__(
        self, n_columns: int, n_kept: int, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        generator = torch.Generator("cpu").manual_seed(seed)
        self.n_columns = n_columns
        signs = torch.randint(0, 2, (n_columns,), generator=generator, device="cpu").float()
        signs = 1.0 - 2.0 * signs
        self._length = 1 << (n_columns - 1).bit_length()
        half = self._length // 2
        frequencies = 1 + torch.randperm(half - 1, generator=generator, device="cpu")
        self._signs, self._frequencies = signs.to(device), frequencies[: n_kept // 2].to(device)
        self._scale = (2.0 / n_kept) ** 0.5

    def __call__(self, rows: Tensor) -> Tensor:
        """Return projections (n, D) of vectors (n, P)."""
        signed = rows * self._signs.to(rows.dtype)
        parts = []
        for some in signed.split(max(1, MOST_AT_ONCE // self._length)):
            spectrum = torch.fft.rfft(some, self._length)[:, self._frequencies]
            parts.append(self._scale * torch.cat([spectrum.real, spectrum.imag], dim=1))
        return torch.cat(parts)

    def transposed(self, weights: Tensor) -> Tensor:
        """Return the vector (P,) whose products with vectors are those of weights (D,) with them.

        That is, ``transposed(w) @ x == w @ projection(x)``.
        """
        real, imaginary = weights.tensor_split(2)
        size = self._length // 2 + 1
        spectrum = torch.zeros(size, dtype=torch.complex128, device=weights.device)
        spectrum[self._frequencies] = torch.complex(real.double(), imaginary.double())
        wave = torch.fft.irfft(spectrum, self._length)[: self.n_columns]
        full: Tensor = 0.5 * self._length * self._scale * wave * self._signs.double()
        return full
