"""Encryption of templates and kept images: AES-256-GCM, a key a person, wrapped by a master key.

With a person's wrapped key goes everything that was sealed with it, also in older copies of the
ciphertext (cryptographic erase, NIST SP 800-88 rev. 1 section 2.6).
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.errors import WhorlError

log = logging.getLogger(__name__)

KEY_BYTES = 32
_NONCE_BYTES = 12

Label = tuple[str, ...]
Open = Callable[[bytes, tuple[str, str], Label, bytes], bytes]
"""Of a wrapped key, its owner, a label and what was sealed under it; see ``Vault.open``."""


class Vault:
    """Makes the keys of persons, and seals and opens with them.

    An owner is a gallery and the id of a person in it. A label tells what is sealed; under another
    label, or another owner, it does not open.
    """

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise _wrong_key(f"A master key has {KEY_BYTES} bytes, this one {len(master_key)}.")
        self._master = AESGCM(master_key)
        self._told: set[Label] = set()

    def new_key(self, owner: tuple[str, str]) -> bytes:
        """A fresh key of a person, wrapped."""
        return _encrypt(self._master, AESGCM.generate_key(KEY_BYTES * 8), ("key", *owner))

    def seal(self, wrapped_key: bytes, owner: tuple[str, str], label: Label, data: bytes) -> bytes:
        """Encrypt: nonce, ciphertext and authentication tag.

        Raises:
            WhorlError: the key was wrapped by another master key (slug ``wrong_master_key``).
        """
        return _encrypt(self._unwrap(wrapped_key, owner), data, (*label, *owner))

    def open(self, wrapped_key: bytes, owner: tuple[str, str], label: Label, data: bytes) -> bytes:
        """Decrypt.

        Raises:
            WhorlError: the key was wrapped by another master key (slug ``wrong_master_key``), or
                the bytes are not what was sealed so (``store_damaged``).
        """
        return self.opener()(wrapped_key, owner, label, data)

    def opener(self) -> Open:
        """The same as ``open``; unwraps a key once for all of its owner's that follow each other,
        and is for one thread.
        """
        last: tuple[bytes, tuple[str, str]] | None = None
        key = self._master

        def open_next(
            wrapped_key: bytes, owner: tuple[str, str], label: Label, data: bytes
        ) -> bytes:
            nonlocal last, key
            if last != (wrapped_key, owner):
                key, last = self._unwrap(wrapped_key, owner), (wrapped_key, owner)
            try:
                return _decrypt(key, data, (*label, *owner))
            except (InvalidTag, ValueError) as error:
                raise _damaged(label) from error

        return open_next

    def tell_of(self, label: Label, problem: Exception) -> None:
        """Log that something cannot be used, once as long as the process runs."""
        if label not in self._told:
            self._told.add(label)
            log.error("%s of template %s is passed over: %s", label[0], label[1], problem)

    def proof(self) -> bytes:
        """A token by which the same master key is known again."""
        return _encrypt(self._master, b"", ("proof",))

    def check_proof(self, proof: bytes) -> None:
        """Make sure that the token was made with this master key.

        Raises:
            WhorlError: it was not (slug ``wrong_master_key``).
        """
        try:
            _decrypt(self._master, proof, ("proof",))
        except (InvalidTag, ValueError) as error:
            raise _another_key() from error

    def _unwrap(self, wrapped_key: bytes, owner: tuple[str, str]) -> AESGCM:
        try:
            return AESGCM(_decrypt(self._master, wrapped_key, ("key", *owner)))
        except (InvalidTag, ValueError) as error:
            raise _another_key() from error


def load_or_create_master_key(path: Path) -> bytes:
    """Read the master key, or make one in a file that only its owner can read.

    Several processes may try at once: the file appears whole, and all read the same one.

    Raises:
        WhorlError: the file does not hold a key (slug ``wrong_master_key``).
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create_key_file(path)
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except ValueError as error:
        raise _wrong_key(f"{path} does not hold a master key in hexadecimal.") from error
    if len(key) != KEY_BYTES:
        raise _wrong_key(f"{path} holds {len(key)} bytes, a master key has {KEY_BYTES}.")
    return key


def _create_key_file(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where another process was first, and never shows half a file.
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that a folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encrypt(key: AESGCM, data: bytes, bound: Sequence[str]) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, data, _associated(bound))


def _decrypt(key: AESGCM, sealed: bytes, bound: Sequence[str]) -> bytes:
    view = memoryview(sealed)
    return key.decrypt(view[:_NONCE_BYTES], view[_NONCE_BYTES:], _associated(bound))


def _associated(bound: Sequence[str]) -> bytes:
    """Associated data: JSON, so that no two lists of parts run together."""
    return f"[{', '.join(map(encode_basestring_ascii, bound))}]".encode()


def _damaged(label: Label) -> WhorlError:
    return WhorlError(
        f"What is stored as {' '.join(label)} is damaged; restore a backup or enrol again.",
        slug="store_damaged",
        label=label,
    )


def _another_key() -> WhorlError:
    return _wrong_key("The store was sealed with another master key; put that key's file back.")


def _wrong_key(detail: str) -> WhorlError:
    return WhorlError(detail, slug="wrong_master_key")
