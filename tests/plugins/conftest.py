import pytest

from idle_md.native.operators import load_operators
from idle_md.native.places import REMEDY


@pytest.fixture(scope="session")
def ops() -> None:
    """The native operators; built by `make test` before the tests."""
    assert load_operators(), f"the native operators are not there: {REMEDY}"
