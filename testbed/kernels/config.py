"""Owns kernel configurations: the documented fragment, a `.config`, and whether one came out of the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import BuildError, UsageError, at

_SET = re.compile(r"(CONFIG_[A-Za-z0-9_]+)=(\S+)")
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set")
_LINE = re.compile(
    r"(?P<option>CONFIG_[A-Za-z0-9_]+=\S+|# CONFIG_[A-Za-z0-9_]+ is not set)(?:\s+#\s*(?P<why>.*))?"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """One line of a fragment: `value` is "n" for an option that must be off.

    An `optional` one (marked `?`) may be unknown to a base.
    """

    option: str
    value: str
    why: str
    optional: bool
    line: int

    @property
    def text(self) -> str:
        """The line as it stands in a `.config`."""
        return f"# {self.option} is not set" if self.value == "n" else f"{self.option}={self.value}"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a kernel came out with: its `.config`, and whether modules of it are loaded as well."""

    options: Mapping[str, str]
    modules: bool
    where: str = ""
    release: str = ""

    def has(self, option: str) -> bool:
        """Whether it is there at run time: a module is not, where none can be loaded."""
        value = self.options.get(option, "n")
        return self.modules if value == "m" else value != "n"

    def is_older(self, release: tuple[int, int]) -> bool:
        """Whether it is known to be of a series before that."""
        found = re.match(r"(\d+)\.(\d+)", self.release)
        return found is not None and (int(found[1]), int(found[2])) < release


def _option(text: str) -> tuple[str, str] | None:
    if found := _SET.fullmatch(text):
        return found.group(1), found.group(2)
    if found := _UNSET.fullmatch(text):
        return found.group(1), "n"
    return None


def parse_fragment(text: str, path: Path) -> tuple[Wish, ...]:
    """`CONFIG_X=y  # why` and `# CONFIG_X is not set  # why`, one a line, each with its reason."""
    wishes = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or (line.startswith("#") and not line.startswith("# CONFIG_")):
            continue
        found = _LINE.fullmatch(line)
        option = _option(found.group("option")) if found else None
        if found is None or option is None:
            raise UsageError(
                f"not a line of a configuration fragment: {line!r}",
                hint="write `CONFIG_X=y  # why` or `# CONFIG_X is not set  # why`",
                where=at(path, number),
            )
        why = (found.group("why") or "").strip()
        if not why.strip("? "):
            raise UsageError(
                "gives no reason", hint="write it after a '#'", where=at(path, number, option[0])
            )
        wishes.append(Wish(*option, why=why.lstrip("? "), optional=why.startswith("?"), line=number))
    return tuple(wishes)


def parse_config(text: str) -> dict[str, str]:
    """A `.config` as option -> value, without the options that are off."""
    pairs = (_option(line.strip()) for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if pair is not None and pair[1] != "n"}


def config_text(wishes: tuple[Wish, ...]) -> str:
    """The fragment as lines for the end of a `.config`."""
    return "".join(f"{wish.text}\n" for wish in wishes)


def verify(wishes: tuple[Wish, ...], config: dict[str, str], path: Path) -> None:
    """Refuses a `.config` in which a line of the fragment did not come out as written."""
    wrong = [
        f"{at(path, wish.line)}: {wish.text} came out as {config.get(wish.option, 'not set')} ({wish.why})"
        for wish in wishes
        if config.get(wish.option, "n") != wish.value and not (wish.optional and wish.option not in config)
    ]
    if wrong:
        raise BuildError(
            "the base does not take the configuration:\n" + "\n".join(wrong),
            hint="a missing dependency needs a line of its own; `# ? why` marks what a base may not know",
        )
