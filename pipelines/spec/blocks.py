"""Blocks of a convolutional network, as a configuration names them: texts such as ``conv 32`` and ``pool``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

ImageShape = tuple[int, int, int]
"""(rows, columns, channels)."""
IMAGE: ImageShape = (28, 28, 1)
"""What goes into the first block."""
VALUES_LIMIT = 1 << 20
"""Most numbers that a block may make of one image, 4 MiB of them: a slip of a digit does not fill the memory."""
BLOCKS_LIMIT = 64

Kind = Literal["conv", "pool", "mean_pool", "global_pool"]
FORMS: dict[Kind, tuple[int, str]] = {
    "conv": (1, "conv FILTERS [SIZE [STRIDE]]"),
    "pool": (0, "pool [SIZE]"),
    "mean_pool": (0, "mean_pool [SIZE]"),
    "global_pool": (0, "global_pool"),
}
"""Name -> how many numbers it needs, and how it is written; a number in brackets may be left out."""
DEFAULTS: dict[Kind, tuple[int, ...]] = {"conv": (3, 1), "pool": (2,), "mean_pool": (2,), "global_pool": ()}
"""Name -> the numbers that may be left out."""


@attrs.frozen
class Block:
    """A block, read."""

    kind: Kind
    filters: int = 0
    """Of a convolution."""
    size: int = 0
    """Height and width of a filter or of a pooling window; 0 for the whole image."""
    stride: int = 1
    """Pixels from one window to the next."""

    def out_shape(self, image: ImageShape) -> ImageShape:
        """Compute the shape of the image that comes out; a convolution of stride 1 keeps the size.

        Args:
            image: Shape of the image that goes in.

        Returns:
            Shape of the image that comes out.

        Raises:
            ValueError: The image is smaller than the block's window, or what comes out is too large.

        Example:
            >>> Block("conv", 32, 3).out_shape((28, 28, 1)), Block("pool", size=2, stride=2).out_shape((7, 7, 32))
            ((28, 28, 32), (3, 3, 32))
        """
        rows, columns, channels = image
        if self.size > rows:
            raise ValueError(f"takes windows of {self.size} x {self.size}, and the image there is {rows} x {columns}")
        if self.kind == "global_pool":
            return 1, 1, channels
        if self.kind == "conv":
            out = -(-rows // self.stride), -(-columns // self.stride), self.filters
        else:
            out = (rows - self.size) // self.stride + 1, (columns - self.size) // self.stride + 1, channels
        if out[0] * out[1] * out[2] > VALUES_LIMIT:
            raise ValueError(f"makes {out[0]} x {out[1]} x {out[2]} numbers of an image; at most {VALUES_LIMIT}")
        return out

    def weights(self, image: ImageShape) -> int:
        """Count the weights of a convolution, without biases.

        Args:
            image: Shape of the image that goes in.

        Returns:
            How many; 0 for a pooling.

        Example:
            >>> Block("conv", 32, 3).weights((28, 28, 1))
            288
        """
        return self.size * self.size * image[2] * self.filters if self.kind == "conv" else 0


def read_block(text: str) -> Block:
    """Read a block.

    Args:
        text: Its name and numbers, apart by spaces: ``conv FILTERS [SIZE [STRIDE]]``, ``pool [SIZE]``,
            ``mean_pool [SIZE]`` or ``global_pool``.

    Returns:
        The block.

    Raises:
        ValueError: There is no such block, or its numbers are wrong.

    Example:
        >>> read_block("conv 32 5")
        Block(kind='conv', filters=32, size=5, stride=1)
    """
    name, *words = text.split(" ")
    kind = next((known for known in FORMS if known == name), None)
    if kind is None:
        raise ValueError(f"expected one of {', '.join(repr(form) for _, form in FORMS.values())}, found {text[:80]!r}")
    needed, form = FORMS[kind]
    numbers = [int(word) for word in words if re.fullmatch("[1-9][0-9]{0,5}", word)]
    if len(numbers) < len(words) or not needed <= len(numbers) <= needed + len(DEFAULTS[kind]):
        raise ValueError(f"expected {form!r} in whole numbers of at least 1, found {text[:80]!r}")
    numbers += DEFAULTS[kind][len(numbers) - needed :]
    if kind == "conv":
        return Block(kind, *numbers)
    size = numbers[0] if numbers else 0
    return Block(kind, size=size, stride=max(size, 1))


def block_shapes(texts: Iterable[str]) -> Iterator[tuple[Block, ImageShape, ImageShape]]:
    """Follow an image through blocks.

    Args:
        texts: The blocks, from the first on.

    Yields:
        Each block, and the shape of the image before and after it.

    Raises:
        ValueError: A block cannot be read, or does not fit the image that it gets; the message names it.

    Example:
        >>> [after for _, _, after in block_shapes(["conv 8", "pool", "global_pool"])]
        [(28, 28, 8), (14, 14, 8), (1, 1, 8)]
    """
    image = IMAGE
    for number, text in enumerate(texts):
        try:
            block = read_block(text)
        except ValueError as error:
            raise ValueError(f"blocks[{number}]: {error}") from None
        try:
            after = block.out_shape(image)
        except ValueError as error:
            raise ValueError(f"blocks[{number}]: {text!r} {error}") from None
        yield block, image, after
        image = after
