"""Coverage-guided fuzzing of the TLCP reader, with atheris: `python atheris_target.py -runs=1000000`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ingest_daemon"]):
    from victim import Victim

victim = Victim()


def hear(data: bytes) -> None:
    if data[:1] == b"\x00":
        victim.cut()
    victim.hear(data.decode("utf-8", "replace"))


atheris.Setup(sys.argv, hear)
atheris.Fuzz()
