"""Makes the image files of this folder with Pillow and numpy. Needs: pip install pillow numpy (made with 13.0
and 2.4).

`NAME.jpg` and so on are whole files of many kinds; `pixels.json` has, for files whose pixels must equal
Pillow's, the SHA-256 of `convert("RGB")`, and, for JPEG, its mean over 8×8 squares, since decoders differ by
a few levels. `damaged.json` is Pillow's judgement of damaged variants of the files: each variant is described
by steps that the test repeats.
"""

import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 77, 53


def picture(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = np.stack([x * 3 % 256, (y * 4 + x) % 256, x * y // 12 % 256], -1)
    return Image.fromarray((waves + rng.normal(0, 8, (HEIGHT, WIDTH, 3))).clip(0, 255).astype("uint8"))


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def deep_png(colour_type, channels):
    """Pillow writes no 16-bit colour."""
    rows = np.random.default_rng(5).integers(0, 65536, (9, 11 * channels), dtype=np.uint16).astype(">u2")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 11, 9, 16, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


image = picture(1)
small = image.resize((23, 17))
alpha = small.convert("RGBA")
alpha.putalpha(small.convert("L"))
palette = small.quantize(16)
turned = Image.Exif()
turned[274] = 6
turned[271] = "a camera"
exif = turned.tobytes()
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
other = small.rotate(90)

FILES = {
    "baseline.jpg": encoded(image, "JPEG", quality=80),
    "progressive.jpg": encoded(image, "JPEG", quality=80, progressive=True),
    "restarts.jpg": encoded(image, "JPEG", quality=80, restart_marker_blocks=3),
    "progressive_restarts.jpg": encoded(image, "JPEG", quality=80, progressive=True, restart_marker_blocks=2),
    "full_colour.jpg": encoded(image, "JPEG", quality=80, subsampling=0, optimize=True),
    "half_colour.jpg": encoded(image, "JPEG", quality=80, subsampling=1),
    "grey.jpg": encoded(image.convert("L"), "JPEG", quality=80),
    "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=80),
    "two_pictures.jpg": encoded(image, "MPO", save_all=True, append_images=[image]),
    "turned.jpg": encoded(small, "JPEG", quality=95, subsampling=0, exif=exif),
    "rgb.png": encoded(small, "PNG"),
    "rgba.png": encoded(alpha, "PNG"),
    "grey.png": encoded(small.convert("L"), "PNG"),
    "grey_alpha.png": encoded(alpha.convert("LA"), "PNG"),
    "palette.png": encoded(palette, "PNG"),
    "palette_clear.png": encoded(palette, "PNG", transparency=3),
    "bits.png": encoded(small.convert("1"), "PNG"),
    "deep.png": deep_png(2, 3),
    "deep_grey.png": deep_png(0, 1),
    "animated.png": encoded(small, "PNG", save_all=True, append_images=[other]),
    "turned.png": encoded(small, "PNG", exif=exif),
    "profile.png": encoded(small, "PNG", icc_profile=profile),
    "plain.gif": encoded(small, "GIF"),
    "clear.gif": encoded(palette, "GIF", transparency=3),
    "animated.gif": encoded(small, "GIF", save_all=True, append_images=[other], duration=50),
    "lossy.webp": encoded(small, "WEBP"),
    "lossless.webp": encoded(alpha, "WEBP", lossless=True, exact=True),
    "animated.webp": encoded(small, "WEBP", save_all=True, append_images=[other], lossless=True),
    "turned.webp": encoded(small, "WEBP", lossless=True, exif=exif),
    "plain.bmp": encoded(small, "BMP"),
    "palette.bmp": encoded(palette, "BMP"),
    "bits.bmp": encoded(small.convert("1"), "BMP"),
    "plain.tif": encoded(small, "TIFF"),
    "lzw.tif": encoded(small, "TIFF", compression="tiff_lzw"),
    "cmyk.tif": encoded(small.convert("CMYK"), "TIFF"),
    "pages.tif": encoded(small, "TIFF", save_all=True, append_images=[other]),
    "turned.tif": encoded(small, "TIFF", exif=turned),
    "plain.ppm": encoded(small, "PPM"),
    "grey.pgm": encoded(small.convert("L"), "PPM"),
    "bits.pbm": encoded(small.convert("1"), "PPM"),
}

# A camera's RAW file: the first directory is a small preview, the photograph lies in another.
FILES["raw.nef"] = encoded(other, "TIFF", tiffinfo={254: 1, 330: 8})


def steps(name, data):
    """Variants of a file, each a list of steps: keep so many bytes (a number from the end if negative),
    append, fill up with a byte, append the whole file's first bytes, replace, cut out, insert."""
    n = len(data)
    yield from ([["keep", n * tenth // 10]] for tenth in range(1, 10))
    yield from ([["keep", -count]] for count in (1, 2, 3, 4, 6, 12, 40))
    if name.endswith(".jpg"):
        half, later = n // 2, n * 6 // 10
        yield [["fill", "00", 300]]
        yield [["fill", "ff", 300]]
        yield [["append", b"no picture".hex()]]
        yield [["again", n]]
        yield [["keep", half], ["append", "ffd9"]]
        yield [["keep", n * 9 // 10], ["append", "ffd9"]]
        yield [["keep", half], ["fill", "00", n - half]]
        yield [["keep", half], ["fill", "ff", n - half]]
        yield [["keep", half], ["again", 600]]
        yield [["replace", later, "%02x" % (data[later] ^ 0x55)]]
        yield [["replace", later, "00" * 20]]
        yield [["cut", later, 150]]
        yield [["keep", -2], ["fill", "5a", 40], ["append", "ffd9"]]
        yield [["keep", -2], ["fill", "00", 300]]
        yield [["insert", 2, "ffffff"]]
    if name.endswith(".png"):
        at = data.index(b"IDAT")
        size = struct.unpack(">I", data[at - 4 : at])[0]
        yield [["replace", at + 4 + size, "%02x" % (data[at + 4 + size] ^ 1)]]
        yield [["replace", at + 24, "%02x" % (data[at + 24] ^ 1)]]
        yield [["replace", 19, "%02x" % (data[19] ^ 1)]]
        yield [["fill", "00", 50]]
    if name.startswith("restarts"):
        third = data.index(b"\xff\xd3")
        yield [["cut", third, 2]]
        yield [["cut", third, data.index(b"\xff\xd4") - third]]
        yield [["replace", third + 1, "d6"]]


def apply(whole, steps):
    data = whole
    for kind, *step in steps:
        match kind:
            case "keep":
                data = data[: step[0]]
            case "append":
                data += bytes.fromhex(step[0])
            case "fill":
                data += bytes.fromhex(step[0]) * step[1]
            case "again":
                data += whole[: step[0]]
            case "replace":
                new = bytes.fromhex(step[1])
                data = data[: step[0]] + new + data[step[0] + len(new) :]
            case "cut":
                data = data[: step[0]] + data[step[0] + step[1] :]
            case "insert":
                data = data[: step[0]] + bytes.fromhex(step[1]) + data[step[0] :]
    return data


def judged(data):
    """Whether Pillow takes the file."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
        return "taken"
    except Exception:
        return "refused"


pixels, damaged = {}, []
for name, data in FILES.items():
    (HERE / name).write_bytes(data)
    with Image.open(io.BytesIO(data)) as opened:
        upright = opened.convert("RGB")
    if name.startswith("turned") and not name.endswith(".tif"):
        upright = upright.transpose(Image.Transpose.ROTATE_270)
    pixels[name] = dict(size=upright.size, sha256=hashlib.sha256(upright.tobytes()).hexdigest())
    if name.endswith(".jpg"):
        across, down = upright.width // 8, upright.height // 8
        squares = np.array(upright)[: 8 * down, : 8 * across].reshape(down, 8, across, 8, 3)
        pixels[name]["means"] = squares.mean((1, 3)).round().astype(int).ravel().tolist()
    for variant in steps(name, data):
        damaged.append([name, judged(apply(data, variant)), variant])
(HERE / "pixels.json").write_text(json.dumps(pixels, separators=(",", ":")) + "\n")
(HERE / "damaged.json").write_text(
    "[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in damaged) + "\n]\n"
)
