"""Keys and page sessions."""

from __future__ import annotations

import stat
from base64 import b64encode
from pathlib import Path

import pytest

from events.errors import BadSettings
from events.ids import Millis
from serving.keys import FILE, SESSION_MS, Keys, PageSessions, basic, bearer

NOW = Millis(1_700_000_000_000)


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    made = Keys.open(tmp_path, create=True)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert Keys.open(tmp_path, create=True) == made
    assert Keys.open(tmp_path, create=False) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_two_stores_have_different_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = Keys.open(tmp_path / "a", create=True), Keys.open(tmp_path / "b", create=True)
    assert len({one.write_key, one.api_key, two.write_key, two.api_key}) == 4


def test_missing_keys_are_not_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(BadSettings):
        Keys.open(tmp_path, create=False)


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    Keys.open(tmp_path, create=True)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(BadSettings, match="chmod 600"):
        Keys.open(tmp_path, create=False)


@pytest.mark.parametrize("text", ["", "write_key = 3", 'write_key = "short"\napi_key = "short"', "not toml ["])
def test_a_damaged_file_is_refused_without_showing_a_key(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(BadSettings) as caught:
        Keys.open(tmp_path, create=False)
    assert "short" not in str(caught.value)


def test_keys_do_not_show_when_printed(tmp_path: Path) -> None:
    keys = Keys.open(tmp_path, create=True)
    assert keys.api_key not in repr(keys)
    assert keys.write_key not in f"{keys}"


def test_only_the_exact_key_is_taken(tmp_path: Path) -> None:
    keys = Keys.open(tmp_path, create=True)
    assert keys.is_api_key(keys.api_key)
    assert keys.is_write_key(keys.write_key)
    for wrong in ("", keys.api_key[:-1], keys.api_key + "x", keys.write_key, "é" * 40, "\udcff"):
        assert not keys.is_api_key(wrong)
    assert not keys.is_write_key(keys.api_key)


@pytest.mark.parametrize(
    ("header", "user"),
    [
        (b64encode(b"wk_1:").decode(), "wk_1"),
        (b64encode(b"wk_1").decode(), "wk_1"),
        (b64encode(b"wk_1:ignored").decode(), "wk_1"),
        ("!!!", ""),
        (b64encode(b"\xff\xfe").decode(), ""),
        ("", ""),
    ],
)
def test_the_user_of_basic_is_the_key(header: str, user: str) -> None:
    assert basic(f"Basic {header}")[0] == user


def test_schemes_are_told_apart_without_regard_to_case() -> None:
    assert bearer("BEARER t") == "t"
    assert bearer("Basic t") == ""
    assert basic("Bearer t") == ("", "")


def session(tmp_path: Path) -> PageSessions:
    return PageSessions(Keys.open(tmp_path, create=True))


def test_a_session_is_good_until_it_runs_out(tmp_path: Path) -> None:
    sessions = session(tmp_path)
    cookies = f"other=1; {sessions.name}={sessions.mint(NOW)}; more=2"
    assert sessions.valid(cookies, NOW)
    assert sessions.valid(cookies, Millis(NOW + SESSION_MS - 1))
    assert not sessions.valid(cookies, Millis(NOW + SESSION_MS))


def test_a_session_cannot_be_forged_or_stretched(tmp_path: Path) -> None:
    sessions = session(tmp_path)
    _, _, signature = sessions.mint(NOW).partition(".")
    for value in ("", ".", f"{NOW + 10**12}.{signature}", f"{NOW}.", f"x.{signature}", "é.é", signature):
        assert not sessions.valid(f"{sessions.name}={value}", NOW)


def test_a_session_of_another_service_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, theirs = session(tmp_path), session(tmp_path / "other")
    assert ours.name != theirs.name
    assert not ours.valid(f"{ours.name}={theirs.mint(NOW)}", NOW)


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(tmp_path: Path) -> None:
    cookie = session(tmp_path).cookie(NOW)
    assert b"HttpOnly" in cookie
    assert b"SameSite=Strict" in cookie
