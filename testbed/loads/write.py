"""Owns the word written into one of the kernel's files at a moment: a setting, or a trigger."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from testbed.load import measure
from testbed.loads import LoadContext, OneProcess, agent

_OPTIONS = {
    "/sys/kernel/debug/": ("CONFIG_DEBUG_FS",),
    "/sys/kernel/debug/failslab/": ("CONFIG_FAILSLAB", "CONFIG_FAULT_INJECTION_DEBUG_FS"),
    "/sys/kernel/debug/fail_page_alloc/": ("CONFIG_FAIL_PAGE_ALLOC", "CONFIG_FAULT_INJECTION_DEBUG_FS"),
}
"""What a kernel has such files by."""
_UNITS = {"B": ("1B", 1.0), "s": ("1s", 1.0), "ms": ("1s", 1e3)}
"""By unit: a quantity of its kind, and how many of it are one of what `measure` counts in."""


def _written(value: Any) -> Any:
    """A number, as a parameter may be one, as it is written."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Write(OneProcess):
    """`file = "/proc/sys/kernel/printk"`, `text = "1"`: opened beforehand, written when it is started.

    With `unit` the text is a quantity with its own unit, and what is written is the number of those:
    `text = "10s"`, `unit = "ms"` writes 10000.
    """

    kind: ClassVar[str] = "write"
    page_kind: ClassVar[str] = "deed"

    file: str = Field(pattern=r"^/(proc|sys)/[ -~]{1,200}$")
    text: Annotated[str, BeforeValidator(_written), Field(pattern=r"^[ -~]{1,100}$")]
    unit: Literal["B", "s", "ms"] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.unit is not None:
            example, _ = _UNITS[self.unit]
            kind, _ = measure(example)
            found, _ = measure(self.text)
            if found != kind:
                raise ValueError(f"'text' is {found}, but 'unit' is of {kind}, as in {example!r}")
            if not self._number.is_integer():
                raise ValueError(f"{self.text!r} is no whole number of '{self.unit}'")
        return self

    @property
    def _number(self) -> float:
        return 0.0 if self.unit is None else round(measure(self.text)[1] * _UNITS[self.unit][1], 6)

    @property
    def kernel_options(self) -> tuple[str, ...]:
        return tuple(
            option for place, options in _OPTIONS.items() if self.file.startswith(place) for option in options
        )

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        text = self.text if self.unit is None else str(int(self._number))
        return agent("deed-write", slot, {"file": self.file, "text": text})
