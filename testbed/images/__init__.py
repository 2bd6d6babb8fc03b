"""The guests' root: assembled from Debian's packages and our programs, or a user's own."""

from testbed.images.builder import BuiltImage, build

__all__ = ["BuiltImage", "build"]
