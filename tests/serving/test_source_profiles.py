"""A source folded in memory: the same people a service would make of it."""

from __future__ import annotations

from pathlib import Path

from journey_tables import write_journey

from actors.lmdb_state import LmdbReader
from actors.profile import decode
from actors.recovery import STATE
from actors.working_set import PROFILES
from events.ids import Key, Millis, key_hash
from serving.journey import Journey
from serving.source_profiles import fold_source


def test_everybody_of_the_journey_has_a_profile_where_the_store_would_keep_it(tmp_path: Path) -> None:
    journey = Journey(write_journey(tmp_path / "tables"))
    store = fold_source(journey, tmp_path / "store", Millis(1_760_000_000_000))
    found = {}
    for number in store.numbers():
        reader = LmdbReader(store.folder(number) / STATE)
        found |= {name: (number, decode(blob)) for name, blob in reader.scan(PROFILES)}
        reader.close()
    for household, traits in (("1", {"age": "19-24"}), ("2", {"age": "65+"})):
        number, profile = found[key_hash(store.secrets.key_hash, Key(f"u:{household}"))]
        assert number == store.partition(Key(f"u:{household}"))
        assert profile.traits["age"].value == traits["age"]
        assert profile.engagement.counts["purchase"] > 0
        liked = {key for table in profile.interests.values() for key in table.sums}
        assert any(key.startswith("category:") for key in liked)
