"""Making the pixels of many plans at once with torch, on any device, as `render_cpu` makes them with OpenCV.

All tiles of a layer are made in one pass over the output pixels, straight into a channels-last image. The arithmetic is
that of OpenCV 5: fixed point with 11 bits for tiles that are resized, float32 for those that are warped. What is random
and what is seen where has been settled in the tables, see `tile_tables`.

Letters: B images, T tiles of an image, H and W output pixels, P pixels of all sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onelook.data.augment.mixup import blended_on_device
from onelook.data.augment.plan import DeviceStep
from onelook.data.augment.resize import FILL
from onelook.data.augment.tile_tables import Field, Kind

PIXELS_AT_A_TIME = 1 << 22  # so that index tensors stay small beside what training needs
WEIGHT_BITS = 11


@dataclass(frozen=True)
class Layer:
    """The tiles of one layer of some images, see `TileTable`.

    Attributes:
        fields: (B, T, NUM_FIELDS) float64.
        spans: (B, T, 2, H) int16.
        images_of: for each kind of tile, which images have any; kept in main memory, so that nothing waits.
    """

    fields: Tensor
    spans: Tensor
    images_of: dict[Kind, tuple[int, ...]]

    def part(self, first: int, last: int) -> Layer:
        """The images from number `first` up to, but without, number `last`."""
        own = {
            kind: tuple(number - first for number in numbers if first <= number < last)
            for kind, numbers in self.images_of.items()
        }
        return Layer(self.fields[first:last], self.spans[first:last], own)


@dataclass(frozen=True)
class Drawing:
    """Images to be rendered.

    Attributes:
        layers: one, or two if any image has a second mosaic blended in.
        ratios: (B,) float32 weight of the first layer.
        steps: steps applied to the result, with the tensors (B, ...) that each needs.
    """

    layers: tuple[Layer, ...]
    ratios: Tensor
    steps: tuple[tuple[type[DeviceStep], tuple[Tensor, ...]], ...]
    width: int

    def map(self, action: Callable[[Tensor], Tensor]) -> Drawing:
        """The same with `action` done to every tensor."""
        layers = tuple(replace(one, fields=action(one.fields), spans=action(one.spans)) for one in self.layers)
        steps = tuple((step, tuple(action(one) for one in packed)) for step, packed in self.steps)
        return Drawing(layers, action(self.ratios), steps, self.width)

    def part(self, first: int, last: int) -> Drawing:
        """The images from number `first` up to, but without, number `last`."""
        own = slice(first, last)
        layers = tuple(layer.part(first, last) for layer in self.layers)
        steps = tuple((step, tuple(one[own] for one in packed)) for step, packed in self.steps)
        return Drawing(layers, self.ratios[own], steps, self.width)


Render = Callable[[Drawing, Tensor], Tensor]


def render(drawing: Drawing, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB, channels last in memory, on the device of its arguments.

    Each image depends on its own tables only, bit for bit, so it does not matter which images make a batch.

    Args:
        pixels: (P, 3) uint8 of all sources.
    """
    count, height = drawing.layers[0].spans.shape[0], drawing.layers[0].spans.shape[3]
    output = torch.empty((count, height, drawing.width, 3), dtype=torch.uint8, device=pixels.device)
    step = max(1, PIXELS_AT_A_TIME // (height * drawing.width))
    for first in range(0, count, step):
        last = min(first + step, count)
        output[first:last] = _render_part(drawing.part(first, last), pixels)
    return output.permute(0, 3, 1, 2)


def _render_part(drawing: Drawing, pixels: Tensor) -> Tensor:
    """(B, H, W, 3)."""
    images = _render_layer(drawing.layers[0], pixels, drawing.width)
    for second in drawing.layers[1:]:
        images = blended_on_device(images, _render_layer(second, pixels, drawing.width), drawing.ratios)
    for step, packed in drawing.steps:
        images = step.apply_on_device(images, *packed)
    return images


def _render_layer(layer: Layer, pixels: Tensor, width: int) -> Tensor:
    """(B, H, W, 3)."""
    count, _, _, height = layer.spans.shape
    output = torch.full((count, height, width, 3), FILL, dtype=torch.uint8, device=pixels.device)
    for kind, sample in SAMPLERS.items():
        numbers = layer.images_of[kind]
        if not numbers:
            continue
        is_all = len(numbers) == count
        chosen = slice(None) if is_all else torch.tensor(numbers).to(pixels.device, non_blocking=True)
        fields, spans = layer.fields[chosen], layer.spans[chosen]
        covered = _tile_of_pixel(spans, fields[..., Field.KIND] == kind, width)
        made = sample(fields, covered, pixels)
        output[chosen] = torch.where((covered >= 0)[..., None], made, output[chosen])
    return output


def _tile_of_pixel(spans: Tensor, is_wanted: Tensor, width: int) -> Tensor:
    """(B, H, W) int64 number of the tile, of those that are wanted, that covers a pixel; -1 for none."""
    columns = torch.arange(width, device=spans.device, dtype=spans.dtype)
    count, num_tiles, _, height = spans.shape
    covered = torch.full((count, height, width), -1, device=spans.device, dtype=torch.int64)
    for tile in range(num_tiles):
        first, last = spans[:, tile, 0, :, None], spans[:, tile, 1, :, None]  # (B, H, 1)
        inside = (columns >= first) & (columns < last) & is_wanted[:, tile, None, None]
        covered.masked_fill_(inside, tile)
    return covered


def _resized(fields: Tensor, covered: Tensor, pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8: columns and rows are weighed in fixed point, rounded as OpenCV does."""
    (count, height, width), is_free = covered.shape, covered < 0
    covered = covered.clamp(min=0)
    image = torch.arange(count, device=covered.device)[:, None, None] * fields.shape[1]
    at_column = (image + covered) * width + torch.arange(width, device=covered.device)
    at_row = (image + covered) * height + torch.arange(height, device=covered.device)[:, None]
    start, stride = (fields[..., one, None].long() for one in (Field.START, Field.STRIDE))
    across = _axis(fields, Field.ACROSS, Field.WIDTH, width)
    left, right, left_weight, right_weight = (one.flatten()[at_column] for one in across)
    above, below, upper_weight, lower_weight = _axis(fields, Field.DOWN, Field.HEIGHT, height)
    total = torch.full((), 2, dtype=torch.int32, device=covered.device)
    for rows, weights in ((above, upper_weight), (below, lower_weight)):
        begin = (start + rows * stride).flatten()[at_row]
        before, after = (_values(pixels, begin + column, is_free).int() for column in (left, right))
        row = before * left_weight[..., None] + after * right_weight[..., None]
        total = total + ((row >> 4) * weights.flatten()[at_row][..., None] >> 16)
    return (total >> 2).to(torch.uint8)


def _values(pixels: Tensor, numbers: Tensor, is_free: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 pixels by their numbers; where there is no tile, the pixel is arbitrary."""
    return pixels[numbers.masked_fill(is_free, 0)]


def _axis(fields: Tensor, first: Field, size: Field, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which two pixels of an image an output column or row is made of, and their weights; all (B, T, S)."""
    edge, direction, step, is_mirrored = fields[..., first : first + 4, None].unbind(dim=2)
    last = fields[..., size, None] - 1
    centres = torch.arange(length, device=fields.device, dtype=torch.float64) + 0.5
    position = (direction * (centres - edge) * step - 0.5).float().double()
    before = position.floor()
    share = torch.where((before < 0) | (before >= last), 0.0, position - before)
    before = torch.minimum(before.clamp(min=0), last)
    after = torch.minimum(before + 1, last)
    before, after = (torch.where(is_mirrored > 0, last - one, one).long() for one in (before, after))
    weight, weight_after = ((one.float() * (1 << WEIGHT_BITS)).round().int() for one in (1 - share, share))
    return before, after, weight, weight_after


def _warped(fields: Tensor, covered: Tensor, pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8: bilinear in float32; the edge pixels go on."""
    (count, height, width), is_free = covered.shape, covered < 0
    covered = covered.clamp(min=0)
    at = torch.arange(count, device=covered.device)[:, None, None] * fields.shape[1] + covered

    def of_tile(field: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return fields[..., field].to(dtype).flatten()[at]

    x = torch.arange(width, device=covered.device, dtype=torch.float32)
    y = torch.arange(height, device=covered.device, dtype=torch.float32)[:, None]
    u, v, w = (
        x * of_tile(Field.INVERSE + row) + (y * of_tile(Field.INVERSE + row + 1) + of_tile(Field.INVERSE + row + 2))
        for row in (0, 3, 6)
    )
    u, v = u / w, v / w
    left, top = u.floor(), v.floor()
    right_share, lower_share = (u - left)[..., None], (v - top)[..., None]
    last_column, last_row = of_tile(Field.WIDTH) - 1, of_tile(Field.HEIGHT) - 1
    columns = [torch.minimum(one.clamp(min=0), last_column).long() for one in (left, left + 1)]
    start, stride = of_tile(Field.START, torch.int64), of_tile(Field.STRIDE, torch.int64)
    rows = []
    for one in (top, top + 1):
        begin = start + torch.minimum(one.clamp(min=0), last_row).long() * stride
        before, after = (_values(pixels, begin + column, is_free).float() for column in columns)
        rows.append(before + (after - before) * right_share)
    return (rows[0] + (rows[1] - rows[0]) * lower_share).round().to(torch.uint8)


SAMPLERS: dict[Kind, Callable[[Tensor, Tensor, Tensor], Tensor]] = {Kind.RESIZED: _resized, Kind.WARPED: _warped}
