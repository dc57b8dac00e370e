from __future__ import annotations

import pytest
from state_contract import StateContract

from actors.state import MemoryState


class TestMemoryState(StateContract):
    @pytest.fixture
    def state(self) -> MemoryState:
        return MemoryState()
