"""Videos that nobody vouches for, frame by frame, and new ones that browsers play. Nothing but OpenCV is needed for either.

Written are VP9 pictures in an MP4 file, without sound: of the codecs that OpenCV's LGPL build of FFmpeg can write on every system the one that
current browsers play. H.264 would need an encoder under the GPL.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.datasets.images import resize
from engine.types import UserError

VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv"))
MAX_FILE_BYTES = 8 << 30
MAX_SECONDS = 4 * 3600
MAX_FRAMES = 1_000_000
MAX_PIXELS = 40_000_000  # of a frame: 8K and a little
USUAL_RATE, LOWEST_RATE, HIGHEST_RATE = 25.0, 0.5, 240.0  # frames a second: what lies outside is no rate
LONGEST_GAP = 10.0  # seconds for which one picture may stand still before a jump in time is taken for a fault
LARGEST_SIDE = 1280  # of a written video: VP9 takes its time
WRITTEN_RATE = 60.0
MOST_WAITING = 4
# Beginnings of the containers that are read. Playlists are not among them: they could name other files, or hosts.
_MP4 = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_STARTS = (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"OggS", b"FLV\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")


@dataclass(frozen=True)
class Frame:
    """u8[H,W,3] RGB, upright, with its number and its time in seconds from the first on."""

    index: int
    time: float
    pixels: np.ndarray


class Reader:
    """`for frame in Reader(file)`. `frames` is what the file says of their number, 0 when it does not; `size` = (width, height) as seen."""

    def __init__(self, path: Path | str) -> None:
        """Raises UserError for a file that is no video, too large, or broken."""
        self.path, self.name = Path(path), Path(path).name
        _check_file(self.path)
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what it cannot decode is told here
        self._capture = cv2.VideoCapture(str(self.path.resolve()), cv2.CAP_FFMPEG)  # a bare name might read as an address
        if not self._capture.isOpened():
            raise UserError("video_unreadable", name=self.name)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        try:
            self.fps, self.frames = self._header()
            first = self._next()
        except UserError:
            self.close()
            raise
        if first is None:
            self.close()
            raise UserError("video_without_frames", name=self.name)
        self._first = first
        self.size = (first.shape[1], first.shape[0])

    def __iter__(self) -> Iterator[Frame]:
        """Each frame once. Frames of another size than the first are stretched to it. Raises UserError for more of them than anybody has."""
        begin, last = self._time(), 0.0
        pixels: np.ndarray | None = self._first
        index = 0
        while pixels is not None:
            if index:
                now = self._time() - begin
                last = now if math.isfinite(now) and last < now < MAX_SECONDS else last + 1 / self.fps
            if index >= MAX_FRAMES or last > MAX_SECONDS:
                raise UserError("video_too_long", name=self.name, limit=MAX_SECONDS // 3600, frames=MAX_FRAMES)
            yield Frame(index, last, resize(pixels, self.size))
            pixels, index = self._next(), index + 1

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._capture.release()

    def _header(self) -> tuple[float, int]:
        width, height, fps, frames = (self._capture.get(each) for each in (
            cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        if not (width >= 1 and height >= 1):
            raise UserError("video_unreadable", name=self.name)
        if width * height > MAX_PIXELS:
            raise UserError("video_frame_too_large", name=self.name, width=int(width), height=int(height), limit=MAX_PIXELS // 1_000_000)
        rate = fps if math.isfinite(fps) and LOWEST_RATE <= fps <= HIGHEST_RATE else USUAL_RATE
        count = int(frames) if math.isfinite(frames) and 0 < frames < 1e12 else 0
        if rate != fps and fps > HIGHEST_RATE:  # ticks of a clock, by which no frame was counted
            count = int(count / fps * rate)
        if count > MAX_FRAMES or count / rate > MAX_SECONDS:
            raise UserError("video_too_long", name=self.name, limit=MAX_SECONDS // 3600, frames=MAX_FRAMES)
        return rate, count

    def _next(self) -> np.ndarray | None:
        """The next frame as RGB; None at the end, and where the file breaks off."""
        try:
            there, frame = self._capture.read()
        except (cv2.error, MemoryError):
            return None
        if not there or frame is None or frame.dtype != np.uint8 or frame.ndim not in (2, 3) or not frame.size:
            return None
        if frame.shape[0] * frame.shape[1] > MAX_PIXELS:
            raise UserError("video_frame_too_large", name=self.name, width=frame.shape[1], height=frame.shape[0], limit=MAX_PIXELS // 1_000_000)
        return cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB if frame.ndim == 2 or frame.shape[2] == 1 else cv2.COLOR_BGR2RGB)

    def _time(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


class Writer:
    """A video of `size` = (width, height) and a constant rate. Frames of any size are fitted into it, and written while the caller goes on."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        """Raises UserError when this machine's OpenCV cannot write it."""
        self.path, self.fps, self.size = path, min(fps, WRITTEN_RATE), _written_size(size)
        self.even = (self.size[0] + self.size[0] % 2, self.size[1] + self.size[1] % 2)
        self._written, self._late = 0, 0.0
        self._last: np.ndarray | None = None
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        self._writer = cv2.VideoWriter(str(path.resolve()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), self.fps, self.even)
        if not self._writer.isOpened():
            raise UserError("video_cannot_write", name=path.name)
        self._beside, self._waiting = ThreadPoolExecutor(1), deque[Future[None]]()

    def write(self, rgb: np.ndarray, time: float) -> None:
        """u8[H,W,3] that is shown from `time` (s) on: where frames are missing the one before is repeated, where there are too many one goes."""
        due = round((time - self._late) * self.fps)
        if due - self._written > LONGEST_GAP * self.fps:
            self._late += (due - self._written) / self.fps
            due = self._written
        if due < self._written:
            return
        picture = self._fitted(rgb)
        for _ in range(due - self._written):
            self._put(self._last if self._last is not None else picture)
        self._put(picture)
        self._last = picture

    def close(self) -> None:
        """Raises UserError when nothing came to be written."""
        self._beside.shutdown()
        for each in self._waiting:
            each.result()
        self._writer.release()
        if not self.path.is_file() or not self.path.stat().st_size:
            raise UserError("video_cannot_write", name=self.path.name)

    def abandon(self) -> None:
        self._beside.shutdown(cancel_futures=True)
        self._writer.release()
        self.path.unlink(missing_ok=True)

    def _put(self, picture: np.ndarray) -> None:
        """A few frames wait for the encoder, no more."""
        self._waiting.append(self._beside.submit(self._encode, picture))
        self._written += 1
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().result()

    def _encode(self, picture: np.ndarray) -> None:
        self._writer.write(picture)

    def _fitted(self, rgb: np.ndarray) -> np.ndarray:
        """BGR of an even size, as the codec wants it: the last row or column is there twice."""
        fitted = cv2.cvtColor(resize(rgb, self.size), cv2.COLOR_RGB2BGR)
        right, below = self.even[0] - self.size[0], self.even[1] - self.size[1]
        return cv2.copyMakeBorder(fitted, 0, below, 0, right, cv2.BORDER_REPLICATE) if right or below else fitted


def is_video(path: Path | str) -> bool:
    """Whether the name is that of a video; the content is looked at when it is opened."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def _written_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LARGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UserError("path_missing", path=str(path))
    if not path.is_file():
        raise UserError("special_file", name=path.name)  # opening a pipe would wait for ever
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UserError("video_file_too_large", name=path.name, limit=MAX_FILE_BYTES >> 30)
    with path.open("rb") as file:
        start = file.read(400)
    if not (start[4:8] in _MP4 or start.startswith(_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"AVI ") or _is_stream(start)):
        raise UserError("not_a_video", name=path.name)


def _is_stream(start: bytes) -> bool:
    """MPEG transport streams: packets of 188 bytes, those of cameras with a time before each."""
    return any(len(start) > offset + 188 + gap and start[offset] == start[offset + 188 + gap] == 0x47 for offset, gap in ((0, 0), (4, 4)))
