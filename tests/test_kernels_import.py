"""Sets from elsewhere: a quilt series, a git range, an mbox, a thread through b4; and compositions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed import proc
from testbed.errors import MissingCapability, UsageError
from testbed.kernels import composing, importing, mail, naming, patchset
from testbed.kernels.source import Source
from tests.test_kernels_sets import DIFF, GOOD, make_set, needs_patch

GIT = ("git", "-c", "user.name=A Person", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
BASES = ("6.1",)
pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(not shutil.which("git"), reason="install the Debian package git"),
]
needs_b4 = pytest.mark.skipif(mail.b4_program() is None, reason="no b4 on this host: run 'make setup'")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits over a first one."""
    folder = tmp_path_factory.mktemp("repo")
    (folder / "net").mkdir()
    texts = ("one\ntwo\nthree\n", "one\nTWO\nthree\n", "one\nTWO\nTHREE\n")
    proc.run([*GIT, "init", "-q"], timeout_s=30, cwd=folder)
    for number, text in enumerate(texts):
        (folder / "net/file.c").write_text(text)
        proc.run([*GIT, "add", "-A"], timeout_s=30, cwd=folder)
        says = ["-m", f"net: Ändert Zeile {number}!", "-m", "From: a line of the message.\n\nIts end."]
        argv = [*GIT, "commit", "-q", *says, "--date=2007-08-15T12:00:00Z"]
        proc.run(argv, timeout_s=30, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def mails(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same as mails: two versions with covers, and an answer with a trailer."""
    made = {}
    for version in ("1", "2"):
        folder = tmp_path_factory.mktemp("mails")
        argv = [*GIT, "format-patch", "-q", "--thread", "--cover-letter", f"-v{version}", "-o", str(folder)]
        proc.run([*argv, "HEAD~2..HEAD"], timeout_s=30, cwd=repo)
        for number, path in enumerate(sorted(folder.iterdir())):
            made[f"v{version}-{number}"] = path.read_text().replace("*** SUBJECT HERE ***", "lines") + "\n"
    number = made["v2-1"].split("Message-Id: <")[1].split(">")[0]
    made["answer"] = (
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        f"Message-Id: <answer@example.org>\nIn-Reply-To: <{number}>\nReferences: <{number}>\n"
        "From: Another <b@example.org>\nDate: Wed, 16 Aug 2007 12:00:00 +0000\n"
        "Subject: Re: [PATCH v2 1/2] lines\n\n> -two\n> +TWO\n\nReviewed-by: Another <b@example.org>\n\n"
    )
    return made


def _mbox(tmp_path: Path, mails: dict[str, str], *names: str) -> Path:
    path = tmp_path / "mails.mbox"
    path.write_text("".join(mails[name] for name in names))
    return path


def test_a_quilt_series_keeps_its_folders_and_comments(tmp_path: Path) -> None:
    theirs = tmp_path / "debian/patches"
    (theirs / "bugfix/all").mkdir(parents=True)
    (theirs / "bugfix/all/one.patch").write_text(
        "From: Somebody <s@example.org>\nDate: Wed, 15 Aug 2007 12:00:00 +0200\n" + DIFF
    )
    (theirs / "two.patch").write_text(DIFF.replace("file.c", "other.c"))
    (theirs / "unused.patch").write_text("not in the series\n")
    (theirs / "series").write_text("# why\nbugfix/all/one.patch\n\ntwo.patch -p1\n")
    made = importing.take("theirs", str(theirs), tmp_path / "sets", BASES)
    assert [patch.name for patch in made.patches] == ["bugfix/all/one.patch", "two.patch"]
    assert (made.folder / "series").read_text() == (theirs / "series").read_text()
    assert not (made.folder / "unused.patch").exists()
    idea = made.about.idea[0]
    assert (idea.who, idea.date, idea.subject) == (
        "Somebody <s@example.org>", "2007-08-15", "change a line"
    )  # fmt: skip
    with pytest.raises(UsageError, match="is there already"):
        importing.take("theirs", str(theirs), tmp_path / "sets", BASES)


def test_a_git_range(repo: Path, tmp_path: Path) -> None:
    made = importing.take("range", f"git:{repo}#HEAD~2..", tmp_path, ("6.1", "6.12"))
    assert [patch.name for patch in made.patches] == [
        "0001-net-ndert-Zeile-1.patch", "0002-net-ndert-Zeile-2.patch"
    ]  # fmt: skip
    assert made.about.bases == ("6.1", "6.12")
    idea = made.about.idea[0]
    assert (idea.who, idea.date, idea.subject) == ("A Person", "2007-08-15", "net: Ändert Zeile 1!")
    text = made.patches[0].path.read_text()
    assert "From: a line of the message." in text and "\n+TWO\n" in text
    with pytest.raises(UsageError, match="holds 0 commits"):
        importing.take("none", f"git:{repo}#HEAD..HEAD", tmp_path, BASES)
    with pytest.raises(UsageError, match="names no range"):
        importing.take("none", f"git:{repo}#HEAD", tmp_path, BASES)
    with pytest.raises(UsageError, match="finds no commit 'nothing'"):
        importing.take("none", f"git:{repo}#nothing..HEAD", tmp_path, BASES)
    assert [path.name for path in tmp_path.iterdir()] == ["range"]


def test_an_mbox_is_its_mails_with_patches(mails: dict[str, str], tmp_path: Path) -> None:
    mbox = _mbox(tmp_path, mails, "v1-0", "v1-1", "answer", "v1-2")
    made = importing.take("mails", str(mbox), tmp_path / "sets", BASES)
    assert len(made.patches) == 2
    assert [one.touches for one in made.patches] == [("net/file.c",)] * 2


def test_a_mail_that_is_missing_or_there_twice(mails: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no patch 1 of 2"):
        importing.take("mails", str(_mbox(tmp_path, mails, "v1-0", "v1-2")), tmp_path / "sets", BASES)
    both = _mbox(tmp_path, mails, "v1-1", "v1-2", "v2-1", "v2-2")
    with pytest.raises(UsageError, match="twice") as caught:
        importing.take("mails", f"mbox:{both}", tmp_path / "sets", BASES)
    assert "thread:" in caught.value.hint
    assert list((tmp_path / "sets").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("+++ b/net/file.c", "+++ b/../../outside", "leaves the kernel tree"),
        ("diff --git a/net/file.c b/net/file.c", "diff --git a/x b/x\nnew file mode 120000", "symbolic link"),
        ("--- a/net/file.c", "GIT binary patch\n--- a/net/file.c", "binary patch"),
    ],
)
def test_a_hostile_mail_leaves_nothing(
    mails: dict[str, str], tmp_path: Path, old: str, new: str, says: str
) -> None:
    evil = {name: text.replace(old, new) for name, text in mails.items()}
    mbox = _mbox(tmp_path, evil, "v1-1", "v1-2")
    with pytest.raises(UsageError, match=says):
        importing.take("evil", str(mbox), tmp_path / "sets", BASES)
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_mail_is_taken_byte_for_byte_or_not_at_all(mails: dict[str, str], tmp_path: Path) -> None:
    """Mails of 2007 are often Latin-1; a mail program that ends lines with CR LF has spoiled the patch."""
    assert "+TWO" in mails["v1-1"]
    whole = _mbox(tmp_path, mails, "v1-1", "v1-2").read_text().replace("+TWO", "+TWO by Ren\xe9")
    (tmp_path / "latin.mbox").write_bytes(whole.encode("latin-1"))
    made = importing.take("latin", str(tmp_path / "latin.mbox"), tmp_path / "sets", BASES)
    assert b"\n+TWO by Ren\xe9\n" in made.patches[0].path.read_bytes()
    (tmp_path / "crlf.mbox").write_bytes(whole.encode("latin-1").replace(b"\n", b"\r\n"))
    with pytest.raises(UsageError, match="CR LF"):
        importing.take("crlf", str(tmp_path / "crlf.mbox"), tmp_path / "sets", BASES)
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["latin"]


def test_a_subject_becomes_no_path(mails: dict[str, str], tmp_path: Path) -> None:
    evil = mails["v1-1"].replace("Subject: [PATCH 1/2] ", "Subject: [PATCH 1/1] ../../../etc/x\\y\x07 ")
    evil = (
        evil.split("Subject:")[0]
        + "Subject: [PATCH] ../../../etc/x\\y\x07\n"
        + evil.split("\n\n", 1)[1].join(["\n", ""])
    )
    (tmp_path / "evil.mbox").write_text(evil)
    made = importing.take("evil", str(tmp_path / "evil.mbox"), tmp_path / "sets", BASES)
    assert [patch.name for patch in made.patches] == ["0001-etc-x-y.patch"]


@needs_b4
def test_what_reads_mail_finds_no_configuration(mails: dict[str, str], tmp_path: Path) -> None:
    """b4 and git would take orders from a repository that the sets lie in."""
    proc.run([*GIT, "init", "-q"], timeout_s=30, cwd=tmp_path)
    (tmp_path / ".b4-config").write_text("[b4]\n\tam-perpatch-check-cmd = touch ran\n")
    proc.run(
        [*GIT, "config", "b4.am-perpatch-check-cmd", f"touch {tmp_path}/ran"], timeout_s=30, cwd=tmp_path
    )
    proc.run([*GIT, "config", "mailinfo.scissors", "nonsense"], timeout_s=30, cwd=tmp_path)
    mbox = _mbox(tmp_path, mails, *sorted(mails))
    made = importing.take("thread", f"thread:{mbox}", tmp_path / "sets", BASES)
    assert len(made.patches) == 2 and not (tmp_path / "ran").exists()


def test_mails_are_bounded(mails: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mbox = _mbox(tmp_path, mails, "v1-1", "v1-2")
    monkeypatch.setattr(mail, "MAX_MAILS", 1)
    with pytest.raises(UsageError, match="more than 1 mails"):
        importing.take("mails", str(mbox), tmp_path / "sets", BASES)
    monkeypatch.setattr(mail, "MAX_MBOX_BYTES", 10)
    with pytest.raises(UsageError, match="larger than 10 bytes"):
        importing.take("mails", str(mbox), tmp_path / "sets", BASES)


def test_what_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/series").write_text("# nothing but\n# comments\n")
    for origin, says in (
        (str(tmp_path / "text"), r"is no mbox|holds no mail with a patch"),
        (str(tmp_path / "nowhere"), "no such series or mbox"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "empty"), "lists no patch"),
    ):
        with pytest.raises(UsageError, match=says):
            importing.take("none", origin, tmp_path / "sets", BASES)
    for name in ("stock", "debian", "Upper", "../x", ""):
        with pytest.raises(UsageError, match="can not be a set"):
            importing.take(name, str(tmp_path), tmp_path / "sets", BASES)


@needs_b4
def test_a_thread_gives_its_newest_version_with_its_trailers(mails: dict[str, str], tmp_path: Path) -> None:
    mbox = _mbox(tmp_path, mails, *sorted(mails))
    made = importing.take("thread", f"thread:{mbox}", tmp_path / "sets", BASES)
    assert len(made.patches) == 2
    assert "Reviewed-by: Another <b@example.org>" in made.patches[0].path.read_text()
    assert "Reviewed-by" not in made.patches[1].path.read_text()


@needs_b4
def test_a_thread_without_all_its_patches_is_refused(mails: dict[str, str], tmp_path: Path) -> None:
    mbox = _mbox(tmp_path, mails, "v2-0", "v2-2")
    with pytest.raises(UsageError, match=r"no patch 1 of 2|b4 finds no series"):
        importing.take("thread", f"thread:{mbox}", tmp_path / "sets", BASES)


def test_without_b4_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "b4_program", lambda: None)
    with pytest.raises(MissingCapability) as caught:
        importing.take("thread", f"thread:{tmp_path}/x", tmp_path / "sets", BASES)
    assert "testbed[mail]" in caught.value.hint


def test_a_skeleton_is_a_set_to_be_filled(tmp_path: Path) -> None:
    importing.skeleton("mine", tmp_path, ("6.1", "7.3"))
    loaded = patchset.load("mine", tmp_path)
    assert loaded.patches == () and loaded.about.bases == ("6.1", "7.3")


# --- compositions


def test_a_name_with_hyphens_is_the_longest_that_is_known() -> None:
    known = ("one", "one-two", "three", "stock")
    parse = composing.parse
    assert parse("one-two+three", known) == [(True, "one-two"), (True, "three")]
    assert parse("three+one-three", known) == [(True, "three"), (True, "one"), (False, "three")]
    assert parse("stock", known) == [(True, "stock")]
    with pytest.raises(UsageError, match="no kernel 'tree'") as caught:
        parse("tree+one", known)
    assert "did you mean 'three'?" in caught.value.hint
    with pytest.raises(UsageError, match="more than"):
        parse("+".join(["one"] * 100), known)


def test_a_composition_stands_for_its_sets(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        make_set(tmp_path, name)
    folder = make_set(tmp_path, "all", GOOD.replace("[[idea]]", 'sets = ["two", "one"]\n[[idea]]'), {})
    with pytest.raises(UsageError, match="no series of its own"):
        patchset.load("all", tmp_path)
    (folder / "series").unlink()
    assert naming.resolve("all", tmp_path).sets == ("two", "one")
    assert naming.resolve("all-two+three", tmp_path).sets == ("one", "three")
    with pytest.raises(UsageError, match="'three' can not be taken out"):
        naming.resolve("all-three", tmp_path)
    with pytest.raises(UsageError, match="named twice"):
        naming.resolve("all+one", tmp_path)


SECOND = """\
--- a/net/file.c
+++ b/net/file.c
@@ -1,4 +1,5 @@
 one
 two
+two and a half
 three
 four
@@ -10,3 +11,3 @@
 ten
-eleven
+ELEVEN
 twelve
"""
LINES = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\ntwelve\n"


def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "linux-6.1"
    (tree / "net").mkdir(parents=True)
    (tree / "net/file.c").write_text(LINES)
    (tree / "deep/net").mkdir(parents=True)
    (tree / "deep/net/file.c").write_text("not this one\n")
    tarball = tmp_path / "linux.tar.gz"
    proc.run(["tar", "-czf", str(tarball), "-C", str(tmp_path), tree.name], timeout_s=30)
    origin = Source("6.1", "linux-source-6.1", "6.1.1", tarball, "aa")
    monkeypatch.setattr(composing.source, "find", lambda base, progress: origin)


@needs_patch
def test_a_conflict_is_explained_hunk_by_hunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _base(tmp_path, monkeypatch)
    root = tmp_path / "sets"
    make_set(root, "first")
    new = "--- /dev/null\n+++ b/net/new.c\n@@ -0,0 +1 @@\n+x\n"
    make_set(root, "second", patches={"a.patch": new, "b.patch": SECOND, "c.patch": DIFF})
    sets = [patchset.load(name, root) for name in ("first", "second")]
    found = composing.compose(sets, "6.1")
    assert found.shared == {"net/file.c": ("first", "second")}
    (conflict,) = found.conflicts
    assert (conflict.patch, conflict.file, conflict.hunk) == ("second/b.patch", "net/file.c", 1)
    assert conflict.says == "it expects 'two' at line 2, where there is 'TWO'"
    assert conflict.because_of == "first/0001.patch"
    assert found.untried == 1
    assert composing.words(conflict) == (
        "second/b.patch: hunk #1 of net/file.c (line 3 of the patch): it expects 'two' at line 2, "
        "where there is 'TWO'; first/0001.patch changed that place"
    )
    assert composing.compose(sets[:1], "6.1").conflicts == ()
    (other,) = composing.compose([sets[1], sets[0]], "6.1").conflicts
    assert (other.patch, other.hunk, other.because_of) == ("second/c.patch", 1, "second/b.patch")
