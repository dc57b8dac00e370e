"""One service for all tests of a file that do not change it for others: they use ids of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Service]:
    """A service of one's own."""
    with Service(tmp_path / "data") as running:
        yield running
