"""The page, made of facts: its parts, which change one by one, and the whole document. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from peebot_live.facts import CURVE, Facts, Level, Link, Post, Visit

_WIDTH, _HEIGHT = 720, 160
_LINKS = {
    "LIVE": "AOS: signal acquired",
    "LOS": "LOS: signal lost, the station is silent",
    "DOWN": "DOWN: nothing comes in",
}
_UNKNOWN = '<p class="nothing">nothing known yet</p>'

PARTS = ("link", "tank", "visit", "posts")


def parts_of(facts: Facts | None) -> dict[str, str]:
    """The inner HTML of each element by its id; None: the database does not answer."""
    if facts is None:
        silent = '<p class="DOWN">The database does not answer; the page goes on by itself.</p>'
        return {"link": silent, **{part: _UNKNOWN for part in PARTS if part != "link"}}
    return {
        "link": _link(facts.link, facts.muted),
        "tank": _tank(facts.level, facts.curve, facts.now),
        "visit": _visit(facts.visit, facts.visits_today),
        "posts": _posts(facts.posts),
    }


def document(parts: Mapping[str, str]) -> str:
    """The whole page with these parts: without JavaScript it is a snapshot that loads itself anew."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>PeeBot, live</title>
<link rel="stylesheet" href="live.css">
<noscript><meta http-equiv="refresh" content="30"></noscript>
<script src="live.js" defer></script>
</head>
<body>
<header><h1>PeeBot</h1><div id="link" role="status" aria-live="polite">{parts["link"]}</div></header>
<main>
<section aria-labelledby="tank-title"><h2 id="tank-title">Urine tank of the Space Station</h2>
<div id="tank">{parts["tank"]}</div></section>
<section aria-labelledby="visit-title"><h2 id="visit-title">Last visit</h2>
<div id="visit" aria-live="polite">{parts["visit"]}</div></section>
<section aria-labelledby="posts-title"><h2 id="posts-title">Last posts</h2>
<div id="posts" aria-live="polite">{parts["posts"]}</div></section>
</main>
<footer><p id="connection" role="status"></p></footer>
</body>
</html>
"""


def _link(link: Link | None, muted: bool) -> str:
    quiet = '<p class="LOS">Muted: nothing is posted</p>' if muted else ""
    if link is None:
        return f'<p class="DOWN">{_LINKS["DOWN"]}</p>{quiet}'
    return f'<p class="{link.state}">{_LINKS[link.state]}, since {_time(link.since)}</p>{quiet}'


def _tank(level: Level | None, curve: Sequence[Level], now: datetime) -> str:
    if level is None:
        return f'<p class="nothing">silent for {CURVE.total_seconds() / 3600:.0f} hours</p>'
    return (
        f'<p class="figure"><span id="level">{level.value:.0f}</span> %</p>'
        f'<p class="note">as of {_time(level.at)}</p>{_curve((*curve, level, Level(now, level.value)), now)}'
    )


def _curve(curve: Sequence[Level], now: datetime) -> str:
    start = now - CURVE
    low = min(level.value for level in curve)
    high = max(level.value for level in curve)

    def at(level: Level) -> tuple[float, float]:
        x = _WIDTH * ((level.at - start) / CURVE)
        return x, _HEIGHT - 4 - (_HEIGHT - 8) * (level.value - low) / max(high - low, 1.0)

    # A level holds until the next is told.
    steps = [at(curve[0])]
    for level in curve[1:]:
        x, y = at(level)
        steps += [(x, steps[-1][1]), (x, y)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    told = f"Level over the last {CURVE.total_seconds() / 3600:.0f} hours, between {low:.0f} and {high:.0f} %"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}" preserveAspectRatio="none">'
        f'<polyline points="{points}"/></svg><p class="note">{told}</p>'
    )


def _visit(visit: Visit | None, today: int) -> str:
    count = f'<p class="note">{today} today (UTC)</p>'
    if visit is None:
        return f"{_UNKNOWN}{count}"
    size = "" if visit.amount_percent is None else f"{visit.amount_percent:+.0f} %"
    millilitres = "" if visit.amount_ml is None else f"about {visit.amount_ml:.0f} mL"
    told = ", ".join(filter(None, (size, millilitres))) or "of unknown size"
    going = ", still going on" if visit.state == "open" else ""
    return (
        f'<p class="figure">{_time(visit.at)}</p>'
        f'<p class="note">{told}, {visit.confidence:.0%} sure{going}</p>{count}'
    )


def _posts(posts: Sequence[Post]) -> str:
    if not posts:
        return _UNKNOWN
    return f"<ul>{''.join(_post(post) for post in posts)}</ul>"


def _post(post: Post) -> str:
    how = "not sent: a dry run" if post.state == "dry_run" else f"on {escape(post.platform)}"
    return f'<li><blockquote>{escape(post.text)}</blockquote><p class="note">{_time(post.at)}, {how}</p></li>'


def _time(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%H:%M:%S} UTC, {moment:%d %b}</time>'
