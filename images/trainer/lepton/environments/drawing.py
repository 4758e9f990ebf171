"""Pictures of environments: lines, shapes and words in the units of the task."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""Shape (height, width, 3)."""
Point = tuple[float, float]

COLOURS = {
    "background": "#ffffff",
    "dark": "#22303c",
    "line": "#9aa7b1",
    "pale": "#e6ebef",
    "blue": "#2f6db5",
    "orange": "#e07b2a",
    "green": "#3a9a5b",
    "red": "#c8443c",
    "yellow": "#e3b93f",
    "purple": "#7a5bb0",
}
"""Names of the colours that pictures use."""

_SMOOTH = 2
"""Pictures are drawn this many times larger and then shrunk."""


class Canvas:
    """A picture that is drawn on in the units of the task; y grows upwards.

    `left` to `right` and `bottom` to `top` are what lies at the picture's borders.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        left: float = 0.0,
        right: float = 1.0,
        bottom: float = 0.0,
        top: float = 1.0,
    ) -> None:
        self._size = width, height
        self._origin = left, top
        self._scale = width * _SMOOTH / (right - left), height * _SMOOTH / (top - bottom)
        large = width * _SMOOTH, height * _SMOOTH
        self._image = Image.new("RGB", large, COLOURS["background"])
        self._draw = ImageDraw.Draw(self._image)

    def line(self, begin: Point, end: Point, colour: str, width: float = 2) -> None:
        """A line, `width` pixels wide."""
        ends = [self._pixel(begin), self._pixel(end)]
        self._draw.line(ends, COLOURS[colour], max(1, round(width * _SMOOTH)))

    def path(self, points: list[Point], colour: str, width: float = 2) -> None:
        """Lines from point to point."""
        if len(points) > 1:
            pixels = [self._pixel(point) for point in points]
            self._draw.line(pixels, COLOURS[colour], max(1, round(width * _SMOOTH)), "curve")

    def rectangle(self, low: Point, high: Point, colour: str, filled: bool = True) -> None:
        """Between two opposite corners."""
        (x0, y0), (x1, y1) = self._pixel(low), self._pixel(high)
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        if filled:
            self._draw.rectangle(box, fill=COLOURS[colour])
        else:
            self._draw.rectangle(box, outline=COLOURS[colour], width=2 * _SMOOTH)

    def circle(self, centre: Point, radius: float, colour: str, filled: bool = True) -> None:
        """`radius` is in units of x."""
        x, y = self._pixel(centre)
        r = radius * self._scale[0]
        box = (x - r, y - r, x + r, y + r)
        if filled:
            self._draw.ellipse(box, fill=COLOURS[colour])
        else:
            self._draw.ellipse(box, outline=COLOURS[colour], width=2 * _SMOOTH)

    def polygon(self, points: list[Point], colour: str) -> None:
        """A filled shape."""
        self._draw.polygon([self._pixel(point) for point in points], fill=COLOURS[colour])

    def text(
        self, at: Point, words: str, colour: str = "dark", size: int = 14, anchor: str = "lm"
    ) -> None:
        """Words, `size` pixels high. `anchor` is Pillow's: l, m or r, then a, m or s."""
        font = _font(size * _SMOOTH)
        self._draw.text(self._pixel(at), words, COLOURS[colour], font, anchor)

    def picture(self) -> Picture:
        """The picture, shape (height, width, 3)."""
        return np.asarray(self._image.resize(self._size, Image.Resampling.BOX))

    def _pixel(self, point: Point) -> Point:
        (left, top), (x_scale, y_scale) = self._origin, self._scale
        return (float(point[0]) - left) * x_scale, (top - float(point[1])) * y_scale


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
