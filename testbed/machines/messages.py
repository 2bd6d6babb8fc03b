"""Owns the words between controller and broker: one JSON object a packet, file descriptors beside it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

MAX_BYTES = 128 * 1024
MAX_FDS = 4


def send(channel: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Sends one message. Raises ValueError if it is too long, OSError if the other end is gone."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        raise ValueError(f"a message of {len(data)} bytes: at most {MAX_BYTES} can be sent")
    socket.send_fds(channel, [data], list(fds))


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Waits for one message and its descriptors (then ours to close).

    Raises EOFError when the other end is closed, ValueError when it is no message of ours.
    """
    data, fds, flags, _ = socket.recv_fds(channel, MAX_BYTES, MAX_FDS)
    if not data:
        raise EOFError
    try:
        message = json.loads(data)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not isinstance(message, dict):
            raise ValueError("a message was cut or is no object")
    except (ValueError, RecursionError) as error:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"no message of ours: {error}") from error
    return message, fds
