import io
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from engine.datasets import quiet

SCRIPT = """
import sys
from engine.datasets import images
from engine.types import UserError
for name in sys.argv[1:]:
    try:
        images.open_image(name)
    except UserError as error:
        print(error.key, file=sys.stderr)
print("still heard", file=sys.stderr)
"""


@pytest.mark.skipif(quiet._streams() is None, reason="only glibc lets its error stream be turned away")
def test_what_decoders_print_is_not_heard_and_what_python_says_is(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    packed = io.BytesIO()
    picture.save(packed, "JPEG")
    (tmp_path / "a.jpg").write_bytes(packed.getvalue()[:-2] + b"abc" * 20 + b"\xff\xd9")
    picture.save(tmp_path / "b.png", icc_profile=b"garbage" * 100)
    data = bytearray((tmp_path / "b.png").read_bytes())
    data[-200] ^= 1
    (tmp_path / "c.png").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", SCRIPT, *(str(tmp_path / name) for name in ("a.jpg", "b.png", "c.png"))],
                          capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["image_damaged", "still heard"]


def test_threads_that_decode_at_once_leave_the_stream_as_it_was():
    streams = quiet._streams()
    if streams is None:
        pytest.skip("only glibc lets its error stream be turned away")

    def many():
        for _ in range(500):
            with quiet.decoders():
                assert streams[0].value == streams[2]
    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert streams[0].value == streams[1]
