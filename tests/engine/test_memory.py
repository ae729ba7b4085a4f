"""Memory that is kept."""

import platform
import subprocess
import sys

import pytest

from engine.memory import keep_memory

FAULTS = """
import resource, sys
from engine.memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def take():
    blocks = [bytearray(2_000_000) for _ in range(40)]
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how, monkeypatch):
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert faults("keep", monkeypatch) < faults("give", monkeypatch) / 10


def test_what_the_environment_says_stands(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory()
