"""Kernels without compiling one: configuration, voiding rules, digests, the cache, stage 1."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from testbed import loads, plugins, proc, transports
from testbed.errors import BuildError, TestbedFault, UsageError
from testbed.kernels import (
    builder,
    caches,
    compile,
    config,
    cpio,
    modules,
    patchset,
    prebuilt,
    record,
    source,
    store,
    voiding,
)
from testbed.machines.nics import MODELS as NIC_MODELS
from testbed.model import KernelSpec
from tests.test_kernels_sets import DIFF, GOOD, make_set

HERE = Path("x.config")


# --- configuration


def test_a_fragment_is_options_with_reasons() -> None:
    text = "# --- head\nCONFIG_A=y  # why a\n# CONFIG_B is not set   # why b\nCONFIG_C=y # ? newer bases\n"
    wishes = config.parse_fragment(text, HERE)
    assert [(wish.option, wish.value, wish.optional) for wish in wishes] == [
        ("CONFIG_A", "y", False),
        ("CONFIG_B", "n", False),
        ("CONFIG_C", "y", True),
    ]
    assert config.config_text(wishes) == "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\n"


@pytest.mark.parametrize(
    "line", ["CONFIG_A=y", "CONFIG_A", "# CONFIG_A is not set", "A=y # why", "CONFIG_A=y # ?"]
)
def test_a_line_without_a_reason_is_refused(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.parse_fragment(f"# head\n{line}\n", HERE)
    assert caught.value.where.startswith("x.config:2")


def test_every_line_must_come_out_as_written() -> None:
    wishes = config.parse_fragment("CONFIG_A=y # a\n# CONFIG_B is not set # b\nCONFIG_C=y # ? c\n", HERE)
    config.verify(wishes, {"CONFIG_A": "y"}, HERE)
    with pytest.raises(BuildError, match=r"x.config:1: CONFIG_A=y came out as not set \(a\)"):
        config.verify(wishes, {}, HERE)
    with pytest.raises(BuildError, match="CONFIG_B is not set came out as m"):
        config.verify(wishes, {"CONFIG_A": "y", "CONFIG_B": "m"}, HERE)
    with pytest.raises(BuildError, match="CONFIG_C=y came out as m"):
        config.verify(wishes, {"CONFIG_A": "y", "CONFIG_C": "m"}, HERE)


def test_the_last_fragment_wins(tmp_path: Path) -> None:
    first, second, dot_config = (tmp_path / name for name in ("one", "two", ".config"))
    first.write_text("CONFIG_SLUB=y # a\n# CONFIG_LOCKDEP is not set # a\n")
    second.write_text("CONFIG_LOCKDEP=y # b\n")
    dot_config.write_text("CONFIG_SLUB=y\nCONFIG_LOCKDEP=y\n")
    compile.check(dot_config, (first, second))
    with pytest.raises(BuildError, match="two:1"):
        compile.check(dot_config.with_name("one"), (first, second))


def test_the_guests_own_fragment_voids_nothing() -> None:
    wishes = config.parse_fragment(builder.FRAGMENT.read_text(), builder.FRAGMENT)
    voiding.refuse_voiding(config.parse_config(config.config_text(wishes)))


@pytest.mark.parametrize("rule", voiding.RULES, ids=lambda rule: rule.option)
def test_voiding_options_are_refused_with_the_reason(rule: voiding.Rule) -> None:
    broken = {"CONFIG_SLUB": "y", rule.option: "y"}
    with pytest.raises(BuildError, match="voids every result") as caught:
        voiding.refuse_voiding(broken)
    assert rule.option in str(caught.value) and rule.reason in str(caught.value)
    assert len(voiding.confounders(broken)) == 1


def test_slub_must_be_there() -> None:
    assert "CONFIG_SLUB is off" in voiding.confounders({})[0]


def test_confounders_of_a_distribution_are_sentences() -> None:
    debian = {"CONFIG_SLUB": "y", "CONFIG_LRU_GEN": "y", "CONFIG_NF_CONNTRACK": "m", "CONFIG_ZRAM": "m"}
    first, second = voiding.confounders(debian)
    assert first.startswith("CONFIG_LRU_GEN is built in, though off at boot: ")
    assert second.startswith("CONFIG_NF_CONNTRACK is there as a module, which nothing of the testbed loads: ")


def test_the_first_error_of_a_log() -> None:
    log = "  CC  a.o\nnet/a.c: In function 'f':\nnet/a.c:12:3: error: 'x' undeclared\nnet/b.c:1:1: error: y\n"
    first = compile.first_error(log)
    assert (first.file, first.line) == ("net/a.c", 12) and "net/a.c:12: 'x' undeclared" in str(first)
    other = compile.first_error("ld: a.o: undefined reference to `f'\nmake: *** [x] Error 1\n")
    assert "undefined reference" in str(other) and other.file == ""
    log = "mm/Kconfig:7:warning: a character\nmm/Kconfig:9: syntax error\nmake[1]: *** Error 1\n"
    broken = compile.first_error(log)
    assert (broken.file, broken.line) == ("mm/Kconfig", 9) and "mm/Kconfig:9: syntax error" in str(broken)


# --- digests


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source, "toolchain", lambda: "gcc 12; ld 2.40")
    origin = source.Source("6.1", "linux-source-6.1", "6.1.1-1", Path("/x"), "aa")
    monkeypatch.setattr(source, "find", lambda base, progress: origin)
    make_set(tmp_path / "sets", "one", patches={"a.patch": DIFF, "b.patch": DIFF})
    make_set(tmp_path / "sets", "two")
    return tmp_path / "sets"


ONE = KernelSpec(base="6.1", sets=("one",))


def test_a_digest_changes_with_every_input(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = tmp_path / "f.config"
    fragment.write_text("CONFIG_SLUB=y # why\n")

    def digest(spec: KernelSpec = ONE) -> str:
        return builder.digest(spec, root=sets, fragments=(fragment,))

    first = digest()
    seen = [first]

    def changed() -> None:
        assert digest() not in seen
        seen.append(digest())

    assert (
        len({digest(spec) for spec in (ONE, ONE.model_copy(update={"sets": ("one", "two")}))} | {first}) == 2
    )
    assert digest(ONE.model_copy(update={"sets": ()})) != first
    (sets / "one/a.patch").write_text(DIFF.replace("TWO", "ZWEI"))
    changed()
    (sets / "one/series").write_text("b.patch\na.patch\n")
    changed()
    fragment.write_text("CONFIG_SLUB=y # why\n# CONFIG_SLOB is not set # why\n")
    changed()
    monkeypatch.setattr(source, "toolchain", lambda: "gcc 13; ld 2.40")
    changed()
    monkeypatch.setattr(builder, "BUILDER", "another")
    changed()
    for version, sha256 in (("6.1.1-2", "aa"), ("6.1.1-2", "bb")):
        origin = source.Source("6.1", "linux-source-6.1", version, Path("/x"), sha256)
        monkeypatch.setattr(source, "find", lambda base, progress, origin=origin: origin)
        changed()


def test_a_digest_ignores_mere_words(sets: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.config", tmp_path / "other.config"
    one.write_text("CONFIG_SLUB=y # why\n")
    other.write_text("# a head\nCONFIG_SLUB=y   # another reason\n")
    assert builder.digest(ONE, root=sets, fragments=(one,)) == builder.digest(
        ONE, root=sets, fragments=(other,)
    )
    first = builder.digest(ONE, root=sets)
    (sets / "one/set.toml").write_text(GOOD.replace("A set", "Another title"))
    assert builder.digest(ONE, root=sets) == first
    before = patchset.content([patchset.load("one", sets)])
    (sets / "one/set.toml").write_text(GOOD + '[counterfactual]\nnfs3 = "there was none"\n')
    assert builder.digest(ONE, root=sets) == first
    assert patchset.content([patchset.load("one", sets)]) == before, "what checks found stays true"


def test_sets_in_another_order_are_another_kernel(sets: Path) -> None:
    (sets / "two/0001.patch").write_text(DIFF.replace("TWO", "ZWEI"))
    both = ONE.model_copy(update={"sets": ("one", "two")})
    other = ONE.model_copy(update={"sets": ("two", "one")})
    assert builder.digest(both, root=sets) != builder.digest(other, root=sets)


def test_a_missing_base_names_its_package() -> None:
    with pytest.raises(UsageError) as caught:
        source.find("1.0")
    assert "linux-source-1.0" in caught.value.hint


# --- the cache


def _build_slowly(root: Path, journal: Path) -> None:
    def make(folder: Path) -> None:
        with journal.open("a") as file:
            file.write("built\n")
        (folder / "half").touch()
        assert not store.Store(root).folder("d").exists()
        time.sleep(0.2)
        (folder / "bzImage").touch()

    folder = store.Store(root).obtain("d", make, lambda: None)
    assert (folder / "bzImage").is_file()


def test_two_that_build_one_kernel_build_it_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "kernels", journal)
    both = [context.Process(target=_build_slowly, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(10)
    assert [process.exitcode for process in both] == [0, 0]
    assert journal.read_text() == "built\n"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = store.Store(tmp_path)

    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise BuildError("no")

    with pytest.raises(BuildError):
        cache.obtain("d", make, lambda: None)
    assert not cache.folder("d").exists()
    assert list((tmp_path / ".new").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(TestbedFault, match="No space left"):
        store.Store(tmp_path).obtain("d", make, lambda: None)


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    cache = store.Store(tmp_path)
    for digest in ("dead", "alive"):
        (tmp_path / ".new" / f"{digest}.xyz" / "work").mkdir(parents=True)
    (tmp_path / ".new/dead.xyz/work").chmod(0)
    with cache.locked("alive"):
        cache.sweep()
    assert [path.name for path in (tmp_path / ".new").iterdir()] == ["alive.xyz"]


def test_gc_drops_the_least_recently_used_that_nobody_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    kernels, trees = caches.kernel_store(), caches.tree_store()
    for age, (each, digest) in enumerate(
        [(kernels, "new"), (trees, "middle"), (kernels, "old"), (kernels, "held")]
    ):
        each.folder(digest).mkdir(parents=True)
        (each.folder(digest) / "bzImage").write_bytes(bytes(100_000))
        os.utime(each.folder(digest), (1e9 - age, 1e9 - age))
    held = record.BuiltKernel("held", kernels.folder("held"), "6.1", (), None, None)
    with caches.held(held):
        os.utime(held.folder, (0, 0))
        assert caches.gc(1 << 30) == ()
        assert [path.name for path in caches.gc(250_000)] == ["old", "middle"]
    assert held.folder.is_dir() and kernels.folder("new").is_dir()


# --- the first root of a prebuilt kernel


def test_cpio_is_newc_and_the_same_every_time() -> None:
    entries = [cpio.directory("dev"), cpio.device("dev/console", 5, 1), cpio.program("init", b"#!x\n")]
    packed = cpio.archive(entries)
    assert packed == cpio.archive(entries)
    raw = gzip.decompress(packed)
    assert raw.startswith(b"070701" + b"00000001" + b"000041ED")
    assert raw.count(b"070701") == 4 and b"TRAILER!!!\0" in raw and len(raw) % 4 == 0
    assert b"00000005" + b"00000001" + b"0000000C" in raw, "device numbers 5:1 before the name's length"


def _module(folder: Path, name: str, depends: str = "", softdep: str = "") -> None:
    text = f"license=GPL\0depends={depends}\0" + (f"softdep={softdep}\0" if softdep else "")
    (folder / f"{name}.ko").write_bytes(b"\x7fELF..\0" + text.encode())


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    _module(tmp_path, "ext4", "mbcache,jbd2", "pre: crc32c nowhere")
    _module(tmp_path, "jbd2", "crc-x")
    _module(tmp_path, "mbcache")
    _module(tmp_path, "crc32c")
    _module(tmp_path, "crc-x")
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    wanted = {modules.ALWAYS: ("virtio", "mbcache"), "mke2fs": ("ext4",)}
    found = modules.load_order(tmp_path, wanted)
    order = [each.path.name for each in found]
    assert sorted(order) == ["crc-x.ko", "crc32c.ko", "ext4.ko", "jbd2.ko", "mbcache.ko"]
    assert order[-1] == "ext4.ko" and order.index("crc-x.ko") < order.index("jbd2.ko")
    kinds = {each.path.name: each.kinds for each in found}
    assert kinds["mbcache.ko"] == {"*", "mke2fs"} and kinds["crc-x.ko"] == {"mke2fs"}
    with pytest.raises(TestbedFault, match="no module 'ext5'") as caught:
        modules.load_order(tmp_path, {"mke2fs": ("ext5",)})
    assert "did you mean 'ext4'?" in caught.value.hint


def test_modules_go_by_kinds_that_there_are() -> None:
    known = {
        *NIC_MODELS,
        *plugins.collect(transports, transports.Transport),
        *plugins.collect(loads, loads.Load),
    }
    by_hand = {"loop", "dm", "raid1"}  # what a playbook asks of the kernel besides its kinds
    assert set(prebuilt.MODULES) - {modules.ALWAYS} - by_hand <= known


@pytest.mark.parametrize(
    ("machine", "loaded"),
    [("", "a.ko b.ko c.ko"), ("e1000e,nbd", "a.ko b.ko"), ("nbd2", "a.ko"), ("x,nfs3", "a.ko c.ko")],
)
def test_stage_1_loads_what_the_machine_names(machine: str, loaded: str) -> None:
    script = prebuilt.STAGE1.read_text()
    needed = script[script.index("needed() {") : script.index("while read")]
    rows = "a.ko *,nbd x=1\nb.ko nbd\nc.ko nfs3,mke2fs\n"
    walk = 'while read -r module kinds options; do needed "$kinds" && printf "%s " "$module"; done; true'
    argv = [
        "sh",
        "-c",
        f"set -f; machine=$1\n{needed}\nprintf '%s' \"$2\" | {{ {walk}; }}",
        "sh",
        machine,
        rows,
    ]
    assert proc.run(argv, timeout_s=10).stdout.split() == loaded.split()


def test_stage_1_lists_its_modules_with_their_options(tmp_path: Path) -> None:
    _module(tmp_path, "nbd")
    needed = (modules.Module(tmp_path / "nbd.ko", frozenset({"nbd"})),)
    raw = gzip.decompress(prebuilt.stage1(needed, b"busybox"))
    assert b"nbd.ko nbd nbds_max=4\n" in raw and b"modules/nbd.ko\0" in raw
