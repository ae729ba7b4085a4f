"""What the first bytes of a picture say: its kind, its size and how it has to be turned. Nothing is decoded here."""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from engine.datasets import tiff_headers

PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM")
HEADER_BYTES = 4096
MAX_EXIF_BYTES = 1 << 16
MAX_CHUNKS = 1000
ORIENTATION = 0x0112
FREQUENT = (b"\xff\xd8", b"\x89PNG\r\n\x1a\n")
EXIF_KINDS = {1: "B", 3: "H", 4: "I"}
VIEW_TYPES = range(0x020000, 0x030000)  # of the pictures in an MPO: views of one scene, neither thumbnails nor gain maps


class NotAnImage(ValueError):
    """The bytes are no picture that this package reads; `args[0]` says what was seen."""


@dataclass(frozen=True)
class Header:
    """Stored `width` x `height`, the EXIF `orientation` 1..8 that is still to be applied, `plain` = OpenCV decodes it alone.

    traits: "deep" more than 8 bits a sample or no unsigned integers; "several" more pictures follow the first; "cmyk" inks;
    "inverted" 0 is white; "premultiplied" colours already hold their alpha; "planar" one plane a channel; "wide" unsigned samples of 32 bits or more;
    "arithmetic" a JPEG without Huffman codes. `unpacked` = bytes of all samples, where the header tells.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1
    plain: bool = False
    traits: frozenset[str] = frozenset()
    unpacked: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as seen."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def parse(file: BinaryIO, start: bytes) -> Header:
    """The header of a file whose first bytes are `start`. Raises NotAnImage, or another ValueError or OSError for a damaged one."""
    if start.startswith(b"\xff\xd8"):
        return _jpeg(file, start)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(file, start)
    if start.startswith(tiff_headers.MAGICS):
        return _tiff(file, start)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _webp(file, start)
    return _other(file, start)


def open_with_pillow(file: BinaryIO) -> Image.Image:
    """Only the formats named above: none that runs a program or reads other files."""
    Image.init()
    return Image.open(file, formats=PILLOW_FORMATS)


def goes_on(file: BinaryIO) -> bool:
    """Whether a GIF has a second frame, found without decoding the first; the other kinds say it in their header."""
    file.seek(0)
    with open_with_pillow(file) as picture:
        return bool(getattr(picture, "is_animated", False))


# ---- JPEG

def _jpeg(file: BinaryIO, start: bytes) -> Header:
    """Walks the markers up to the frame header; an EXIF block on the way gives the orientation."""
    position, base, orientation, several, buffer = 2, 0, 1, False, start
    for _ in range(MAX_CHUNKS):
        if position - base + 10 > len(buffer):
            file.seek(position)
            base, buffer = position, file.read(HEADER_BYTES)
        at = position - base
        if len(buffer) < at + 4 or buffer[at] != 0xFF:
            break
        marker = buffer[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        length = buffer[at + 2] << 8 | buffer[at + 3]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            depth, height, width, channels = struct.unpack_from(">BHHB", buffer, at + 4)
            traits = frozenset(name for name, there in (("several", several), ("cmyk", channels == 4), ("arithmetic", marker > 0xC8)) if there)
            return Header("jpeg", width, height, orientation, depth == 8 and channels in (1, 3), traits)
        if marker in (0xE1, 0xE2) and length >= 2:
            block = buffer[at + 4:at + 2 + length]
            if len(block) < length - 2:
                file.seek(position + 4)
                block = file.read(length - 2)
            if block.startswith(b"Exif\0\0") and orientation == 1:
                orientation = exif_orientation(block[6:])
            several = several or (block.startswith(b"MPF\0") and _views(block[4:]) > 1)
        elif marker in (0xD9, 0xDA) or length < 2:
            break
        position += 2 + length
    raise ValueError("no frame header")


def _views(index: bytes) -> int:
    """How many pictures of one scene a multi-picture index names."""
    order = {b"II": "<", b"MM": ">"}.get(index[:2])
    entry = index and order and _exif_entry(index, order, 0xB002)
    if not order or not entry:
        return 0
    count, offset = struct.unpack_from(order + "II", index, entry + 4)
    kinds = [struct.unpack_from(order + "I", index, at)[0] & 0xFFFFFF
             for at in range(offset, min(offset + count, len(index) - 15), 16)]
    return sum(kind in VIEW_TYPES for kind in kinds)


def exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory; 1 when it is absent or makes no sense."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    entry = _exif_entry(tiff, order, ORIENTATION) if order else None
    if order is None or entry is None:
        return 1
    kind = EXIF_KINDS.get(struct.unpack_from(order + "H", tiff, entry + 2)[0])
    value = struct.unpack_from(order + kind, tiff, entry + 8)[0] if kind else 1
    return value if 1 <= value <= 8 else 1


def _exif_entry(tiff: bytes, order: str, wanted: int) -> int | None:
    """Where the 12 bytes of a tag stand in the first directory."""
    if len(tiff) < 14:
        return None
    offset = struct.unpack_from(order + "I", tiff, 4)[0]
    if offset + 2 > len(tiff):
        return None
    count = struct.unpack_from(order + "H", tiff, offset)[0]
    for entry in range(offset + 2, min(offset + 2 + 12 * count, len(tiff) - 11), 12):
        if struct.unpack_from(order + "H", tiff, entry)[0] == wanted:
            return entry
    return None


# ---- PNG

def _png(file: BinaryIO, start: bytes) -> Header:
    if start[12:16] != b"IHDR" or len(start) < 29:
        raise ValueError("no IHDR chunk")
    width, height, depth, colour = struct.unpack_from(">IIBB", start, 16)
    plain, traits, position = depth == 8 and colour in (0, 2), {"deep"} if depth == 16 else set(), 33
    exif = b""
    for _ in range(MAX_CHUNKS):
        head = start[position:position + 8]
        if len(head) < 8:
            file.seek(position)
            head = file.read(8)
        name = head[4:8]
        if len(head) < 8 or name in (b"IDAT", b"IEND"):
            break
        length = struct.unpack(">I", head[:4])[0]
        if name == b"tRNS":
            plain = False
        elif name == b"acTL":
            plain = False
            traits.add("several")
        elif name in (b"eXIf", b"zTXt", b"tEXt"):
            file.seek(position + 8)
            found = _png_exif(name, file.read(min(length, MAX_EXIF_BYTES)))
            exif = found if name == b"eXIf" else exif or found
        position += 12 + length
    exif = exif or _trailing_exif(file, start)
    return Header("png", width, height, exif_orientation(exif) if exif else 1, plain, frozenset(traits))


def _png_exif(name: bytes, data: bytes) -> bytes:
    """The EXIF block of a chunk: its own, or the hexadecimal text that ImageMagick has written for it."""
    if name == b"eXIf":
        return data.removeprefix(b"Exif\0\0")
    keyword, _, text = data.partition(b"\0")
    if keyword != b"Raw profile type exif":
        return b""
    try:
        text = zlib.decompressobj().decompress(text[1:], 2 * MAX_EXIF_BYTES) if name == b"zTXt" else text
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:])).removeprefix(b"Exif\0\0")
    except (zlib.error, ValueError):
        return b""


def _trailing_exif(file: BinaryIO, start: bytes) -> bytes:
    """An EXIF chunk behind the pixels, where some programs put it; its checksum tells it from pixels that look like one."""
    tail = start
    if len(start) == HEADER_BYTES:
        file.seek(-HEADER_BYTES, os.SEEK_END)
        tail = file.read(HEADER_BYTES)
    at = tail.rfind(b"eXIf")
    if at < 4:
        return b""
    length = struct.unpack_from(">I", tail, at - 4)[0]
    body = tail[at:at + 4 + length]
    whole = tail[at + 4 + length:at + 8 + length] == struct.pack(">I", zlib.crc32(body))
    return body[4:] if whole else b""


# ---- TIFF, WebP and the rest

def _tiff(file: BinaryIO, start: bytes) -> Header:
    """Both decoders turn a TIFF upright by themselves, so its size here is that of the turned picture."""
    tags = tiff_headers.read(file, start)
    width, height = tags.first(tiff_headers.WIDTH), tags.first(tiff_headers.HEIGHT)
    if tags.first(tiff_headers.TURN, 1) in range(5, 9):
        width, height = height, width
    ink = tags.first(tiff_headers.PHOTOMETRIC, 1)
    bits, sample = tags.first(tiff_headers.BITS, 1), tags.first(tiff_headers.SAMPLE_FORMAT, 1)
    traits = {"deep": bits > 8 or sample in (2, 3), "several": tags.pages > 1, "cmyk": ink == 5, "inverted": ink == 0,
              "premultiplied": tags.first(tiff_headers.EXTRA, 0) == 1, "wide": bits >= 32 and sample == 1,
              "planar": tags.first(tiff_headers.PLANAR, 1) == 2 and tags.first(tiff_headers.SAMPLES, 1) > 1}
    unpacked = width * height * tags.first(tiff_headers.SAMPLES, 1) * bits // 8
    return Header("tiff", width, height, traits=frozenset(name for name, there in traits.items() if there), unpacked=unpacked)


def _webp(file: BinaryIO, start: bytes) -> Header:
    kind = start[12:16]
    if len(start) < 30:
        raise ValueError("no frame header")
    if kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", start, 26))
        return Header("webp", width, height)
    if kind == b"VP8L" and start[20] == 0x2F:
        bits = struct.unpack_from("<I", start, 21)[0]
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise ValueError("no frame header")
    width, height = (int.from_bytes(start[at:at + 3], "little") + 1 for at in (24, 27))
    turn = exif_orientation(_webp_exif(file)) if start[20] & 8 else 1
    return Header("webp", width, height, turn, traits=frozenset(("several",)) if start[20] & 2 else frozenset())


def _webp_exif(file: BinaryIO) -> bytes:
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        length = struct.unpack_from("<I", head, 4)[0]
        if head[:4] == b"EXIF":
            return file.read(min(length, MAX_EXIF_BYTES)).removeprefix(b"Exif\0\0")
        position += 8 + length + length % 2
    return b""


def _other(file: BinaryIO, start: bytes) -> Header:
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n\0")[:512].lower()
    if head.startswith(b"<"):
        raise NotAnImage("SVG" if b"<svg" in head else "HTML/XML")
    claimed = _claimed(start)
    if claimed is not None and claimed.width * claimed.height > (Image.MAX_IMAGE_PIXELS or 0):
        return claimed  # Pillow would only warn, or call it damaged
    file.seek(0)
    try:
        with open_with_pillow(file) as picture:
            deep = picture.mode.startswith(("I", "F")) or (claimed is not None and "deep" in claimed.traits)
            return Header((picture.format or "").lower(), *picture.size, traits=frozenset(("deep",)) if deep else frozenset())
    except Image.UnidentifiedImageError as error:
        raise NotAnImage(ascii(start[:12].decode("latin-1"))) from error


def _claimed(start: bytes) -> Header | None:
    """The size that a GIF, BMP or PNM states at its start."""
    if start.startswith((b"GIF87a", b"GIF89a")) and len(start) >= 10:
        return Header("gif", *struct.unpack_from("<HH", start, 6))
    if start.startswith(b"BM") and len(start) >= 26:
        short = struct.unpack_from("<I", start, 14)[0] == 12
        width, height = struct.unpack_from("<HH" if short else "<ii", start, 18)
        return Header("bmp", abs(width), abs(height))
    if found := re.match(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})(?:(?:\s+|#[^\n]*\n)+(\d{1,5})\s)?", start):
        deep = start[1:2] in b"2356" and int(found[3] or 0) > 255
        return Header("ppm", int(found[1]), int(found[2]), traits=frozenset(("deep",)) if deep else frozenset())
    return None
