"""Owns making set folders: from a quilt series, a git range, an mbox or a thread, or as a skeleton."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from testbed import proc
from testbed.errors import UsageError
from testbed.kernels import given, mail, patchset
from testbed.load import load_toml

GIT, THREAD, MBOX = given.GIT, "thread:", "mbox:"
RANGE_S = 300.0
_SLUG = re.compile(r"[^a-z0-9]+")
KNOWN = "a folder with a series, git:PATH#FROM..TO, mbox:FILE (or FILE.mbox), thread:FILE"


@dataclass(frozen=True, slots=True)
class About:
    """What a new set's set.toml says."""

    title: str
    who: str
    date: str
    subject: str
    bases: tuple[str, ...]
    differs: str = "Not at all: taken over as it is."


def _day(date: str) -> str:
    """`2007-08-15` of a mail's date; as it stands where it is none."""
    try:
        return parsedate_to_datetime(date).date().isoformat()
    except ValueError:
        return date.strip() or "unknown"


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def set_toml(about: About) -> str:
    """A set.toml, whole but for what only a person can say."""
    return (
        "# SPDX-License-Identifier: GPL-2.0-only\n"
        f"title = {_toml(about.title[:200])}\n"
        f"differs = {_toml(about.differs)}\n"
        f"bases = [{', '.join(map(_toml, about.bases))}]\n\n"
        "[[idea]]\n"
        f"who = {_toml(about.who)}\ndate = {_toml(about.date)}\nsubject = {_toml(about.subject)}\n\n"
        '# scenarios = ["flood"]    (goes above: the playbooks that it is for)\n\n'
        "# [counters]\n"
        '# "NAME/FILE" = "file below /sys/kernel/debug: what it counts where the new code ran"\n\n'
        "# [expect]\n"
        '# flood = "recovered"\n'
    )


def _place(name: str, root: Path) -> Path:
    if not patchset.NAME.fullmatch(name) or name in ("stock", "debian"):
        raise UsageError(
            f"'{name}' can not be a set's name", hint="lower-case letters, digits, '.' and '-'", where=name
        )
    if (root / name).exists():
        raise UsageError("is there already", hint="take another name", where=str(root / name))
    return root / name


def skeleton(name: str, root: Path, bases: tuple[str, ...]) -> Path:
    """A new set without patches."""
    folder = _place(name, root)
    about = About(
        title=f"{name}: what it does, in one line",
        who="whose idea it is",
        date="YYYY-MM-DD",
        subject="of the mail that says it",
        bases=bases,
        differs="How the patches differ from the original.",
    )
    folder.mkdir(parents=True)
    (folder / "set.toml").write_text(set_toml(about))
    (folder / "series").write_text("# the patches in order, one a line: git format-patch -o THIS-FOLDER\n")
    return folder


def take(name: str, origin: str, root: Path, bases: tuple[str, ...]) -> patchset.PatchSet:
    """Makes the set `name` of what `origin` names (KNOWN). What is wrong leaves nothing behind."""
    folder = _place(name, root)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as scratch:
        new = Path(scratch) / name
        new.mkdir()
        about = _fill(new, origin, Path(scratch), bases)
        (new / "set.toml").write_text(set_toml(about))
        load_toml(new / "set.toml", patchset.SetFile)
        patchset.read_series(new / patchset.SERIES)
        new.rename(folder)
    return patchset.load(name, root)


def _fill(new: Path, origin: str, scratch: Path, bases: tuple[str, ...]) -> About:
    if origin.startswith(GIT):
        return _of_range(new, origin, bases)
    if origin.startswith(THREAD):
        path = Path(origin.removeprefix(THREAD)).expanduser()
        mails = mail.read_mbox(mail.order_thread(path, scratch), scratch)
        mail.check_whole(mails, str(path))
        return _of_mails(new, mails, bases)
    path = Path(origin.removeprefix(MBOX)).expanduser()
    if path.is_dir() or path.name == patchset.SERIES:
        return _of_series(new, path / patchset.SERIES if path.is_dir() else path, bases)
    if not path.is_file():
        raise UsageError("no such series or mbox", hint=f"known are {KNOWN}", where=origin)
    mails = mail.read_mbox(path, scratch)
    mail.check_whole(mails, str(path))
    return _of_mails(new, mails, bases)


