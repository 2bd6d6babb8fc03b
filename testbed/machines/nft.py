"""Owns libnftables (by ctypes): rule sets as JSON, applied whole or not at all."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from typing import Any

from testbed.errors import MissingCapability, TestbedFault

_JSON_IN_OUT = 1 << 4


class Refused(TestbedFault):
    """The kernel, or libnftables for it, would not have a rule set."""


class Nft:
    """A context of libnftables, for one thread at a time. There is no binding on PyPI."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libnftables.so.1")
        except OSError as error:
            raise MissingCapability("no libnftables.so.1", hint="apt-get install libnftables1") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._context = library.nft_ctx_new(0)
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_output_set_flags(self._context, _JSON_IN_OUT)

    def run(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Applies all the commands or none; returns what they list. Raises Refused."""
        text = json.dumps({"nftables": list(commands)})
        status = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        complaint = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status != 0:
            raise Refused(f"nftables refused {text[:300]}: {complaint.decode(errors='replace').strip()}")
        return list(json.loads(output)["nftables"]) if output.strip() else []
