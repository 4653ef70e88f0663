"""What is written to people of conditions that have begun, last or are over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class News:
    """A condition or an occurrence as one destination is to hear of it (times in UTC).

    `told_before`: it knows that it began. `ending` is empty for an occurrence, which has none.
    """

    condition: str
    title: str
    advice: str
    ending: str
    began_at: datetime
    over_at: datetime | None
    told_before: bool


@dataclass(frozen=True)
class Message:
    """Title and plain text; `good` when it only tells what is over."""

    title: str
    body: str
    good: bool


TEST_MESSAGE = Message(
    "PeeBot: a test", "This is a test of PeeBot's alerts: nothing is wrong, and they reach you.", good=True
)


def message_of(news: Sequence[News]) -> Message:
    """One message for all that there is to tell; ValueError when that is nothing."""
    if not news:
        raise ValueError("a message needs something to tell")
    title = _headline(news[0]) if len(news) == 1 else f"{len(news)} alerts"
    return Message(
        f"PeeBot: {title}",
        "\n\n".join(f"{_headline(each)}\n{_text(each)}" for each in news),
        all(each.over_at is not None for each in news),
    )


def _headline(news: News) -> str:
    if news.over_at is not None:
        return f"Over: {news.title}"
    return f"Still: {news.title}" if news.told_before else news.title


def _text(news: News) -> str:
    if news.over_at is not None:
        return f"From {_time(news.began_at)} to {_time(news.over_at)}. {news.ending}"
    return f"{'Since' if news.ending else 'At'} {_time(news.began_at)}. {news.advice}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
