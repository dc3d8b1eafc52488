"""Makes the preprocessing goldens of this folder with Pillow. Needs: pip install pillow (made with 13.0).

The test builds the same source images from the formula in `source`, so only results are stored.
"""

import json
import pathlib

from PIL import Image

HERE = pathlib.Path(__file__).parent
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def source(width, height, channels):
    """Smooth waves with hard edges and noise, from integer arithmetic only."""
    data = bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                noise = (x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 2**32 >> 27
                edge = 120 if (x // 9 + y // 5 + c) % 2 else 0
                data.append(min(255, edge + (x * 3 + y * 2 + c * 40) % 97 + noise))
    return Image.frombytes(MODES[channels], (width, height), bytes(data))


def resize_shorter(image, side, filter):
    """torchvision's Resize(side)."""
    w, h = image.size
    short, long = min(w, h), max(w, h)
    longer = int(side * long / short)
    return image.resize((side, longer) if w <= h else (longer, side), filter)


def centre_crop(image, width, height):
    """torchvision's CenterCrop."""
    w, h = image.size
    if width > w or height > h:
        left, top = max(width - w, 0) // 2, max(height - h, 0) // 2
        padded = Image.new(image.mode, (max(width, w), max(height, h)))
        padded.paste(image, (left, top))
        image, (w, h) = padded, padded.size
    top, left = int(round((h - height) / 2.0)), int(round((w - width) / 2.0))
    return image.crop((left, top, left + width, top + height))


cases = []


def case(size, channels, filter, crop, resize, to, to_channels=None):
    image = source(*size, channels)
    to_channels = to_channels or channels
    if to_channels != channels:
        image = image.convert(MODES[to_channels])
    if crop == "squash":
        result = image.resize(to, FILTERS[filter])
    else:
        result = centre_crop(resize_shorter(image, resize, FILTERS[filter]), *to)
    name = f"{len(cases):02}.png"
    result.save(HERE / name, optimize=True)
    cases.append(
        dict(
            source=size,
            channels=channels,
            filter=filter,
            crop=crop,
            resize=resize,
            size=to,
            to_channels=to_channels,
            result=name,
        )
    )


for filter in FILTERS:
    case((61, 43), 3, filter, "squash", 0, (24, 24))
    case((17, 12), 3, filter, "squash", 0, (40, 33))
    case((90, 31), 1, filter, "center", 20, (20, 16))
for channels in (2, 4):
    case((50, 37), channels, "bicubic", "squash", 0, (20, 21))
case((64, 43), 3, "bicubic", "center", 36, (32, 32))
case((43, 67), 3, "bilinear", "center", 37, (32, 32))
case((43, 67), 3, "bicubic", "center", 20, (32, 28))
case((40, 41), 3, "bicubic", "center", 40, (33, 32))
case((33, 33), 3, "bilinear", "squash", 0, (20, 20), 1)
case((33, 33), 4, "bilinear", "squash", 0, (20, 20), 3)
(HERE / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
