"""Owns the kernels: names to specs (`resolve`), specs to digests, digests to bootable folders (`build`)."""

from testbed.kernels.builder import build, digest, hypothesis
from testbed.kernels.caches import cached, gc, held, overlay_works
from testbed.kernels.naming import names, resolve
from testbed.kernels.record import BuiltKernel, KernelRecord

__all__ = [
    "BuiltKernel",
    "KernelRecord",
    "build",
    "cached",
    "digest",
    "gc",
    "held",
    "hypothesis",
    "names",
    "overlay_works",
    "resolve",
]
