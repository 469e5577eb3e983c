"""Sealing of templates and images, and the master key's file."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import WhorlError
from app.storage.vault import Vault, _associated, load_or_create_master_key

VAULT = Vault(bytes(range(32)))
OTHER = Vault(bytes(range(1, 33)))
OWNER = ("default", "anna")
LABEL = ("image", "t1")


@given(data=st.binary(max_size=300), gallery=st.text(max_size=9), person=st.text(max_size=9))
def test_what_was_sealed_opens(data: bytes, gallery: str, person: str) -> None:
    key = VAULT.new_key((gallery, person))
    sealed = VAULT.seal(key, (gallery, person), LABEL, data)
    assert VAULT.open(key, (gallery, person), LABEL, sealed) == data
    assert len(key) == 60
    assert len(sealed) == len(data) + 28


def test_nothing_shows_through() -> None:
    data = b"the same ridges" * 20
    key = VAULT.new_key(OWNER)
    first, second = (VAULT.seal(key, OWNER, LABEL, data) for _ in range(2))
    assert first != second
    assert b"ridges" not in first
    assert VAULT.new_key(OWNER) != key


@pytest.mark.parametrize(
    ("owner", "label"),
    [
        (OWNER, ("image", "t2")),
        (OWNER, ("descriptor", "t1")),
        (OWNER, ("image", "t1", "m1")),
        (OWNER, ("image",)),
    ],
)
def test_a_seal_holds_for_one_label(owner: tuple[str, str], label: tuple[str, ...]) -> None:
    key = VAULT.new_key(OWNER)
    sealed = VAULT.seal(key, OWNER, LABEL, b"x")
    with pytest.raises(WhorlError) as caught:
        VAULT.open(key, owner, label, sealed)
    assert caught.value.slug == "store_damaged"


@pytest.mark.parametrize("owner", [("default", "bert"), ("guests", "anna"), ("defaultanna", "")])
def test_a_key_is_of_one_person(owner: tuple[str, str]) -> None:
    key = VAULT.new_key(OWNER)
    sealed = VAULT.seal(key, OWNER, LABEL, b"x")
    with pytest.raises(WhorlError):
        VAULT.open(key, owner, LABEL, sealed)
    with pytest.raises(WhorlError):
        VAULT.open(VAULT.new_key(owner), owner, LABEL, sealed)


@given(position=st.integers(0, 39), flip=st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, flip: int) -> None:
    key = VAULT.new_key(OWNER)
    sealed = bytearray(VAULT.seal(key, OWNER, LABEL, b"twelve bytes"))
    sealed[position] ^= flip
    with pytest.raises(WhorlError) as caught:
        VAULT.open(key, OWNER, LABEL, bytes(sealed))
    assert caught.value.slug == "store_damaged"
    assert "image t1" in caught.value.detail


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(28)])
def test_what_is_no_seal_is_noticed(sealed: bytes) -> None:
    with pytest.raises(WhorlError) as caught:
        VAULT.open(VAULT.new_key(OWNER), OWNER, LABEL, sealed)
    assert caught.value.slug == "store_damaged"


def test_another_master_key_is_named() -> None:
    key = VAULT.new_key(OWNER)
    sealed = VAULT.seal(key, OWNER, LABEL, b"x")
    VAULT.check_proof(VAULT.proof())
    attempts = (
        lambda: OTHER.open(key, OWNER, LABEL, sealed),
        lambda: OTHER.seal(key, OWNER, LABEL, b"x"),
        lambda: VAULT.open(bytes(60), OWNER, LABEL, sealed),
        lambda: OTHER.check_proof(VAULT.proof()),
        lambda: Vault(b"too short"),
    )
    for attempt in attempts:
        with pytest.raises(WhorlError) as caught:
            attempt()
        assert caught.value.slug == "wrong_master_key"


def test_master_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "master.key"
    key = load_or_create_master_key(path)
    assert len(key) == 32
    assert load_or_create_master_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert load_or_create_master_key(tmp_path / "another.key") != key


def test_all_who_start_at_once_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = [tmp_path / "master.key"] * 16
        assert len(set(pool.map(load_or_create_master_key, paths))) == 1


@pytest.mark.parametrize("content", [b"", b"not hexadecimal", b"abcd\n", b"\xff\x00\xfe"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(WhorlError) as caught:
        load_or_create_master_key(path)
    assert caught.value.slug == "wrong_master_key"
    assert path.read_bytes() == content


def test_an_opener_tells_owners_apart() -> None:
    ada, bob = ("default", "ada"), ("default", "bob")
    keys = {owner: VAULT.new_key(owner) for owner in (ada, bob)}
    unseal = VAULT.opener()
    for owner in (ada, ada, bob, ada):
        sealed = VAULT.seal(keys[owner], owner, LABEL, owner[1].encode())
        assert unseal(keys[owner], owner, LABEL, sealed) == owner[1].encode()
        assert VAULT.open(keys[owner], owner, LABEL, sealed) == owner[1].encode()
    with pytest.raises(WhorlError) as caught:
        unseal(keys[ada], bob, LABEL, sealed)
    assert caught.value.slug == "wrong_master_key"
    with pytest.raises(WhorlError) as caught:
        unseal(keys[ada], ada, LABEL, sealed[:-1])
    assert caught.value.slug == "store_damaged"
    assert unseal(keys[ada], ada, LABEL, sealed) == b"ada"


@given(parts=st.lists(st.text(), max_size=4))
def test_what_a_seal_is_bound_to_is_written_as_json(parts: list[str]) -> None:
    # Stores that were written before must open.
    assert _associated(parts) == json.dumps(parts).encode()
