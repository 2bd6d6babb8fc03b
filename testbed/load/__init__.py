"""Owns reading the TOML that people write: into frozen models, errors with file, line, key and remedy."""

from testbed.load.quantities import (
    UNITLESS,
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
    "UNITLESS",
    "Bps",
    "Bytes",
    "Configuration",
    "Count",
    "Flag",
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
