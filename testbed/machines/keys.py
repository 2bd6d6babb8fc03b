"""Owns a lab's keys: the guests' host key and the login key, made anew for each lab."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

KIND = b"ssh-ed25519"


@dataclass(frozen=True, slots=True)
class LabKeys:
    """One host key for all guests of a lab, and the key that logs in to them as root.

    `host_dropbear` is dropbear's own format, `host_public` and `login_public` are lines as in
    authorized_keys, `login_private` is an OpenSSH private key (PEM).
    """

    host_dropbear: bytes
    host_public: str
    login_private: str
    login_public: str


def make_keys() -> LabKeys:
    """Two new ed25519 keys."""
    host, login = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    seed = host.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return LabKeys(
        # dropbear's ed25519.c, buf_put_ed25519_priv_key: the kind, then seed and public key as one string
        host_dropbear=_string(KIND) + _string(seed + _raw_public(host)),
        host_public=_line(host),
        login_private=login.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        login_public=_line(login),
    )


def _line(key: Ed25519PrivateKey) -> str:
    blob = _string(KIND) + _string(_raw_public(key))
    return f"{KIND.decode()} {base64.b64encode(blob).decode()} testbed"


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _string(data: bytes) -> bytes:
    """An SSH string (RFC 4251, 5): its length in four bytes, then itself."""
    return struct.pack(">I", len(data)) + data
