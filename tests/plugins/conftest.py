import pytest

from idle_md.deploy.native import REMEDY, load_operators


@pytest.fixture(scope="session")
def ops() -> None:
    """The native operators; built by `make test` before the tests."""
    assert load_operators(), f"the native operators are not there: {REMEDY}"
