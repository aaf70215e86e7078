"""Where models run: the processor or a GPU, checked in one place."""

import torch


def find_device(name: str | torch.device) -> torch.device:
    """Return a device that models can run on here.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"`` for torch's current GPU, or ``"cuda:1"`` for one of several.

    Raises
    ------
    ValueError
        If there is no such device, or torch does not see it; says why.
    """
    try:
        device = torch.device(name)
        is_known = device.type == "cuda" or str(device) == "cpu"
    except RuntimeError:
        is_known = False
    if not is_known:
        raise ValueError(f"unknown device '{name}': use cpu, cuda, or cuda:1 of several GPUs")
    if device.type == "cpu":
        return device
    problem = why_no_gpu()
    if problem is not None:
        raise ValueError(f"device '{name}': {problem}; leave device out for the CPU")
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        known = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ValueError(f"device '{name}': torch sees {known}")
    return device


def why_no_gpu() -> str | None:
    """Return why torch cannot use a GPU here, in one line; None if it can."""
    if torch.cuda.is_available():
        return None
    try:
        torch.cuda.init()
        reason = "none is available"
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
    return f"torch {torch.__version__} sees no CUDA device: {reason}"
