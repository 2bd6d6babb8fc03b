"""Owns reading the TOML that people write: into frozen models, errors with file, line, key and remedy."""

from testbed.load.quantities import (
    Bps,
    Bytes,
    Count,
    Flag,
    Memory,
    Pps,
    Seconds,
    Share,
    measure,
)
from testbed.load.toml import (
    CLAIMS,
    PLAYBOOKS,
    TOPOLOGIES,
    Configuration,
    KeyPath,
    Source,
    find_file,
    load_toml,
    names,
    read_toml,
    validate,
)

__all__ = [
    "CLAIMS",
    "PLAYBOOKS",
    "TOPOLOGIES",
    "Bps",
    "Bytes",
    "Configuration",
    "Count",
    "Flag",
    "KeyPath",
    "Memory",
    "Pps",
    "Seconds",
    "Share",
    "Source",
    "find_file",
    "load_toml",
    "measure",
    "names",
    "read_toml",
    "validate",
]
