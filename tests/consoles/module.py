"""Owns building the module that causes symptoms, for a kernel that was built here or for Debian's."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from testbed import kernels, paths, proc
from testbed.errors import BuildError
from testbed.kernels import builder, prebuilt, workspace
from testbed.model import KernelSpec

SOURCES = Path(__file__).parent / "module"
NAME = "symptoms"
FORM = "2"
"""To be raised when a module is built differently from the same source."""
MAKE_S = 600.0
APT_S = 600.0
_ENVIRONMENT = ("env", "-i", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=/")


def build(spec: KernelSpec, fragments: tuple[Path, ...] = (builder.FRAGMENT,)) -> bytes:
    """The module for that kernel. Raises BuildError with the compiler's words."""
    if spec.prebuilt:
        return _for_prebuilt()
    return _for_tree(builder.base_tree(spec, fragments=fragments))


def _for_tree(tree: Path) -> bytes:
    """Against a built tree, in a clone of it: the tree itself stays as it is."""
    with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
        space = workspace.clone(tree, Path(scratch), workspace.place(paths.cache_dir()))
        folder = space.built(NAME)
        shutil.copytree(SOURCES, folder)
        for goals in (["modules_prepare"], [f"M={NAME}", "KBUILD_MODPOST_WARN=1", "modules"]):
            done = space.run([*_ENVIRONMENT, "nice", "make", "-s", *goals], timeout_s=MAKE_S, check=False)
            if done.status != 0:
                raise BuildError(f"the module does not compile: {(done.stderr or done.stdout)[-2000:]}")
        return (folder / f"{NAME}.ko").read_bytes()


def _for_prebuilt() -> bytes:
    """Against Debian's headers, unpacked beside each other; nothing is installed."""
    image = prebuilt.find()
    release = image.image.removeprefix("linux-image-")
    common = f"{release.removesuffix('-amd64')}-common"
    series = ".".join(release.split(".")[:2])
    wanted = (f"linux-headers-{release}", f"linux-headers-{common}", f"linux-kbuild-{series}")
    with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
        root = Path(scratch)
        names = [f"{name}={image.version}" for name in wanted]
        proc.run(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", *names], timeout_s=APT_S, cwd=root
        )
        for package in root.glob("*.deb"):
            proc.run(["dpkg-deb", "-x", str(package), str(root)], timeout_s=APT_S)
        headers = root / "usr/src" / f"linux-headers-{release}"
        makefile = headers / "Makefile"
        makefile.write_text(re.sub(r"(?<![\w.])/usr/src/", f"{root}/usr/src/", makefile.read_text()))
        folder = root / NAME
        shutil.copytree(SOURCES, folder)
        argv = [*_ENVIRONMENT, "nice", "make", "-s", "-C", str(headers), f"M={folder}"]
        argv += [
            f"KCFLAGS=-fmacro-prefix-map={root}/=",
            "modules",
        ]  # what WARN() prints is the same everywhere
        done = proc.run(argv, timeout_s=MAKE_S, check=False)
        if done.status != 0:
            raise BuildError(f"the module does not compile: {(done.stderr or done.stdout)[-2000:]}")
        return (folder / f"{NAME}.ko").read_bytes()


def cached(name: str, spec: KernelSpec, fragments: tuple[Path, ...] = (builder.FRAGMENT,)) -> bytes:
    """As `build`, kept beside the kernels as long as neither kernel nor source changes."""
    source = proc.run(["sha256sum", *map(str, sorted(SOURCES.iterdir()))], timeout_s=30).stdout
    digest = builder.record.digest_of(
        {"kernel": kernels.digest(spec, fragments=fragments), "source": source, "form": FORM}
    )
    kept = paths.cache_dir() / "modules" / f"{name}-{digest}.ko"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        made = build(spec, fragments)
        kept.with_suffix(".new").write_bytes(made)
        kept.with_suffix(".new").rename(kept)
    return kept.read_bytes()
