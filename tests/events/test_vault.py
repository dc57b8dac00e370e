from __future__ import annotations

from random import Random

import pytest

from events.errors import Corrupt, KeyMissing
from events.ids import Key, KeyHash, SubjectId, key_hash
from events.memory_disk import MemoryDisk
from events.vault import SLOT_BYTES, SLOTS, Vault, VaultReader, open_slots

SECRET = bytes(range(32))
EVENT = b"e" * 16


def opened(disk: MemoryDisk, secret: bytes = SECRET, cached_keys: int = 100) -> Vault:
    return Vault(open_slots(disk), secret, cached_keys, Random(7).randbytes)


def created(vault: Vault, key: str) -> SubjectId:
    return vault.create(Key(key), name(key))


def name(key: str) -> KeyHash:
    return key_hash(SECRET, Key(key))


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


def test_what_was_sealed_is_unsealed_with_its_record_only(disk: MemoryDisk) -> None:
    vault = opened(disk)
    ann, bob = created(vault, "u:ann"), created(vault, "u:bob")
    sealed = vault.seal(ann, EVENT, 7, b"secret")
    assert b"secret" not in sealed
    assert vault.open(ann).unseal(EVENT, 7, sealed) == b"secret"
    for subject, event, lsn, data in (
        (bob, EVENT, 7, sealed),
        (ann, b"f" * 16, 7, sealed),
        (ann, EVENT, 8, sealed),
        (ann, EVENT, 7, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (ann, EVENT, 7, b""),
    ):
        with pytest.raises(Corrupt, match=f"LSN {lsn}"):
            vault.open(subject).unseal(event, lsn, data)


def test_equal_payloads_look_different(disk: MemoryDisk) -> None:
    vault = opened(disk)
    ann = created(vault, "u:ann")
    assert vault.seal(ann, EVENT, 7, b"secret") != vault.seal(ann, EVENT, 7, b"secret")


def test_a_subject_knows_its_owner_and_slot(disk: MemoryDisk) -> None:
    vault = opened(disk)
    subjects = [created(vault, key) for key in ("u:ann", "i:tea", "s:imports", "a:x")]
    owners = [vault.open(subject).owner for subject in subjects]
    assert [owner.has_profile for owner in owners] == [True, False, False, True]
    assert [owner.kind for owner in owners] == ["u", "i", "s", "a"]
    assert owners[0].key_hash == name("u:ann")
    assert [int.from_bytes(subject[12:], "big") for subject in subjects] == [0, 1, 2, 3]
    assert list(vault.entries(2)) == [(name("s:imports"), subjects[2]), (name("a:x"), subjects[3])]


def test_nothing_of_the_external_key_or_the_data_key_lies_in_clear(disk: MemoryDisk) -> None:
    vault = opened(disk)
    vault.create(Key("u:ann@example.org"), name("u:ann@example.org"))
    file = disk.open(SLOTS, "read")
    data = file.read(0, file.size())
    assert len(data) == SLOT_BYTES
    assert b"ann" not in data
    drawn = Random(7)
    drawn.randbytes(12), drawn.randbytes(12)
    assert drawn.randbytes(32) not in data


def test_an_erased_key_is_gone_at_once_for_every_reader(disk: MemoryDisk) -> None:
    vault = opened(disk)
    ann, bob = created(vault, "u:ann"), created(vault, "u:bob")
    sealed = vault.seal(ann, EVENT, 7, b"secret")
    vault.sync()
    reader = VaultReader(disk.open(SLOTS, "read"), SECRET)
    assert reader.open(ann).unseal(EVENT, 7, sealed) == b"secret"
    vault.erase(ann)
    vault.erase(ann)
    for side in (vault, reader):
        with pytest.raises(KeyMissing, match="is gone"):
            side.open(ann)
        assert side.erased(ann)
        assert not side.erased(bob)
        assert [subject for _, subject in side.entries(0)] == [bob]
        assert list(side.erasures()) == [ann]
    with pytest.raises(KeyMissing):
        vault.seal(ann, EVENT, 8, b"more")


def test_an_erased_slot_leads_to_nobody_and_is_durable() -> None:
    for seed in range(10):
        disk = MemoryDisk(seed)
        vault = opened(disk)
        ann = created(vault, "u:ann")
        vault.sync()
        before = disk.open(SLOTS, "read").read(0, SLOT_BYTES)
        vault.erase(ann)
        disk.crash()
        after = disk.open(SLOTS, "read").read(0, SLOT_BYTES)
        assert ann in after
        assert name("u:ann") in before
        assert name("u:ann") not in after
        assert before[52:108] not in after


def test_a_subject_is_never_given_twice(disk: MemoryDisk) -> None:
    vault = opened(disk)
    ann = created(vault, "u:ann")
    vault.erase(ann)
    again = created(opened(disk), "u:ann")
    assert again[12:] != ann[12:]


def test_what_was_synced_survives_and_a_torn_slot_is_passed_over() -> None:
    for seed in range(40):
        disk = MemoryDisk(seed)
        vault = opened(disk)
        ann = created(vault, "u:ann")
        vault.sync()
        created(vault, "u:bob")
        created(vault, "u:eve")
        disk.crash()
        vault = opened(disk)
        held = [subject for _, subject in vault.entries(0)]
        assert held[0] == ann
        assert len(held) <= 3
        later = created(vault, "u:joe")
        assert vault.open(later).owner.key_hash == name("u:joe")
        assert vault.open(ann).owner.key_hash == name("u:ann")


@pytest.mark.parametrize("offset", [0, *range(4, 128, 3)])
def test_a_damaged_slot_is_missing_and_not_erased(disk: MemoryDisk, offset: int) -> None:
    vault = opened(disk)
    ann = created(vault, "u:ann")
    vault.sync()
    disk.flip(SLOTS, offset, mask=3)
    with pytest.raises(KeyMissing):
        opened(disk).open(ann)
    assert not vault.erased(ann)


def test_another_master_key_opens_nothing(disk: MemoryDisk) -> None:
    ann = created(opened(disk), "u:ann")
    with pytest.raises(KeyMissing, match=r"master\.key"):
        opened(disk, bytes(32)).open(ann)


def test_a_subject_of_nowhere_is_missing(disk: MemoryDisk) -> None:
    with pytest.raises(KeyMissing):
        opened(disk).open(b"x" * 12 + (99).to_bytes(4, "big"))


def test_more_subjects_than_cached_keys_work(disk: MemoryDisk) -> None:
    vault = opened(disk, cached_keys=2)
    subjects = [created(vault, f"u:{number}") for number in range(6)]
    sealed = [vault.seal(subject, EVENT, lsn, b"x%d" % lsn) for lsn, subject in enumerate(subjects)]
    for lsn in (0, 5, 3, 3, 1):
        assert vault.open(subjects[lsn]).unseal(EVENT, lsn, sealed[lsn]) == b"x%d" % lsn
