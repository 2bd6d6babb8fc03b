"""Owns patches that come as mail: an mbox read by git, a thread brought into order by b4, both offline.

A mail is anybody's: it is bounded in size and number, no name in it becomes a path, and what reads it has
no network.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, UsageError
from testbed.kernels.patchfile import MAX_PATCH_BYTES

MAX_MBOX_BYTES = 64 << 20
MAX_MAILS = 8192
READ_S = 120.0
_SECLUDED = ("unshare", "--user", "--map-root-user", "--net")
_FIELD = re.compile(r"^(Author|Email|Subject|Date): (.*)$", re.MULTILINE)
_COUNT = re.compile(r"\[[^\]]*?\b(\d{1,4})/(\d{1,4})\]")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that holds a patch: `text` is the whole patch file made of it."""

    author: str
    date: str
    subject: str
    text: str
    number: int | None = None
    of: int | None = None


def _alone(scratch: Path) -> dict[str, str]:
    """No configuration of the user's or of a repository around us, which could name programs to run."""
    return {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(scratch.resolve().parent),
        "LC_ALL": "C",
    }


def _bounded(path: Path) -> Path:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if size > MAX_MBOX_BYTES:
        raise UsageError(f"is larger than {MAX_MBOX_BYTES} bytes", where=str(path))
    return path.resolve()


def read_mbox(path: Path, scratch: Path) -> tuple[Mail, ...]:
    """The mails of an mbox that hold a patch, in its order. `scratch` is an empty folder of ours."""
    mbox = _bounded(path)
    split = scratch / "split"
    split.mkdir()
    argv = ["git", "mailsplit", "-b", "--keep-cr", "-d6", f"-o{split}", str(mbox)]
    done = proc.run(argv, timeout_s=READ_S, env=_alone(scratch), cwd=scratch, check=False)
    if done.status != 0:
        raise UsageError(f"is no mbox: {done.stderr.strip()[-300:]}", where=str(path))
    files = sorted(split.iterdir())
    if len(files) > MAX_MAILS:
        raise UsageError(f"holds more than {MAX_MAILS} mails", where=str(path))
    mails = [mail for file in files if (mail := _read(file, scratch, path)) is not None]
    if not mails:
        raise UsageError("holds no mail with a patch", where=str(path))
    return tuple(mails)


def _read(file: Path, scratch: Path, mbox: Path) -> Mail | None:
    """One mail; None if there is no patch in it, as in a cover letter or an answer."""
    message, patch = scratch / "message", scratch / "patch"
    done = proc.run(
        ["git", "mailinfo", "-b", str(message), str(patch)],
        timeout_s=READ_S,
        env=_alone(scratch),
        cwd=scratch,
        stdin=file.read_bytes(),
        check=False,
    )
    if done.status != 0 or not patch.is_file():
        raise UsageError(
            f"mail {int(file.name)} cannot be read: {done.stderr.strip()[-300:]}", where=str(mbox)
        )
    # Any byte of it, and its line ends: what a mail brought is refused or taken, never mended in silence.
    diff = patch.read_bytes().decode(errors="surrogateescape")
    if not re.search(r"^(?:diff --git |--- )\S", diff, re.MULTILINE):
        return None
    if len(diff) > MAX_PATCH_BYTES:
        raise UsageError(f"mail {int(file.name)} is larger than {MAX_PATCH_BYTES} bytes", where=str(mbox))
    told = dict(_FIELD.findall(done.stdout))
    raw = file.read_bytes()[: 1 << 16].decode(errors="replace")
    count = _COUNT.search(_subject(raw))
    subject = re.sub(r"^(?:\[[^\]]*\]\s*)+", "", told.get("Subject", "")).strip()
    author = f"{told.get('Author', '')} <{told.get('Email', '')}>"
    head = f"From: {author}\nDate: {told.get('Date', '')}\nSubject: [PATCH] {subject}\n\n"
    return Mail(
        author=told.get("Author", ""),
        date=told.get("Date", ""),
        subject=subject,
        text=head + message.read_bytes().decode(errors="surrogateescape") + diff,
        number=int(count.group(1)) if count else None,
        of=int(count.group(2)) if count else None,
    )


def _subject(raw: str) -> str:
    found = re.search(
        r"^Subject:[ \t]*(.*(?:\n[ \t].*)*)", raw.split("\n\n", 1)[0], re.MULTILINE | re.IGNORECASE
    )
    return found.group(1) if found else ""


def check_whole(mails: Sequence[Mail], where: str) -> None:
    """Refuses a series of which a mail is missing, or that holds one twice."""
    counted = [mail for mail in mails if mail.of is not None]
    if not counted:
        return
    total = max(mail.of or 0 for mail in counted)
    numbers = [mail.number for mail in counted]
    missing = [str(number) for number in range(1, total + 1) if number not in numbers]
    if missing:
        raise UsageError(f"the series is not whole: no patch {', '.join(missing)} of {total}", where=where)
    if len(set(numbers)) != len(numbers):
        raise UsageError(
            "holds a patch of the series twice",
            hint="a thread with several versions is read as thread:FILE, which takes the newest",
            where=where,
        )


def b4_program() -> str | None:
    """b4, beside our interpreter or on the path."""
    beside = Path(sys.executable).with_name("b4")
    return str(beside) if beside.is_file() else shutil.which("b4")


def order_thread(path: Path, scratch: Path) -> Path:
    """The newest version of the series in a thread, as an mbox in order, with the trailers that it got."""
    program = b4_program()
    if program is None:
        raise MissingCapability("no b4 on this host", hint="install it: pip install 'testbed[mail]'")
    mbox = _bounded(path)
    out, home = scratch / "out", scratch / "home"
    for folder in (out, home):
        folder.mkdir()
    argv = [*_SECLUDED, program, "--offline-mode", "--no-stdin", "-c", "b4.attestation-policy=off", "am"]
    argv += ["-C", "--no-cover", "-n", "series", "-o", str(out), "-m", str(mbox)]
    homes = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    env = _alone(home) | dict.fromkeys(homes, str(home))
    done = proc.run(argv, timeout_s=READ_S, env=env, cwd=home, check=False)
    found = sorted(out.glob("*.mbx"))
    if done.status != 0 or len(found) != 1:
        said = (done.stdout + done.stderr).strip()[-600:]
        raise UsageError(f"b4 finds no series in it: {said}", where=str(path))
    return found[0]
