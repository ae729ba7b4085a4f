"""Depths, channels and layouts that few programs write and every data set brings along."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from engine.datasets import images, tones
from engine.types import UserError

RANDOM = np.random.default_rng(0)
COLOUR16 = RANDOM.integers(0, 4096, (24, 40, 3)).astype(np.uint16)
SAMPLE_KINDS = {"u": 1, "i": 2, "f": 3}


def tiff(path, pixels, *, photometric=None, orientation=1, extra=None, planar=1, order="<", pages=1, subfile=0):
    """An uncompressed TIFF of any sample type, written without a library."""
    pixels = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(order)))
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    body = pixels.tobytes() if planar == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    bits, strips = 8 * pixels.dtype.itemsize, 1 if planar == 1 else samples
    ink = photometric if photometric is not None else 2 if samples >= 3 else 1
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [ink]),
            273: (4, [8 + k * len(body) // strips for k in range(strips)]), 274: (3, [orientation]), 277: (3, [samples]), 278: (4, [height]),
            279: (4, [len(body) // strips] * strips), 284: (3, [planar]), 339: (3, [SAMPLE_KINDS[pixels.dtype.kind]] * samples)}
    if extra is not None:
        tags[338] = (3, [extra])
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body)) + body
    for page in range(pages):
        entries = {**tags, 254: (4, [subfile if page else 0])}
        start = len(data)
        values = start + 2 + 12 * len(entries) + 4
        table, rest = struct.pack(order + "H", len(entries)), b""
        for tag, (kind, content) in sorted(entries.items()):
            packed = struct.pack(order + {3: "H", 4: "I"}[kind] * len(content), *content)
            field = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", values + len(rest))
            rest += packed if len(packed) > 4 else b""
            table += struct.pack(order + "HHI", tag, kind, len(content)) + field
        last = page == pages - 1
        data += table + struct.pack(order + "I", 0 if last else values + len(rest)) + rest
    path.write_bytes(data)
    return path


def windowed(pixels):
    low, high = np.percentile(pixels, (0.5, 99.5))
    return (pixels.astype(float).clip(low, high) - low) / (high - low) * 255


def agrees(path, expected, within=1.0):
    """Gray or RGB; also that the size from the header is that of the pixels."""
    shown = images.open_image(path)
    assert images.size_of(path) == (shown.shape[1], shown.shape[0])
    expected = expected if expected.ndim == 3 else np.repeat(expected[:, :, None], 3, 2)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= within


def key_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert str(arguments[0].name) in str(caught.value)
    return caught.value.key


# ---- depth

@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "u8", "f4", "f8", "i1"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_any_sample_type_is_shown_through_its_percentiles(tmp_path, kind, order, channels):
    top = 120 if kind == "i1" else 1 << 31 if kind == "u4" else 1 << 40 if kind == "u8" else 3000
    values = RANDOM.uniform(-top if kind[0] in "if" else 0, top, (24, 40, channels)).astype(kind).squeeze()
    path = tiff(tmp_path / "x.tif", values, order=order)
    agrees(path, windowed(values))
    assert images.remarks(path) == ("windowed",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_colours_are_turned_upright_like_all_others(tmp_path, orientation):
    path = tiff(tmp_path / "x.tif", COLOUR16, orientation=orientation)
    with Image.open(tiff(tmp_path / "flat.tif", tones.to_8_bits(COLOUR16), orientation=orientation)) as picture:
        picture.load()
        upright = np.asarray(picture)
    for each in (path, tmp_path / "flat.tif"):
        assert images.size_of(each) == (upright.shape[1], upright.shape[0])
        assert np.array_equal(images.open_image(each), upright)


@pytest.mark.parametrize("order", ["<", ">"])
def test_channels_in_planes_are_put_together(tmp_path, order):
    agrees(tiff(tmp_path / "x.tif", COLOUR16, planar=2, order=order), windowed(COLOUR16))
    five = np.concatenate([COLOUR16, COLOUR16[:, :, :2]], 2)
    agrees(tiff(tmp_path / "five.tif", five, planar=2, photometric=1, order=order), windowed(COLOUR16))


def test_where_zero_is_white_it_is_shown_white(tmp_path):
    agrees(tiff(tmp_path / "x.tif", COLOUR16[:, :, 0], photometric=0), 255 - windowed(COLOUR16[:, :, 0]))
    agrees(tiff(tmp_path / "y.tif", (COLOUR16[:, :, 0] >> 4).astype(np.uint8), photometric=0), 255 - (COLOUR16[:, :, 0] >> 4))


@pytest.mark.parametrize("extra", [1, 2])
def test_deep_transparency_lies_over_white(tmp_path, extra):
    alpha = RANDOM.integers(20_000, 65536, (24, 40, 1)).astype(np.uint16)
    alpha[:5] = 0
    colours = COLOUR16 * 16
    share = alpha / 65535.0
    stored = colours if extra == 2 else np.round(colours * share).astype(np.uint16)
    low, high = np.percentile(colours[5:], (0.5, 99.5))
    expected = (colours.astype(float).clip(low, high) - low) / (high - low) * 255 * share + 255 * (1 - share)
    agrees(tiff(tmp_path / "x.tif", np.concatenate([stored, alpha], 2), extra=extra), expected, 2.0)


def test_a_deep_picture_that_fits_eight_bits_stays(tmp_path):
    values = RANDOM.integers(0, 200, (24, 40, 3)).astype(np.uint16)
    agrees(tiff(tmp_path / "x.tif", values), values, 0)
    Image.fromarray(values[:, :, 0]).save(tmp_path / "x.png")
    agrees(tmp_path / "x.png", values[:, :, 0], 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_files_of_another_writer_are_windowed(tmp_path, channels, suffix):
    values = RANDOM.integers(0, 4096, (24, 40, channels)).astype(np.uint16)
    if channels == 4:
        values[:, :, 3] = 65535
    cv2.imwrite(str(tmp_path / f"x.{suffix}"), values if channels < 3 else values[:, :, [2, 1, 0, 3][:channels]])
    agrees(tmp_path / f"x.{suffix}", windowed(values[:, :, :3].squeeze()))
    assert images.remarks(tmp_path / f"x.{suffix}") == ("windowed",)


def test_twelve_bits_packed_into_three_bytes_a_pair_are_read(tmp_path):
    values = RANDOM.integers(0, 4096, (8, 10)).astype(np.uint16)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1).astype(np.uint8)
    tags = {256: 10, 257: 8, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: packed.size}
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4)
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + packed.size) + packed.tobytes() + table)
    agrees(tmp_path / "x.tif", windowed(values))


@pytest.mark.parametrize("magic", [b"P5", b"P6"])
@pytest.mark.parametrize("top", [255, 15, 4095, 65535])
def test_netpbm_files_of_every_depth(tmp_path, magic, top):
    values = RANDOM.integers(0, top + 1, (24, 40, 1 if magic == b"P5" else 3)).astype(np.uint16)
    data = values.astype(">u2").tobytes() if top > 255 else values.astype(np.uint8).tobytes()
    path = tmp_path / "x.pnm"
    path.write_bytes(magic + b"\n# a comment\n40 24\n%d\n" % top + data)
    agrees(path, windowed(values.squeeze()) if top > 255 else values.squeeze() * (255 / top), 1.5)
    assert images.remarks(path) == (("windowed",) if top > 255 else ())


# ---- colours

def test_inks_of_a_jpeg_are_inverted_where_adobe_did_so(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 1:3] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.jpg", quality=95)
    shown = images.open_image(tmp_path / "x.jpg").astype(int)
    assert np.abs(shown[2, 8] - [255, 0, 0]).max() < 12
    assert np.abs(shown[13, 8] - [255, 255, 255]).max() < 12
    assert images.remarks(tmp_path / "x.jpg") == ("cmyk",)


def test_lab_is_turned_into_srgb(tmp_path):
    lab = np.zeros((4, 4, 3), np.uint8)
    lab[:, :, 0] = 136
    lab[:, :, 1:] = np.array([80, 67], np.int8).view(np.uint8)
    Image.fromarray(lab, "LAB").save(tmp_path / "x.tif")
    lightness, a, b = 136 / 255 * 100, 80.0, 67.0
    middle = (lightness + 16) / 116
    x, y, z = (t ** 3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29) for t in (middle + a / 500, middle, middle - b / 200))
    d50 = np.array([0.96422 * x, y, 0.82521 * z])
    linear = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]) @ d50
    linear = linear.clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(images.open_image(tmp_path / "x.tif")[0, 0] - expected).max() <= 4


def test_a_clear_colour_of_a_palette_shows_white(tmp_path):
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (0, 0, 4, 8))
    picture.save(tmp_path / "x.png", transparency=0)
    shown = images.open_image(tmp_path / "x.png")
    assert tuple(shown[0, 0]) == (200, 100, 50)
    assert tuple(shown[0, 7]) == (255, 255, 255)


# ---- turning

def with_chunk(png, name, body, before):
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    at = png.find(before) - 4
    return png[:at] + chunk + png[at:]


@pytest.mark.parametrize("place", ["IDAT", "IEND", "zTXt", "tEXt"])
def test_the_orientation_of_a_png_is_found_wherever_programs_write_it(tmp_path, place):
    turn = Image.Exif()
    turn[images.ORIENTATION] = 6
    exif = turn.tobytes()
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 255, (240, 400, 3), dtype=np.uint8)).save(buffer, "PNG")
    text = f"\nexif\n{len(exif):8d}\n{exif.hex()}\n".encode()
    name, body = {"zTXt": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
                  "tEXt": (b"tEXt", b"Raw profile type exif\0" + text)}.get(place, (b"eXIf", exif.removeprefix(b"Exif\0\0")))
    path = tmp_path / "x.png"
    path.write_bytes(with_chunk(buffer.getvalue(), name, body, b"IEND" if place == "IEND" else b"IDAT"))
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert images.size_of(path) == (240, 400)
    assert np.array_equal(images.open_image(path), expected)


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + bytes(40), b"XX*\0" + bytes(40),
    b"II*\0\x08\0\0\0\1\0\x12\1\5\0\1\0\0\0\6\0\0\0", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0"])
def test_a_broken_exif_block_turns_nothing(tmp_path, block):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG")
    data = buffer.getvalue()
    (tmp_path / "x.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + data[2:])
    assert images.size_of(tmp_path / "x.jpg") == (20, 10)
    assert images.open_image(tmp_path / "x.jpg").shape == (10, 20, 3)


# ---- the first of several

@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True}), ("png", {}), ("tif", {}), ("mpo", {"quality": 95})])
def test_the_first_of_several_pictures_is_shown_and_said(tmp_path, suffix, options):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"many.{suffix}", save_all=True, append_images=frames[1:], **options)
    frames[0].save(tmp_path / f"one.{suffix}", **options)
    assert np.abs(images.open_image(tmp_path / f"many.{suffix}").astype(int) - [255, 0, 0]).max() <= 2
    assert images.remarks(tmp_path / f"one.{suffix}") == ()
    if suffix != "mpo":  # Pillow writes an index without saying what the others are, as telephones do for their gain maps
        assert images.remarks(tmp_path / f"many.{suffix}") == ("first_page",)


def test_views_of_a_stereo_camera_are_pages_and_smaller_copies_in_a_tiff_are_not(tmp_path, reference):
    assert images.remarks(reference / "data/formats/images/pillow/sugarshack.mpo") == ("first_page",)
    assert images.remarks(tiff(tmp_path / "pages.tif", COLOUR16, pages=2)) == ("first_page", "windowed")
    assert images.remarks(tiff(tmp_path / "map.tif", (COLOUR16 >> 4).astype(np.uint8), pages=3, subfile=1)) == ()


# ---- what is too large or not there

def test_every_kind_of_header_that_claims_too_much_is_refused_before_decoding(tmp_path):
    size = 40_000
    canvas = (size - 1).to_bytes(3, "little") * 2
    claims = {"x.gif": b"GIF89a" + struct.pack("<HH", size, size) + bytes(20),
              "x.bmp": b"BM" + bytes(12) + struct.pack("<IiiHH", 40, size, -size, 1, 24) + bytes(40),
              "x.ppm": b"P6 40000 40000 255\n" + bytes(50),
              "x.webp": b"RIFF" + struct.pack("<I", 1 << 20) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + bytes(20)}
    for name, content in claims.items():
        (tmp_path / name).write_bytes(content)
    data = bytearray(tiff(tmp_path / "x.tif", COLOUR16).read_bytes())
    for tag in (256, 257):
        at = data.find(struct.pack("<HHI", tag, 4, 1))
        data[at + 8:at + 12] = struct.pack("<I", size)
    (tmp_path / "x.tif").write_bytes(data)
    for name in (*claims, "x.tif"):
        assert key_of(images.size_of, tmp_path / name) == "image_too_large"
        assert key_of(images.open_image, tmp_path / name) == "image_too_large"


def test_the_largest_size_that_is_allowed_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 24 * 40)
    assert images.open_image(tiff(tmp_path / "x.tif", COLOUR16)).shape == (24, 40, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 24 * 40 - 1)
    assert key_of(images.open_image, tmp_path / "x.tif") == "image_too_large"


@pytest.mark.parametrize("pixels", [np.zeros((8, 9, 2), np.uint16), np.zeros((8, 9, 5), np.uint16), np.zeros((8, 9), np.float16)])
def test_what_no_decoder_reads_is_called_unsupported_and_not_damaged(tmp_path, pixels):
    path = tiff(tmp_path / "x.tif", pixels, photometric=1)
    assert images.size_of(path) == (9, 8)
    assert key_of(images.open_image, path) == "image_unsupported"


def test_every_prefix_and_every_changed_byte_of_a_deep_picture_is_survived(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), COLOUR16)
    wholes = [tiff(tmp_path / "a.tif", COLOUR16[:6, :8]), tiff(tmp_path / "b.tif", COLOUR16[:6, :8], planar=2), tmp_path / "x.png"]
    for whole in [path.read_bytes() for path in wholes]:
        for position in range(0, len(whole), 7):
            changed = bytearray(whole)
            changed[position] ^= 0xFF
            for content in (whole[:position], bytes(changed)):
                (tmp_path / "case").write_bytes(content)
                try:
                    assert images.open_image(tmp_path / "case").shape[2] == 3
                except UserError as error:
                    assert error.key in ("image_damaged", "image_empty", "not_an_image", "image_too_large", "image_unsupported")


def test_a_torn_deep_picture_is_refused_and_never_filled(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), COLOUR16)
    cv2.imwrite(str(tmp_path / "x.tif"), RANDOM.integers(0, 4096, (300, 400, 3)).astype(np.uint16))
    for name in ("x.png", "x.tif"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:len(data) * 2 // 3])
        assert key_of(images.open_image, tmp_path / name) in ("image_damaged", "image_unsupported")


def test_the_window_is_that_of_the_tones(tmp_path):
    path = tiff(tmp_path / "x.tif", COLOUR16)
    assert np.array_equal(images.open_image(path), tones.to_8_bits(COLOUR16))
