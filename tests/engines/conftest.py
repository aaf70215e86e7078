import pytest

from idle_md.engines.openmm.backends import why_not


@pytest.fixture(scope="session")
def no_torchforce() -> str:
    """Why TorchForce cannot be used here; empty where it can."""
    return why_not("torchforce") or ""


@pytest.fixture(scope="session", params=["torchforce", "pythonforce"])
def backend(request, no_torchforce) -> str:
    """Each way of attaching a model to OpenMM that this environment has."""
    if request.param == "torchforce" and no_torchforce:
        pytest.skip(no_torchforce)
    return request.param
