"""Files of the hub of pretrained weights: the local cache, and downloads that tell how far they are and go on where they were broken off."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.types import UserError

if TYPE_CHECKING:
    from engine.models import ModelSpec

HUB = "https://huggingface.co"
TIMEOUT = 5.0
LOCK_S = 0.2
ATTEMPTS, PAUSE_S = 5, 1.0
PARTIAL = 206
PIECE = 1 << 18
SHA256 = re.compile("[0-9a-f]{64}")
PROXIES = ("http", "https", "socks5", "socks5h")
PLAIN_TAG = re.compile(r"\w[\w.-]*")
BLOCK = 1 << 20
Progress = Callable[[int, int], None]


def download(spec: ModelSpec, source: str) -> Path:
    """The file of the named source of weights, from the local cache or the hub (HF_ENDPOINT names a mirror).

    Raises UserError within seconds when the hub cannot be reached, or does not hand out the file.
    """
    sources = {each.name: each for each in spec.weights}
    if source not in sources:
        raise UserError("unknown_weights", name=source, model=spec.name, known=", ".join(sources) or "-")
    return fetch(sources[source].repository, sources[source].file)


def cached(spec: ModelSpec) -> Path | None:
    """The published weights, when an earlier download left them on this machine."""
    return next(filter(None, (cached_file(source.repository, source.file) for source in spec.weights)), None)


def cached_file(repository: str, file: str) -> Path | None:
    """A file of the hub that lies on this machine already."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def fetch(repository: str, file: str, progress: Progress | None = None) -> Path:
    """A file of the hub, from the local cache or downloaded. Raises UserError like `download`.

    `progress` is told how many bytes of how many have come; an exception that it raises ends the download, which goes on from there next time.
    """
    import httpx2
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if found := cached_file(repository, file):
        return found
    check_proxies()
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    where = {"repository": repository, "file": file, "endpoint": endpoint}
    try:
        url = hf_hub_url(repository, file, endpoint=endpoint)
        facts = get_hf_file_metadata(url, timeout=TIMEOUT, endpoint=endpoint)
        if facts.size and PLAIN_TAG.fullmatch(facts.etag or ""):
            _bring(url, str(facts.etag), facts.size, progress or (lambda come, whole: None), where)
        return Path(hf_hub_download(repository, file, endpoint=endpoint, etag_timeout=TIMEOUT))  # names what has come; asks for no byte again
    except HfHubHTTPError as error:
        raise UserError("weights_unavailable", **where, reason=str(error).splitlines()[0]) from error
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError("no_space_to_write", path=error.filename or constants.HF_HUB_CACHE) from error
        raise UserError("weights_offline", **where) from error


def check_proxies() -> None:
    """Raises UserError for a proxy of the environment that speaks something which no client here knows, as the socks:// of some desktops."""
    proxies = urllib.request.getproxies()
    if "*" in proxies.get("no", ""):
        return
    for kind, proxy in proxies.items():
        scheme, apart, _ = proxy.partition("://")
        if kind in ("http", "https", "all") and apart and scheme.lower() not in PROXIES:
            raise UserError("proxy_scheme", name=f"{kind.upper()}_PROXY", scheme=scheme, known=", ".join(f"{each}://" for each in PROXIES))


def megabytes(come: int, whole: int) -> tuple[str, str]:
    """How much of a file has come, in MB of 1,000,000 bytes; small files to a tenth."""
    digits = 0 if whole >= 10_000_000 else 1
    return f"{come / 1e6:.{digits}f}", f"{whole / 1e6:.{digits}f}"


def _bring(url: str, etag: str, whole: int, progress: Progress, where: dict[str, str]) -> None:
    """Brings a file of `whole` bytes into the hub's cache. What has come of it stays there when the download is broken off.

    Of several processes one downloads and the others wait for it. Raises UserError for content that is not what the hub announced.
    """
    from filelock import Timeout
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=where["repository"], repo_type="model") / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    blob, part = folder / etag, folder / f"{etag}.part"
    while not blob.exists():
        progress(_size(part), whole)
        try:
            with WeakFileLock(folder / f"{etag}.lock", timeout=LOCK_S):
                if blob.exists():
                    return
                _complete(url, part, whole, progress)
                _check(part, etag, where)
                part.replace(blob)
        except Timeout:
            continue


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _complete(url: str, part: Path, whole: int, progress: Progress) -> None:
    """Adds to what has come until `part` is whole. A connection that breaks is taken up again, unless it brings nothing several times in a row."""
    import httpx2

    vain = 0
    while (before := _size(part)) != whole:
        if before > whole:
            part.unlink()
        error: Exception = OSError(f"{before} of {whole} bytes")
        try:
            _append(url, part, whole, progress)
        except httpx2.TransportError as broken:
            error = broken
        vain = 0 if _size(part) > before else vain + 1
        if vain >= ATTEMPTS:
            raise error
        if _size(part) != whole:
            time.sleep(PAUSE_S)


def _append(url: str, part: Path, whole: int, progress: Progress) -> None:
    """Asks for the rest of a file and writes it as it comes; all of it where the hub does not hand out parts."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    come = _size(part)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={come}-"} if come else {})}
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        resumed = response.status_code == PARTIAL
        come = come if resumed else 0
        with part.open("ab" if resumed else "wb") as target:
            for piece in response.iter_bytes(PIECE):
                target.write(piece)
                come += len(piece)
                progress(come, max(whole, come))


def _check(part: Path, etag: str, where: dict[str, str]) -> None:
    """The hub names large files by their SHA-256. Raises UserError when the content has another one; it is not kept."""
    if not SHA256.fullmatch(etag):
        return
    found = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    if found.hexdigest() != etag:
        part.unlink()
        raise UserError("weights_unavailable", **where, reason=f"SHA-256 {found.hexdigest()[:12]}, {etag[:12]}")
