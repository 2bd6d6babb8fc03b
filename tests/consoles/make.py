"""Makes the corpus of consoles: boots guests, breaks them, keeps what they printed.

    python -m tests.consoles.make                      what is not there yet
    python -m tests.consoles.make 'stock-oops-*' -f    these, anew
    python -m tests.consoles.make --list

What each console must show is written down from the deed, before anything reads the console.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import images, kernels
from testbed.clock import Deadline, poll
from testbed.errors import TestbedError
from testbed.kernels import BuiltKernel, builder
from testbed.model import KernelSpec
from tests.consoles import corpus, expectation, module
from tests.consoles.bench import Bench, Place
from tests.consoles.recipes import Recipe, recipes
from tests.consoles.servers import SERVE, SERVER
from tests.consoles.symptoms import DEBUG, OURS

log = logging.getLogger("consoles")

DEBUG_CONFIG = Path(__file__).with_name("debug.config")
DISK_BYTES = 48 << 20
SERVER_BYTES = 160 << 20
COMMAND_S = 60.0
LOOK_S = 0.01
MODULE = "/run/symptoms.ko"
DEED = "/run/deed"


@dataclass(frozen=True)
class Kind:
    """A kernel of the corpus, and the module for it."""

    kernel: BuiltKernel
    module: bytes


def kind_of(name: str) -> Kind:
    spec: KernelSpec = kernels.resolve("stock" if name == DEBUG else name)
    fragments = (builder.FRAGMENT, DEBUG_CONFIG) if name == DEBUG else (builder.FRAGMENT,)
    built = kernels.build(spec, fragments=fragments, progress=lambda *_: None)
    return Kind(built, module.cached(name, spec, fragments))


def _place(number: int, recipe: Recipe, kind: Kind) -> Place:
    symptom = recipe.symptom
    says = symptom.told_kernel + ("" if symptom.cgroups else " cgroup_disable=memory")
    return Place(
        name=f"g{number}",
        kernel=kind.kernel,
        memory_bytes=symptom.memory_bytes,
        vcpus=symptom.vcpus,
        cmdline=says,
        disk_bytes=DISK_BYTES,
        boots=symptom.boots,
    )


def make(batch: Sequence[Recipe], kinds: dict[str, Kind], into: Path) -> None:
    """Makes these consoles on one bench. One that cannot be made is named, and the others go on."""
    with tempfile.TemporaryDirectory() as scratch:
        places = [_place(number, recipe, kinds[recipe.kernel]) for number, recipe in enumerate(batch)]
        served = any(recipe.symptom.server for recipe in batch)
        server = Place(SERVER, kinds[OURS].kernel, SERVER_BYTES, disk_bytes=DISK_BYTES)
        with (
            Bench(places + [server] * served, images.build(), Path(scratch)) as bench,
            ThreadPoolExecutor(len(batch)) as pool,
        ):
            if served:
                bench.guests[SERVER].run(["sh", "-c", SERVE], timeout_s=COMMAND_S)
            doing = [
                pool.submit(_play, bench, place.name, recipe, kinds[recipe.kernel])
                for place, recipe in zip(places, batch, strict=True)
            ]
            for recipe, done in zip(batch, doing, strict=True):
                try:
                    entry, console = done.result()
                    corpus.add(entry, console, into)
                    log.info("%s: %d bytes", recipe.name, len(console))
                    for one in expectation.shortfalls(entry, console):
                        log.warning("%s: %s", recipe.name, one)
                except TestbedError as error:
                    log.error("%s: %s", recipe.name, error)


def _play(bench: Bench, name: str, recipe: Recipe, kind: Kind) -> tuple[corpus.Entry, bytes]:
    """Does the deed to one guest, watches it, and ends it."""
    symptom, path = recipe.symptom, bench.consoles[name]
    pid, watched_s, began = 0, None, 0
    if symptom.boots:
        guest = bench.guests[name]
        guest.put(MODULE, kind.module, timeout_s=COMMAND_S)
        script = symptom.script.replace("$server", _server(bench))
        guest.put(DEED, script.encode(), timeout_s=COMMAND_S)
        guest.run(["insmod", MODULE], timeout_s=COMMAND_S)
        uptime_s = float(guest.run(["cat", "/proc/uptime"], timeout_s=COMMAND_S).stdout.split()[0])
        asked_s = time.monotonic()
        began = _size(path)
        later = f"(sleep 0.5; exec sh {DEED}) </dev/null >/dev/null 2>&1 & echo $!"
        pid = int(guest.run(["sh", "-c", later], timeout_s=COMMAND_S).stdout)
    if symptom.host is not None:
        time.sleep(4.0 if symptom.pulse_s else 2.0)  # so long its script may take to begin
        symptom.host(bench, name)
    _watch(recipe, path, began)
    if symptom.boots:
        watched_s = round(uptime_s + time.monotonic() - asked_s, 1)
    bench.domains[name].destroy()
    settled = {"$pid": pid, "$server": _server(bench)}
    return _entry(recipe, settled, watched_s), path.read_bytes() if path.exists() else b""


def _watch(recipe: Recipe, path: Path, began: int) -> None:
    symptom = recipe.symptom
    deadline = Deadline.after(symptom.watch_s, recipe.name)
    if not symptom.until:
        time.sleep(symptom.watch_s)
        return
    poll(lambda: deadline.left_s <= 0.05 or _shows(path, began, symptom.until), deadline, every_s=LOOK_S)
    if not symptom.cut_at:
        time.sleep(symptom.after_s)


def _shows(path: Path, began: int, text: str) -> bool:
    with path.open("rb") as file:
        file.seek(began)
        return text.encode() in file.read()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _entry(recipe: Recipe, settled: dict[str, Any], watched_s: float | None) -> corpus.Entry:
    symptom = recipe.symptom
    entry: dict[str, Any] = {
        "console": recipe.name,
        "kernel": recipe.kernel,
        "memory_mib": symptom.memory_bytes >> 20,
        "vcpus": symptom.vcpus,
        "told_kernel": symptom.told_kernel,
        "done": symptom.done,
        "must": [
            {
                key: settled.get(value, value) if isinstance(value, str) else value
                for key, value in one.items()
            }
            for one in symptom.must
        ],
        "may": sorted(set(symptom.may)),
        "cause": symptom.cause,
    }
    if symptom.pulse_s is not None:
        entry |= {"pulse_s": symptom.pulse_s, "watched_s": watched_s}
    return entry


def _server(bench: Bench) -> str:
    return bench.address(SERVER) if SERVER in bench.domains else ""


def _batches(wanted: Sequence[Recipe], size: int) -> Iterator[list[Recipe]]:
    """Guests of one kernel together, and those that are watched for about as long."""
    order = sorted(wanted, key=lambda one: (one.kernel, not one.symptom.boots, one.symptom.watch_s, one.name))
    batch: list[Recipe] = []
    for recipe in order:
        if batch and (len(batch) == size or batch[-1].kernel != recipe.kernel):
            yield batch
            batch = []
        batch.append(recipe)
    if batch:
        yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=["*"], help="which, as globs")
    parser.add_argument("-f", "--force", action="store_true", help="also those that are there")
    parser.add_argument("-l", "--list", action="store_true", help="only say which")
    parser.add_argument("--batch", type=int, default=6, help="guests at a time")
    parser.add_argument("--for", dest="seconds", type=float, default=1e9, help="begin no batch after so long")
    parser.add_argument("--into", type=Path, default=corpus.FOLDER, help="a folder for them")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7.0f %(message)s")
    there = {entry["console"] for entry in corpus.entries(options.into)}
    wanted = [
        recipe
        for recipe in recipes()
        if any(fnmatch.fnmatch(recipe.name, glob) for glob in options.names)
        and (options.force or recipe.name not in there)
    ]
    if options.list:
        print("\n".join(recipe.name for recipe in wanted))
        return
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    deadline = Deadline.after(options.seconds, "making consoles")
    kinds: dict[str, Kind] = {}
    for batch in _batches(wanted, options.batch):
        if deadline.left_s <= 0:
            log.info("the time is up")
            break
        name = batch[0].kernel
        for needed in (name, OURS):
            if needed not in kinds:
                kinds[needed] = kind_of(needed)
        try:
            make(batch, kinds, options.into)
        except TestbedError as error:
            log.error("%s: %s", ", ".join(recipe.name for recipe in batch), error)


if __name__ == "__main__":
    main()
