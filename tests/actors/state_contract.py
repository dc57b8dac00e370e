"""What every state store must do. A backend's test class inherits `StateContract` and says how to make one."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import cast

import pytest

from actors.state import Change, HoldingReader, StateStore


class StateContract:
    @abstractmethod
    @pytest.fixture
    def state(self) -> StateStore: ...

    def test_a_new_store_holds_nothing(self, state: StateStore) -> None:
        assert state.get("a", b"k") is None
        assert state.get_many("a", [b"k", b"l"]) == [None, None]
        assert list(state.scan("a")) == []
        assert state.offsets() == {}

    def test_changes_and_offsets_are_committed_together(self, state: StateStore) -> None:
        state.commit([("a", b"k", b"1"), ("b", b"k", b"2")], {"log": 7, "other": 2**40})
        assert state.get("a", b"k") == b"1"
        assert state.get("b", b"k") == b"2"
        assert state.offsets() == {"log": 7, "other": 2**40}

    def test_a_later_change_of_a_key_wins_within_a_commit(self, state: StateStore) -> None:
        state.commit([("a", b"k", b"1"), ("a", b"k", None), ("a", b"l", None), ("a", b"l", b"2")])
        assert list(state.scan("a")) == [(b"l", b"2")]

    def test_deleting_what_is_not_there_is_no_error(self, state: StateStore) -> None:
        state.commit([("a", b"k", None)])
        assert state.get("a", b"k") is None

    def test_an_empty_value_is_a_value(self, state: StateStore) -> None:
        state.commit([("a", b"k", b"")])
        assert state.get("a", b"k") == b""

    def test_a_table_can_be_emptied_and_filled_in_one_commit(self, state: StateStore) -> None:
        state.commit([("a", b"old", b"1"), ("b", b"kept", b"1")])
        state.commit([("a", b"new", b"2")], emptied=["a", "never made"])
        assert list(state.scan("a")) == [(b"new", b"2")]
        assert list(state.scan("b")) == [(b"kept", b"1")]

    def test_a_held_table_shows_one_commit_with_its_offsets(self, state: StateStore) -> None:
        rows = [(number.to_bytes(2, "big"), bytes([number % 251])) for number in range(700)]
        state.commit([("a", key, value) for key, value in rows], {"log": 7})
        with cast(HoldingReader, state).held("a") as held:
            assert held.offsets == {"log": 7}
            assert held.get_many([rows[3][0], b"none"]) == [rows[3][1], None]
            assert held.rows(rows[5][0], 600) == rows[5:605]
            assert held.rows(rows[690][0], 600) == rows[690:]
            assert held.rows(b"\xff", 5) == []
            assert held.entries() == 700
        with cast(HoldingReader, state).held("never made") as held:
            assert (held.get_many([b"k"]), held.rows(b"", 5), held.entries()) == ([None], [], 0)

    def test_a_scan_is_in_key_order_from_its_start(self, state: StateStore) -> None:
        rows = [(number.to_bytes(2, "big"), bytes([number % 251])) for number in range(1500)]
        state.commit([("a", key, value) for key, value in reversed(rows)])
        assert list(state.scan("a")) == rows
        assert list(state.scan("a", rows[700][0])) == rows[700:]
        assert list(state.scan("a", b"\xff")) == []

    def test_a_scan_survives_commits_in_between(self, state: StateStore) -> None:
        state.commit([("a", number.to_bytes(2, "big"), b"1") for number in range(1500)])
        seen = []
        for key, _ in state.scan("a"):
            seen.append(key)
            state.commit([("a", key, None)])
        assert len(seen) == 1500
        assert list(state.scan("a")) == []

    def test_many_are_got_in_the_order_asked(self, state: StateStore) -> None:
        state.commit([("a", b"1", b"one"), ("a", b"2", b"two")])
        assert state.get_many("a", [b"2", b"3", b"1", b"2"]) == [b"two", None, b"one", b"two"]

    @pytest.mark.parametrize("seed", range(20))
    def test_it_behaves_like_dictionaries(self, state: StateStore, seed: int) -> None:
        random = Random(seed)
        expected: dict[str, dict[bytes, bytes]] = {"a": {}, "b": {}}
        for _ in range(10):
            changes: list[Change] = []
            for _ in range(random.randrange(20)):
                table, key = random.choice("ab"), random.randbytes(1)
                value = random.choice([None, random.randbytes(random.randrange(4))])
                changes.append((table, key, value))
                if value is None:
                    expected[table].pop(key, None)
                else:
                    expected[table][key] = value
            state.commit(changes)
            assert {table: dict(state.scan(table)) for table in expected} == expected
