"""Owns the words on guests' command lines that change what a kernel does, each with its reason."""

from __future__ import annotations

NO_GROUPS = "cgroup_disable=memory"
FOR_ALL = {
    "nokaslr": "the addresses of symbols are looked up in the guest's memory from outside",
    NO_GROUPS: "memory cgroups take and free pages of their own",
    "transparent_hugepage=never": "huge pages change what reclaim frees and what a fault asks for",
}
FOR_PREBUILT = {
    # 6.1 crypto/algapi.c, kdf_sp800108.c: 0.4 s of a processor that is emulated
    "cryptomgr.notests": "a distribution's kernel tries its ciphers at each boot",
    "initcall_blacklist=crypto_kdf108_init": "as above",
}


def words(*, prebuilt: bool) -> tuple[str, ...]:
    """What a kernel is given."""
    return (*FOR_ALL, *(FOR_PREBUILT if prebuilt else ()))
