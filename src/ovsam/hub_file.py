"""One file of the Hugging Face hub: downloaded once and held against its SHA-256.

The hub's own client downloads, so that its cache, its environment variables (`HF_HOME`,
`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`) and its tools hold here, too. A connection that breaks
is taken up where it broke off. A file that comes over plain HTTP is checked by the client for its
size alone, so its content is checked here.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ovsam.errors import CheckpointError, first_line
from ovsam.files import sha256_of

PROBE_SECONDS = 5.0  # to find out whether the hub answers at all; its client would try for longer
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of weights in a repository on the hub.

    Attributes:
        repository: as OWNER/NAME.
        name: of the file in it.
        megabytes: its size in millions of bytes.
        what: the model that it holds.
        licence: of the weights.
        sha256: as it is known from elsewhere; empty = the hub's own word for it counts.
    """

    repository: str
    name: str
    megabytes: int
    what: str
    licence: str
    sha256: str = ""

    @property
    def address(self) -> str:
        """Where a person can download it by hand."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.name}"


def downloaded(file: HubFile, cache_dir: Path | None = None) -> Path:
    """Where a file lies, which is downloaded if it is not there; progress is shown.

    Args:
        file: what to fetch.
        cache_dir: the folder of the hub's cache; None = where the hub's client keeps it.

    Raises:
        CheckpointError: why the file cannot be had; or it is not what it should be, and is deleted.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:  # what has been downloaded needs no network
        path = hf_hub_download(
            file.repository, file.name, cache_dir=cache_dir, local_files_only=True
        )
    except LocalEntryNotFoundError:
        if constants.HF_HUB_OFFLINE:
            raise CheckpointError(f"'{file.name}' is not here, and HF_HUB_OFFLINE is set") from None
        if not _answers(constants.ENDPOINT):
            raise CheckpointError(
                f"The Hugging Face hub ({constants.ENDPOINT}) cannot be reached"
            ) from None
        try:
            path = hf_hub_download(file.repository, file.name, cache_dir=cache_dir)
        except Exception as error:  # the client passes on what the disk and the net give it
            raise CheckpointError(_reason(file, error)) from error
    _check(file, Path(path))
    return Path(path)


def _answers(address: str) -> bool:
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if only to say no
    except (OSError, ValueError):
        return False


def _reason(file: HubFile, error: Exception) -> str:
    """Why the hub's client gave no file, as a sentence without its full stop."""
    from huggingface_hub.errors import HfHubHTTPError

    causes = (error, error.__cause__)
    answer = next((each for each in causes if isinstance(each, HfHubHTTPError)), None)
    if answer is None:
        return f"'{file.name}' could not be fetched from the hub ({first_line(error)})"
    status = answer.response.status_code
    if status in (401, 403):  # 401 too where there is no such repository
        return (
            f"The hub gives '{file.name}' to those alone who may read its repository "
            f"'{file.repository}' (HTTP {status}; 'hf auth login' or HF_TOKEN says who you are)"
        )
    if status == 404:
        return f"The hub has no file '{file.name}' in a repository '{file.repository}' (HTTP 404)"
    return f"The hub did not give '{file.name}' of '{file.repository}' (HTTP {status})"


def _check(file: HubFile, path: Path) -> None:
    """Delete a download that is not what it should be.

    Raises:
        CheckpointError: it was not.
    """
    content = Path(os.path.realpath(path))  # named by the hub for its SHA-256, where links can be
    named = content.name if _SHA256.fullmatch(content.name) else ""
    expected = file.sha256 or named
    if expected and (found := sha256_of(path)) != expected:
        for each in (path, content):
            each.unlink(missing_ok=True)
        raise CheckpointError(
            f"The hub's '{file.name}' is not what it should be and was deleted: its SHA-256 is "
            f"{found}, expected {expected}"
        )