def _of_series(new: Path, series: Path, bases: tuple[str, ...]) -> About:
    """Copies what the series lists, under the same names; its comments tell reasons, and stay."""
    patches = patchset.read_series(series)
    if not patches:
        raise UsageError("lists no patch", where=str(series))
    for patch in patches:
        (new / patch.name).parent.mkdir(parents=True, exist_ok=True)
        (new / patch.name).write_bytes(patch.path.read_bytes())
    (new / patchset.SERIES).write_bytes(series.read_bytes())
    head = patches[0].path.read_text(errors="replace")[:4096]
    fields = dict(re.findall(r"^(From|Author|Date|Subject|Description): *(.+)$", head, re.MULTILINE))
    subject = fields.get("Subject") or fields.get("Description") or patches[0].name
    return About(
        title=f"{len(patches)} patches of a quilt series",
        who=fields.get("From") or fields.get("Author") or "unknown",
        date=_day(fields.get("Date", "")),
        subject=subject,
        bases=bases,
    )


def _of_range(new: Path, origin: str, bases: tuple[str, ...]) -> About:
    """Commits are taken as git writes them: their messages are nobody's mail, and hold no headers."""
    where, _, wanted = origin.removeprefix(GIT).rpartition("#")
    first, dots, last = wanted.partition("..")
    path = Path(where).expanduser()
    if not where or not dots or not first or last.startswith("."):
        raise UsageError("names no range", hint="write git:PATH#FROM..TO", where=origin)
    ends = f"{given.commit_of(path, first, origin)}..{given.commit_of(path, last or 'HEAD', origin)}"
    words = ["git", "-C", str(path)]
    listed = proc.run(
        [*words, "log", "--no-merges", "--reverse", "--format=%an%x00%as%x00%s", ends],
        timeout_s=RANGE_S,
        env=given.OFFLINE,
    ).stdout.splitlines()
    if not 0 < len(listed) <= patchset.MAX_PATCHES:
        raise UsageError(
            f"the range holds {len(listed)} commits", hint=f"1 to {patchset.MAX_PATCHES}", where=origin
        )
    argv = [
        *words,
        "format-patch",
        "--quiet",
        "--no-signature",
        "--zero-commit",
        "--no-renames",
        "--no-attach",
    ]
    argv += ["--no-ext-diff", "--no-textconv", "--no-thread", "--no-cover-letter", "-o", str(new.resolve())]
    proc.run([*argv, ends], timeout_s=RANGE_S, env=given.OFFLINE)
    names = sorted(path.name for path in new.iterdir())
    (new / patchset.SERIES).write_text("".join(f"{name}\n" for name in names))
    who, date, subject = listed[0].split("\0")
    return About(title=subject, who=who, date=date, subject=subject, bases=bases)


def _of_mails(new: Path, mails: Sequence[mail.Mail], bases: tuple[str, ...]) -> About:
    names = []
    for number, one in enumerate(mails, 1):
        slug = _SLUG.sub("-", one.subject.lower()).strip("-")[:60].strip("-") or "patch"
        names.append(f"{number:04d}-{slug}.patch")
        (new / names[-1]).write_bytes(one.text.encode(errors="surrogateescape"))
    (new / patchset.SERIES).write_text("".join(f"{name}\n" for name in names))
    first = mails[0]
    return About(
        title=first.subject or names[0],
        who=first.author or "unknown",
        date=_day(first.date),
        subject=first.subject or names[0],
        bases=bases,
    )
