"""Owns Debian's archive: an apt of our own, beside the host's, that may follow any suite.

Where the archive lies is what the host's own apt says of Debian; proxies are the host's too. All else is
ours: lists, cache, preferences and the one keyring that signatures are checked with. Nothing is installed,
no root is needed, and what apt leaves lies in the folder that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, TestbedFault

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UPDATE_S, DOWNLOAD_S, ASK_S = 600.0, 1800.0, 60.0
_TARGET = "$(SITE) $(ORIGIN) $(LABEL)"
_TAKEN = re.compile(r"Acquire::(?:https?|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date)\b[^\n]*;")
"""What of the host's configuration holds for us as well: how to reach an archive, not whether to trust it."""
_UNSIGNED = re.compile(
    r"NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|not signed|signatures? (?:couldn't be|were|was) |"
    r"At least one invalid signature|GPG error"
)
_NO_SUITE = re.compile(r"does not have a Release file|404  Not Found")
_SUITE = re.compile(r"[a-z][a-z0-9-]{1,40}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,80}")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]{0,80}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A package as the signed lists of a suite describe it, the newest one."""

    package: str
    version: str
    suite: str


def site() -> str:
    """Where the host's apt gets Debian from. Raises MissingCapability if it names no such place."""
    done = proc.run(
        ["apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages"], timeout_s=ASK_S, check=False
    )
    for line in done.stdout.splitlines():
        where, _, kind = line.partition(" ")
        if kind == "Debian Debian":
            return where
    raise MissingCapability(
        "this host's apt names no archive of Debian's",
        hint="let apt's sources name it, and run 'apt-get update' as root; or give the base as a file",
    )


def _checked(shape: re.Pattern[str], text: str, what: str) -> str:
    if not shape.fullmatch(text):
        raise TestbedFault(f"{text!r} is not {what}")
    return text


def _quoted(path: Path) -> str:
    """A path as apt's configuration and its lists of sources can hold it."""
    text = str(path.absolute())
    if re.search(r'["\s;\\\[\]]', text):
        raise TestbedFault(f"apt can not work in {text!r}", hint="set TESTBED_CACHE to a path without blanks")
    return text


class Archive:
    """One suite of Debian's, followed in `folder` (which is ours alone, and may be dropped afterwards)."""

    def __init__(self, folder: Path, suite: str, *, sources: bool = False) -> None:
        self.folder = folder
        self.suite = _checked(_SUITE, suite, "a suite")
        self._kinds = "deb deb-src" if sources else "deb"

    def update(self) -> None:
        """Fetches the suite's lists and checks their signature. Raises MissingCapability."""
        if not KEYRING.is_file():
            raise MissingCapability(
                "the keys of Debian's archive are not on this host",
                hint="install the Debian package debian-archive-keyring",
            )
        self._configure(site())
        done = self._apt("apt-get", "-q", "update", timeout_s=UPDATE_S)
        judge_update(done, self.suite)

    def newest(self, package: str) -> Candidate:
        """The newest version of a package. Raises MissingCapability if the suite has none."""
        _checked(_PACKAGE, package, "a package")
        done = self._apt("apt-cache", "show", "--no-all-versions", package, timeout_s=ASK_S)
        found = re.search(r"^Version: (\S+)$", done.stdout, re.MULTILINE)
        if done.status != 0 or found is None:
            raise MissingCapability(
                f"Debian's suite {self.suite} has no package {package}",
                hint="it may have moved on: give another base, or this one as a file or a tree",
            )
        return Candidate(package, _checked(_VERSION, found.group(1), "a version"), self.suite)

    def download(self, candidate: Candidate, into: Path) -> Path:
        """The package's file, which apt compared with the hash in the signed lists."""
        self._fetch(["download", f"{candidate.package}={candidate.version}"], into)
        return next(into.glob("*.deb"))

    def source_versions(self, package: str) -> tuple[str, ...]:
        """The versions of a source package, the newest first. Needs an archive with `sources`."""
        done = self._apt("apt-cache", "showsrc", _checked(_PACKAGE, package, "a package"), timeout_s=ASK_S)
        found = re.findall(r"^Version: (\S+)$", done.stdout, re.MULTILINE)
        return tuple(reversed([_checked(_VERSION, version, "a version") for version in found]))

    def download_source(self, package: str, version: str, into: Path) -> Path:
        """A source package's files, signature and hashes checked by apt; returns its .dsc."""
        self._fetch(["source", "--download-only", f"{package}={version}"], into)
        return next(into.glob("*.dsc"))

    def _fetch(self, words: Sequence[str], into: Path) -> None:
        done = self._apt("apt-get", "-q", *words, timeout_s=DOWNLOAD_S, cwd=into)
        if done.status != 0:
            raise MissingCapability(
                f"{' '.join(words)} failed in Debian's suite {self.suite}: {done.stderr.strip()[-600:]}",
                hint="is the archive to be reached, and is there space on the disk?",
            )

    def _apt(self, *argv: str, timeout_s: float, cwd: Path | None = None) -> proc.Completed:
        env = {"APT_CONFIG": str((self.folder / "apt.conf").absolute()), "LC_ALL": "C"}
        return proc.run(argv, timeout_s=timeout_s, env=env, check=False, cwd=cwd)

    def _configure(self, where: str) -> None:
        place = _quoted(self.folder)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "debian.sources").write_text(
            f"Types: {self._kinds}\nURIs: {where}\nSuites: {self.suite}\nComponents: main\n"
            f"Signed-By: {KEYRING}\n"
        )
        host = proc.run(["apt-config", "dump"], timeout_s=ASK_S).stdout
        taken = [line for line in host.splitlines() if _TAKEN.fullmatch(line)]
        own = [
            f'Dir::State "{place}/state";',
            f'Dir::State::status "{place}/status";',
            f'Dir::Cache "{place}/cache";',
            f'Dir::Etc::SourceList "{place}/debian.sources";',
            *(
                f'Dir::Etc::{name} "/dev/null";'
                for name in ("SourceParts", "Main", "Parts", "Preferences", "PreferencesParts")
            ),
            'APT::Sandbox::User "";',  # apt's own sandbox user cannot write to a folder of ours
            'APT::Update::Error-Mode "any";',
            'Acquire::Languages "none";',
            'Acquire::AllowInsecureRepositories "false";',
            'Acquire::AllowWeakRepositories "false";',
            'Acquire::AllowDowngradeToInsecureRepositories "false";',
            'APT::Get::AllowUnauthenticated "false";',
        ]
        (self.folder / "apt.conf").write_text("\n".join([*taken, *own]) + "\n")


def judge_update(done: proc.Completed, suite: str) -> None:
    """Reads what `apt-get update` left: nothing if all went well, else why the suite is not to be had."""
    said = done.stdout + done.stderr
    complaints = "\n".join(line for line in said.splitlines() if line[:2] in ("E:", "W:"))
    if _UNSIGNED.search(complaints):
        raise MissingCapability(
            f"the signature of Debian's suite {suite} does not hold: {complaints[:600]}",
            hint="update the package debian-archive-keyring; else the archive is not to be trusted",
        )
    if _NO_SUITE.search(said):
        raise MissingCapability(
            f"the archive that this host uses offers no suite {suite}",
            hint="let apt's sources name an archive that does, or give the base as a file or a tree",
        )
    if done.status != 0 or complaints:
        raise MissingCapability(
            f"the lists of Debian's suite {suite} cannot be fetched: {complaints[:600]}",
            hint="is the archive to be reached? then: apt-get update, as root, shows what is wrong",
        )
