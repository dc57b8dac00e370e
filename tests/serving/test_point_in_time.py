"""What was served from is made again from the log: profiles bit for bit, items to float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from grown_shop import grow
from service import Service, bought, viewed

from actors.item_reader import LocalItems, MemoryItems
from actors.profile import Profile, digest
from actors.reader import LocalProfiles
from actors.store import Store
from events.ids import Millis, user_key
from training.history import history_of
from training.point_in_time import profiles_at
from training.replay import all_facts, facts_of, offsets_now


def profile_of(service: Service, user: str) -> Profile:
    reader = LocalProfiles(Store.open(service.data))
    found = reader.read(user_key(user)).profile
    reader.close()
    assert found is not None
    return found


def test_profile_features_are_rebuilt_bit_for_bit_at_the_version_an_answer_names(tmp_path: Path) -> None:
    served: dict[str, Profile] = {}
    with Service(tmp_path / "data") as service:
        grow(service, households=4, weeks=3)
        for user in ("h1", "h2"):
            token = service.send(viewed(user, "i1"), bought(user, "i2", "i3"), viewed(user, "i5"))
            answer = service.get(f"/v1/recommend?user_id={user}&after={token}").json
            served[user] = profile_of(service, user)
            assert answer["profile_version"] == served[user].version
        service.send(*(viewed(user, f"i{n}") for user in served for n in range(10, 20)))
        service.settle()
        assert profile_of(service, "h1").version > served["h1"].version
    store, offsets = Store.open(tmp_path / "data"), offsets_now(tmp_path / "data")
    items = LocalItems(tmp_path / "data")
    view = items.snapshot()
    for user, profile in served.items():
        number = store.partition(user_key(user))
        facts = facts_of(tmp_path / "data", number, offsets[f"p{number}"])
        (rebuilt,) = profiles_at(facts, {profile.subject: [profile.lsn]})
        assert rebuilt.profile.version == profile.version
        assert digest(rebuilt.profile) == digest(profile)
        one, other = history_of(rebuilt.profile, view), history_of(profile, view)
        now = Millis(profile.last_at or 0)
        assert one.strengths(now).tobytes() == other.strengths(now).tobytes()
        assert one.purchases.counts(now).tobytes() == other.purchases.counts(now).tobytes()
    items.close()


def test_item_features_are_rebuilt_at_the_offsets_they_were_read_at(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        grow(service, households=12, weeks=4)
        offsets = offsets_now(service.data)
        live = LocalItems(service.data)
        view = live.snapshot()
        served = {view.ids[i]: s for i, s in zip(*map(list, view.popular(None, 50)), strict=True)}
        near = {view.ids[i]: s for i, s in zip(*map(list, view.covisited([view.index("i1")], 20)[0]), strict=True)}
        live.close()
        service.send(*(viewed("somebody", f"i{n}") for n in range(40)))  # later than the offsets
        service.settle()
    rebuilt = MemoryItems()
    rebuilt.fold(list(all_facts(tmp_path / "data", offsets)))
    again = rebuilt.snapshot()
    popular = {again.ids[i]: s for i, s in zip(*map(list, again.popular(None, 50)), strict=True)}
    assert set(popular) == set(served)
    assert np.allclose([popular[item] for item in served], list(served.values()), rtol=1e-6)
    neighbours = {again.ids[i]: s for i, s in zip(*map(list, again.covisited([again.index("i1")], 20)[0]), strict=True)}
    assert set(neighbours) == set(near)
    assert np.allclose([neighbours[item] for item in near], list(near.values()), rtol=1e-6)
