"""A picture that Dagster can store: a PNG below 50 kB with words for those who do not see it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Each run imports the definitions; half a second of matplotlib is for those that draw.
    from matplotlib.axes import Axes

LARGEST_BYTES = 50_000
"""Each picture is stored in Dagster's event log with its materialisation."""

COLOURS = 48
BLUE, GREEN, RED, GREY, PALE, VIOLET = "#1f6feb", "#1a7f37", "#cf222e", "#59636e", "#d0d7de", "#8250df"


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows in a sentence."""

    alt: str
    png: bytes

    @property
    def markdown(self) -> str:
        """The picture inline, as the UI shows it."""
        alt = self.alt.replace("[", "(").replace("]", ")").replace("\n", " ")
        return f"![{alt}](data:image/png;base64,{base64.b64encode(self.png).decode()})\n\n{alt}"


def draw(
    title: str, alt: str, paint: Callable[[Axes], None], width: float = 9.0, height: float = 3.2
) -> Picture:
    """What `paint` puts on the axes, `width` by `height` inches at 80 dpi. The same data, the same bytes."""
    # Imported here: most runs draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(width, height), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    paint(axes)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = bytes(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.frombuffer("RGBA", canvas.get_width_height(), pixels)
    file = io.BytesIO()
    # A palette: a third of the bytes of true colours.
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return Picture(alt, file.getvalue())
