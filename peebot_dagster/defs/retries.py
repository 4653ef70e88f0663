"""A store that is away for a moment costs a step some seconds, not its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg

RETRIES = 2
PAUSE_S = 5.0


@contextmanager
def tried_again_if_the_store_fails() -> Iterator[None]:
    """Around the whole work of a step, which must be idempotent: the step starts again after a pause.

    For a store that is restarted, a connection that is cut, a deadlock; what code does wrong is not repeated.
    """
    try:
        yield
    except psycopg.OperationalError as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=PAUSE_S) from error
