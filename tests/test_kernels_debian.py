"""Debian's archive and its own series as they are today: a base fetched, and hundreds of patches applied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed import proc
from testbed.errors import BuildError, MissingCapability
from testbed.kernels import applying, patchset, source
from testbed.kernels.archive import Archive

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not shutil.which("apt-get"), reason="no apt on this host: the archive is asked with it"
    ),
]
SUITE = source.SUITES["6.1"]


def _download(archive: Archive, into: Path) -> Path:
    """The newest source of the kernel that can be fetched: lists may run ahead of a mirror's files."""
    failed = []
    for version in archive.source_versions("linux"):
        folder = into / str(len(failed))
        folder.mkdir()
        try:
            return archive.download_source("linux", version, folder)
        except MissingCapability as error:
            failed.append(str(error))
    raise MissingCapability("\n".join(failed))


def test_debians_own_series_applies_to_its_own_tarball(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "apt", SUITE, sources=True)
    archive.folder.mkdir()
    archive.update()
    folder = _download(archive, tmp_path).parent
    (original,) = folder.glob("linux_*.orig.tar.xz")
    (packaging,) = folder.glob("linux_*.debian.tar.xz")
    tree = tmp_path / "tree"
    tree.mkdir()
    words = ["nice", "tar", "-x", "-C", str(tree), "--strip-components=1", "-f"]
    proc.run([*words, str(original)], timeout_s=900)
    proc.run(["tar", "-x", "-C", str(folder), "-f", str(packaging)], timeout_s=60)
    series = patchset.read_series(folder / "debian/patches/series")
    assert len(series) > 100 and any("/" in patch.name for patch in series)
    for patch in series:
        applying.apply(patch.text(), patch.path, tree)
    with pytest.raises(BuildError, match="does not apply"):
        applying.apply(series[-1].text(), series[-1].path, tree)


def test_a_base_is_fetched_with_its_signature_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    said: list[str] = []
    found = source.find("5.10", lambda stage, _: said.append(stage))
    assert found.version.startswith("5.10.") and found.tarball.is_file()
    assert [text.split()[0] for text in said] == ["looking", "downloading", "unpacking"]
    assert source.find("5.10", lambda *_: pytest.fail("fetched twice")) == found
    assert {path.name for path in found.tarball.parent.iterdir()} == {found.tarball.name, "fetched.json"}
    assert not list((tmp_path / "sources/.new").iterdir()), "what apt left is gone"
