from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from events.errors import KeyMissing
from events.secrets import MASTER_KEY, Secrets


def test_a_master_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = Secrets.open(tmp_path, create=True)
    assert (tmp_path / MASTER_KEY).stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / MASTER_KEY).read_bytes()) == 32
    assert Secrets.open(tmp_path, create=True) == first
    assert Secrets.open(tmp_path, create=False) == first
    assert [path.name for path in tmp_path.iterdir()] == [MASTER_KEY]


def test_no_key_is_made_where_none_may_be(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match=r"master\.key is missing"):
        Secrets.open(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / MASTER_KEY).write_bytes(b"short")
    with pytest.raises(KeyMissing, match="5 bytes"):
        Secrets.open(tmp_path, create=True)


def test_every_purpose_has_its_own_key_and_none_shows_itself() -> None:
    secrets = Secrets.derive(bytes(32))
    keys = astuple(secrets)
    assert len(set(keys)) == len(keys) == 7
    assert all(len(key) == 32 for key in keys)
    assert not any(key.hex()[:8] in repr(secrets) for key in keys)
    assert Secrets.derive(b"\x01" + bytes(31)).noise != secrets.noise


def test_derivation_is_the_published_one() -> None:
    """HKDF-SHA256 written out (RFC 5869), so that another implementation could read a store."""
    from hashlib import sha256
    from hmac import digest

    master = bytes(range(32))
    extracted = digest(bytes(32), master, sha256)
    assert Secrets.derive(master).vault_wrap == digest(extracted, b"vault-wrap" + b"\x01", sha256)
