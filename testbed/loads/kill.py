"""Owns the signal sent inside a machine at a moment: to a daemon, or to one of the testbed's own programs."""

from __future__ import annotations

import signal
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from testbed.load import Seconds
from testbed.loads import LoadContext, OneProcess, agent
from testbed.witnesses.page import OWN_SLOTS


class Kill(OneProcess):
    """`process = "nbd-server"` is every process of that name, `witness` one of the testbed's own.

    With `signal = "STOP"` it stands still, for ever or until `resume_after`.
    """

    kind: ClassVar[str] = "kill"
    page_kind: ClassVar[str] = "deed"

    process: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,15}$")
    witness: Literal["heartbeat", "blocksampler", "vmsampler"] | None = None
    signal: Literal["KILL", "TERM", "STOP"] = "KILL"
    resume_after: Seconds | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_victim(self) -> Self:
        if (self.process is None) == (self.witness is None):
            raise ValueError("exactly one of 'process' and 'witness'")
        if self.resume_after is not None and self.signal != "STOP":
            raise ValueError("only what was stopped can go on: signal = \"STOP\" goes with 'resume_after'")
        return self

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options: dict[str, object] = {"signal": int(signal.Signals[f"SIG{self.signal}"])}
        if self.process is not None:
            options["process"] = self.process
        if self.witness is not None:
            options["victim"] = OWN_SLOTS["machine" if self.witness == "heartbeat" else self.witness]
        if self.resume_after is not None:
            options["resume-after-ms"] = round(self.resume_after * 1e3)
        return agent("deed-kill", slot, options)
