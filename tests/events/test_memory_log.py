"""The log in memory keeps the contract."""

from __future__ import annotations

import pytest
from log_contract import LogContract

from events.log import Log, LogReader
from events.memory_log import MemoryLog


class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog()

    def reader(self, log: Log) -> LogReader:
        return log
