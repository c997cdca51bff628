"""The renderer for devices as one kernel: an output pixel is made in registers and written once.

The arithmetic is that of `render_gpu`, and nothing is fused or approximated, so the bits are the same; see there. Must
only be imported where Triton is installed.

Letters: R and C output rows and columns of a block. All that a block holds is (R, C), unless it says otherwise.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr, tensor

from onelook.data.augment.colour import HUES, SHIFT, ColourChange
from onelook.data.augment.render_gpu import WEIGHT_BITS, Drawing
from onelook.data.augment.resize import FILL
from onelook.data.augment.tile_tables import NUM_FIELDS, Field, Kind

ROWS, COLUMNS, WARPS = 4, 128, 8  # 74 registers a thread on an H100, so three blocks of 256 threads share a processor
BORDER = constexpr(FILL)
NUM_NUMBERS = constexpr(NUM_FIELDS)
RESIZED = constexpr(int(Kind.RESIZED))
KIND, START, STRIDE, WIDTH, HEIGHT, ACROSS, DOWN, INVERSE = (
    constexpr(int(getattr(Field, name)))
    for name in ("KIND", "START", "STRIDE", "WIDTH", "HEIGHT", "ACROSS", "DOWN", "INVERSE")
)
ONE = constexpr(float(1 << WEIGHT_BITS))
HALF_TURNS, SIXTHS = constexpr(HUES), constexpr(6 / HUES)
PER_CHROMA, PER_VALUE = constexpr(float(HUES // 6 << SHIFT)), constexpr(float(255 << SHIFT))
BITS, HALF = constexpr(SHIFT), constexpr(1 << SHIFT - 1)
WHOLE = constexpr(1.5 * 2**23)  # from here on float32 has no digits after the point


def render(drawing: Drawing, pixels: Tensor) -> Tensor:
    """See `render_gpu.render`."""
    first, second = drawing.layers[0], drawing.layers[-1]
    count, _, _, height = first.spans.shape
    steps = list(drawing.steps)
    if steps and steps[0][0] is ColourChange:
        tables, is_changed = steps.pop(0)[1]
    else:
        tables, is_changed = pixels, torch.zeros(count, dtype=torch.bool, device=pixels.device)
    images = torch.empty((count, height, drawing.width, 3), dtype=torch.uint8, device=pixels.device)
    grid = (triton.cdiv(drawing.width, COLUMNS), triton.cdiv(height, ROWS), count)
    with torch.cuda.device_of(pixels):  # type: ignore[no-untyped-call]
        draw[grid](
            images, pixels, drawing.ratios, tables, is_changed.view(torch.uint8),
            first.fields, first.spans, first.spans.shape[1], second.fields, second.spans, second.spans.shape[1],
            height, drawing.width, ROWS, COLUMNS, num_warps=WARPS, enable_fp_fusion=False,
        )  # fmt: skip
    for step, packed in steps:
        images = step.apply_on_device(images, *packed)
    return images.permute(0, 3, 1, 2)


@triton.jit(do_not_specialize=["first_tiles", "second_tiles", "height", "width"])
def draw(
    images: tensor, pixels: tensor, ratios: tensor, tables: tensor, is_changed: tensor,
    first_fields: tensor, first_spans: tensor, first_tiles: tensor,
    second_fields: tensor, second_spans: tensor, second_tiles: tensor,
    height: tensor, width: tensor, rows: constexpr, columns: constexpr,
) -> None:  # fmt: skip
    """One block of one image, from the tables to its bytes."""
    image = tl.program_id(2)
    x = tl.program_id(0) * columns + tl.arange(0, columns)
    y = tl.program_id(1) * rows + tl.arange(0, rows)
    red, green, blue = _layer((first_fields, first_spans, first_tiles), pixels, image, x, y, height)
    ratio = tl.load(ratios + image)
    if ratio < 1:
        others = _layer((second_fields, second_spans, second_tiles), pixels, image, x, y, height)
        red, green, blue = (
            _blended(red, others[0], ratio), _blended(green, others[1], ratio), _blended(blue, others[2], ratio),
        )  # fmt: skip
    if tl.load(is_changed + image) != 0:
        red, green, blue = _recoloured(red, green, blue, tables + image * 768)
    at = images + ((image.to(tl.int64) * height + y[:, None]) * width + x[None, :]) * 3
    is_output = (y < height)[:, None] & (x < width)[None, :]
    tl.store(at, red.to(tl.uint8), is_output)
    tl.store(at + 1, green.to(tl.uint8), is_output)
    tl.store(at + 2, blue.to(tl.uint8), is_output)


@triton.jit
def _layer(layer: tensor, pixels: tensor, image: tensor, x: tensor, y: tensor, height: tensor) -> tensor:
    """Red, green and blue, int32."""
    fields, spans, num_tiles = layer
    red = tl.full((y.shape[0], x.shape[0]), BORDER, tl.int32)
    green, blue = red, red
    for number in range(image * num_tiles, (image + 1) * num_tiles):
        tile, span = fields + number * NUM_NUMBERS, spans + number * 2 * height
        first = tl.load(span + y, y < height, other=0).to(tl.int32)
        last = tl.load(span + height + y, y < height, other=0).to(tl.int32)
        is_met = tl.minimum(last, tl.max(x, 0) + 1) > tl.maximum(first, tl.min(x, 0))
        if tl.max(is_met.to(tl.int32), 0) > 0:
            is_seen = (x[None, :] >= first[:, None]) & (x[None, :] < last[:, None])
            if tl.load(tile + KIND) == RESIZED:
                own_red, own_green, own_blue = _resized(tile, pixels, x, y, is_seen)
            else:
                own_red, own_green, own_blue = _warped(tile, pixels, x, y, is_seen)
            red = tl.where(is_seen, own_red, red)
            green = tl.where(is_seen, own_green, green)
            blue = tl.where(is_seen, own_blue, blue)
    return red, green, blue


@triton.jit
def _resized(tile: tensor, pixels: tensor, x: tensor, y: tensor, is_seen: tensor) -> tensor:
    left, right, left_weight, right_weight = _axis(tile + ACROSS, tl.load(tile + WIDTH), x)
    upper, lower, upper_weight, lower_weight = _axis(tile + DOWN, tl.load(tile + HEIGHT), y)
    start, stride = tl.load(tile + START).to(tl.int64), tl.load(tile + STRIDE).to(tl.int64)
    above, below = pixels + 3 * (start + upper * stride)[:, None], pixels + 3 * (start + lower * stride)[:, None]
    columns = 3 * left[None, :], 3 * right[None, :]
    weights = left_weight[None, :], right_weight[None, :], upper_weight[:, None], lower_weight[:, None]
    return (
        _resized_channel(above, below, columns, weights, is_seen),
        _resized_channel(above + 1, below + 1, columns, weights, is_seen),
        _resized_channel(above + 2, below + 2, columns, weights, is_seen),
    )


@triton.jit
def _resized_channel(above: tensor, below: tensor, columns: tensor, weights: tensor, is_seen: tensor) -> tensor:
    upper = _byte(above + columns[0], is_seen) * weights[0] + _byte(above + columns[1], is_seen) * weights[1]
    lower = _byte(below + columns[0], is_seen) * weights[0] + _byte(below + columns[1], is_seen) * weights[1]
    return (2 + ((upper >> 4) * weights[2] >> 16) + ((lower >> 4) * weights[3] >> 16)) >> 2


@triton.jit
def _axis(numbers: tensor, size: tensor, output: tensor) -> tensor:
    """Two pixels of an image for each output column or row, int64, and their weights, int32; all like `output`, 1-D."""
    last = (size - 1).to(tl.float32)
    edge, direction, step = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    position = (direction * (output.to(tl.float64) + 0.5 - edge) * step - 0.5).to(tl.float32)
    before = tl.floor(position)
    share = tl.where((before < 0) | (before >= last), 0.0, position - before)
    before = tl.minimum(tl.maximum(before, 0.0), last)
    after = tl.minimum(before + 1, last)
    is_mirrored = tl.load(numbers + 3) > 0
    before, after = tl.where(is_mirrored, last - before, before), tl.where(is_mirrored, last - after, after)
    return before.to(tl.int64), after.to(tl.int64), _rounded((1 - share) * ONE), _rounded(share * ONE)


@triton.jit
def _warped(tile: tensor, pixels: tensor, x: tensor, y: tensor, is_seen: tensor) -> tensor:
    across, down = x.to(tl.float32)[None, :], y.to(tl.float32)[:, None]
    w = _row(tile + INVERSE + 6, across, down)
    u, v = tl.div_rn(_row(tile + INVERSE, across, down), w), tl.div_rn(_row(tile + INVERSE + 3, across, down), w)
    left, top = tl.floor(u), tl.floor(v)
    shares = u - left, v - top
    last_column, last_row = (tl.load(tile + WIDTH) - 1).to(tl.float32), (tl.load(tile + HEIGHT) - 1).to(tl.float32)
    start, stride = tl.load(tile + START).to(tl.int64), tl.load(tile + STRIDE).to(tl.int64)
    above, below = start + _within(top, last_row) * stride, start + _within(top + 1, last_row) * stride
    columns = 3 * _within(left, last_column), 3 * _within(left + 1, last_column)
    above, below = pixels + 3 * above, pixels + 3 * below
    return (
        _warped_channel(above, below, columns, shares, is_seen),
        _warped_channel(above + 1, below + 1, columns, shares, is_seen),
        _warped_channel(above + 2, below + 2, columns, shares, is_seen),
    )


@triton.jit
def _row(inverse: tensor, x: tensor, y: tensor) -> tensor:
    factors = (
        tl.load(inverse).to(tl.float32), tl.load(inverse + 1).to(tl.float32), tl.load(inverse + 2).to(tl.float32),
    )  # fmt: skip
    return x * factors[0] + (y * factors[1] + factors[2])


@triton.jit
def _within(number: tensor, last: tensor) -> tensor:
    return tl.minimum(tl.maximum(number, 0.0), last).to(tl.int64)


@triton.jit
def _warped_channel(above: tensor, below: tensor, columns: tensor, shares: tensor, is_seen: tensor) -> tensor:
    upper, upper_next = _byte(above + columns[0], is_seen), _byte(above + columns[1], is_seen)
    lower, lower_next = _byte(below + columns[0], is_seen), _byte(below + columns[1], is_seen)
    upper = upper.to(tl.float32) + (upper_next - upper).to(tl.float32) * shares[0]
    lower = lower.to(tl.float32) + (lower_next - lower).to(tl.float32) * shares[0]
    return _rounded(upper + (lower - upper) * shares[1])


@triton.jit
def _byte(at: tensor, is_seen: tensor) -> tensor:
    return tl.load(at, is_seen, other=0).to(tl.int32)


@triton.jit
def _rounded(number: tensor) -> tensor:
    """Of float32 below 2^22, to int32; ties go to even numbers."""
    return ((number + WHOLE) - WHOLE).to(tl.int32)


@triton.jit
def _blended(first: tensor, second: tensor, ratio: tensor) -> tensor:
    """See `blended_on_device`."""
    return _rounded(first.to(tl.float32) * ratio + second.to(tl.float32) * (1 - ratio))


@triton.jit
def _recoloured(red: tensor, green: tensor, blue: tensor, tables: tensor) -> tensor:
    """See `ColourChange.apply_on_device`; OpenCV's tables of quotients are computed."""
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    hue = tl.where(
        value == red, green - blue, tl.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    )
    hue = _divided(hue, PER_CHROMA, chroma)
    hue = tl.load(tables + tl.where(hue < 0, hue + HALF_TURNS, hue)).to(tl.float32)
    saturation = tl.load(tables + 256 + _divided(chroma, PER_VALUE, value)).to(tl.float32) * (1 / 255)
    value = tl.load(tables + 512 + value).to(tl.float32) * (1 / 255)
    sixths = hue * SIXTHS
    share = sixths - tl.floor(sixths)
    lowest, falling = value * (1 - saturation), value * (1 - saturation * share)
    rising = value * (1 - saturation * (1 - share))
    sector = tl.floor(sixths).to(tl.int32)
    return (
        _channel(sector, lowest, falling, rising, value),
        _channel(sector + 4, lowest, falling, rising, value),
        _channel(sector + 2, lowest, falling, rising, value),
    )


@triton.jit
def _divided(number: tensor, factor: constexpr, divisor: tensor) -> tensor:
    """`number` x `factor` / `divisor` as OpenCV does it, by a rounded quotient of these two; 0 / 0 is 0."""
    divisor = tl.maximum(divisor, 1).to(tl.float32)
    quotient = _rounded(tl.div_rn(tl.full(divisor.shape, factor, tl.float32), divisor))
    return (number * quotient + HALF) >> BITS


@triton.jit
def _channel(sector: tensor, lowest: tensor, falling: tensor, rising: tensor, value: tensor) -> tensor:
    sixth = sector % 6
    is_lowest = (sixth == 2) | (sixth == 3)
    rest = tl.where(sixth == 4, rising, value)
    return (tl.where(sixth == 1, falling, tl.where(is_lowest, lowest, rest)) * 255).to(tl.int32)
