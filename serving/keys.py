"""Who may ask: the write key, the API key, and the page's session.

The *write key* is public (it ships in web pages) and lets its holder add facts. The *API key* is secret and allows
everything. Both are made at the first start and lie in ``DIR/keys.toml``, mode 0600. A *page session* lets the built-in
page call the API from a browser without the API key ever reaching it: a cookie holding an expiry and its HMAC by the
API key, HttpOnly and SameSite=Strict, accepted only for requests the browser itself marks as same-origin.

Nothing here is ever logged: keys are kept out of ``repr`` and compared in constant time.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import tomllib
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from events.errors import BadSettings
from events.ids import Millis

FILE = "keys.toml"
SESSION_MS = 12 * 3_600_000
"""How long a page session lasts: a working day. Reloading the page renews it."""


@dataclass(frozen=True)
class Keys:
    """The two keys of a store."""

    write_key: str = field(repr=False)
    api_key: str = field(repr=False)

    @classmethod
    def open(cls, data: Path, *, create: bool) -> Keys:
        """The keys in ``data``; made there when missing and ``create``.

        Raises `BadSettings` when the file is missing, wrong, or readable by others.
        """
        path = data / FILE
        if create and not path.exists():
            _write_once(path, cls(write_key="wk_" + secrets.token_hex(16), api_key="sk_" + secrets.token_hex(32)))
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Keys:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            given = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadSettings(f"{path} cannot be read ({type(error).__name__}): restore it from a backup") from error
        if mode & 0o077:
            raise BadSettings(f"{path} is readable by others (mode {mode:04o}): chmod 600 it")
        keys = {name: given.get(name) for name in ("write_key", "api_key")}
        for name, value in keys.items():
            if not isinstance(value, str) or len(value) < 16 or not value.isascii() or not value.isprintable():
                raise BadSettings(f"{path}: {name} must be a string of at least 16 printable ASCII characters")
        return cls(write_key=str(keys["write_key"]), api_key=str(keys["api_key"]))

    def is_write_key(self, given: str) -> bool:
        return _same(given, self.write_key)

    def is_api_key(self, given: str) -> bool:
        return _same(given, self.api_key)


def _write_once(path: Path, keys: Keys) -> None:
    """Create the file whole or not at all; of two processes starting at once the first wins."""
    draft = path.with_name(f".{FILE}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, f'write_key = "{keys.write_key}"\napi_key = "{keys.api_key}"\n'.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def bearer(authorization: str) -> str:
    """The token of an ``Authorization: Bearer`` header, or empty.

    >>> bearer("Bearer sk_1"), bearer("bearer sk_1"), bearer("Basic eDo=")
    ('sk_1', 'sk_1', '')
    """
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def basic(authorization: str) -> tuple[str, str]:
    """(user, password) of an ``Authorization: Basic`` header, empty where there is none. A missing colon is fine: some
    SDKs send the bare key.

    >>> basic("Basic d2tfMTo="), basic("Basic d2tfMQ=="), basic("Bearer x"), basic("Basic ???")
    (('wk_1', ''), ('wk_1', ''), ('', ''), ('', ''))
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = b64decode(token.strip(), validate=True).decode().partition(":")
    except (Base64Error, ValueError):
        return "", ""
    return user, password


class PageSessions:
    """Makes and checks page sessions. Stateless, so every replica accepts what any of them made.

    ``name`` of the cookie is derived from the API key: cookies are shared by all ports of a host, and two services on
    one machine must not overwrite each other's.
    """

    def __init__(self, keys: Keys) -> None:
        self._key = blake2b(keys.api_key.encode(), digest_size=32, person=b"everfold-page").digest()
        self.name = "everfold_page_" + blake2b(self._key, digest_size=4).hexdigest()

    def mint(self, now: Millis) -> str:
        expiry = str(now + SESSION_MS)
        return f"{expiry}.{self._sign(expiry)}"

    def cookie(self, now: Millis) -> bytes:
        """The ``Set-Cookie`` value."""
        rest = f"Path=/; Max-Age={SESSION_MS // 1000}; HttpOnly; SameSite=Strict"
        return f"{self.name}={self.mint(now)}; {rest}".encode()

    def valid(self, cookies: str, now: Millis) -> bool:
        """Whether a ``Cookie`` header carries a session made here that has not run out."""
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.name:
                expiry, _, signature = value.partition(".")
                return _same(signature, self._sign(expiry)) and int(expiry) > now
        return False

    def _sign(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode(), "sha256").hexdigest()
