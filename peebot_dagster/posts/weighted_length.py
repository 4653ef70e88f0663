"""How long a text is by X's own counting rule.

The rule is published in https://docs.x.com/fundamentals/counting-characters and in version 3 of the
configuration of X's twitter-text library (https://github.com/twitter/twitter-text/tree/master/config). That
library's port to Python needs pkg_resources, which newer setuptools no longer has; hence this module.
"""

from __future__ import annotations

import re
import unicodedata

MAX_WEIGHTED_LENGTH = 280
"""The longest post, in weighted characters."""

URL_WEIGHT = 23
"""Each URL becomes a t.co link of this length."""

_LIGHT_RANGES = ((0, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))

# Scheme optional, as X links bare domains too; the scheme decides how the match is weighed.
_URL = re.compile(
    r"(?<![\w@.#$/-])(?P<scheme>https?://)?"
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[a-z]{2,24}(?![\w@-])"
    r"(?::\d{1,5})?(?:/[\w!*';:=+,.$%#\[\]&~|@()/-]*)?(?:\?[\w!?*'();:&=+$/%#\[\],.~|@-]*)?",
    re.IGNORECASE,
)

_PICTOGRAPH = (
    "[\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf"
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
)
# By the grammar of Unicode's emoji sequences, not by X's list: a sequence that no font has (a train with a
# skin tone) may weigh less here than with X.
_EMOJI = re.compile(
    "[0-9#*]\ufe0f?\u20e3"
    "|[\u00a9\u00ae]\ufe0f"
    "|[\U0001f1e6-\U0001f1ff]{2}"
    f"|{_PICTOGRAPH}[\ufe0f\U0001f3fb-\U0001f3ff]?[\U000e0020-\U000e007f]*"
    f"(?:\u200d{_PICTOGRAPH}[\ufe0f\U0001f3fb-\U0001f3ff]?)*"
)
_EMOJI_WEIGHT = 2


def weighted_length(text: str) -> int:
    """The length of `text` in weighted characters: it may be posted up to MAX_WEIGHTED_LENGTH.

    Normalised to NFC; Latin and its neighbours count 1, all else (CJK as well) 2, a whole emoji 2, a URL 23.
    """
    text = unicodedata.normalize("NFC", text)
    length = 0
    position = 0
    for url in _URL.finditer(text):
        length += _weigh_plain(text[position : url.start()]) + _weigh_url(url)
        position = url.end()
    return length + _weigh_plain(text[position:])


def _weigh_url(url: re.Match[str]) -> int:
    if url["scheme"]:
        return URL_WEIGHT
    # X links a bare domain only when it knows the TLD. Without its list the heavier reading is the safe one.
    return max(URL_WEIGHT, _weigh_plain(url[0]))


def _weigh_plain(text: str) -> int:
    length = 0
    position = 0
    for emoji in _EMOJI.finditer(text):
        length += sum(map(_weigh_character, text[position : emoji.start()])) + _EMOJI_WEIGHT
        position = emoji.end()
    return length + sum(map(_weigh_character, text[position:]))


def _weigh_character(character: str) -> int:
    return 1 if any(first <= ord(character) <= last for first, last in _LIGHT_RANGES) else 2
