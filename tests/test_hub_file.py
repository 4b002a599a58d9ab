from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hub_stand_in import StandIn, standing_in
from ovsam import hub_file
from ovsam.errors import CheckpointError
from ovsam.hub_file import HubFile, downloaded

CONTENT = bytes(range(256)) * 4096  # 1 MiB
FILE = HubFile(
    repository="someone/models",
    name="sub/model.pth",
    megabytes=1,
    what="a model",
    licence="MIT",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
ASKED, SENT = "/someone/models/resolve/main/sub/model.pth", "/sent/someone/models/sub/model.pth"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    (tmp_path / "model.pth").write_bytes(CONTENT)
    with standing_in({"someone/models/sub/model.pth": tmp_path / "model.pth"}) as hub:
        hub.use(monkeypatch)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits before it tries again
        yield hub


def kept(folder: Path) -> list[Path]:
    """What of a download is on the disk, beside the notes of the hub's client."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 900]


def test_downloaded_once(tmp_path: Path, hub: StandIn) -> None:
    path = downloaded(FILE, tmp_path / "cache")
    assert path.name == "model.pth" and path.read_bytes() == CONTENT
    assert hub.requests == [("HEAD", ASKED, ""), ("GET", SENT, "")]
    assert downloaded(FILE, tmp_path / "cache") == path
    assert len(hub.requests) == 2, "what is here is not asked for"


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # what is kept of a broken one
    hub.cut_after = [300_000, 200_000]
    assert downloaded(FILE, tmp_path / "cache").read_bytes() == CONTENT
    assert [bytes_asked for method, _, bytes_asked in hub.requests if method == "GET"] == [
        "",
        "bytes=300000-",
        "bytes=500000-",
    ]


def test_a_connection_that_breaks_again_and_again(tmp_path: Path, hub: StandIn) -> None:
    hub.cut_after = [300_000] + 20 * [0]
    with pytest.raises(CheckpointError, match=r"^'sub/model.pth' could not be fetched from the h"):
        downloaded(FILE, tmp_path / "cache")
    assert not kept(tmp_path / "cache")
    hub.cut_after = []
    assert downloaded(FILE, tmp_path / "cache").read_bytes() == CONTENT


def test_another_content_than_the_known_one_is_not_kept(tmp_path: Path, hub: StandIn) -> None:
    hub.files["someone/models/sub/model.pth"].write_bytes(CONTENT[::-1])
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    for _ in range(2):  # the second time as the first
        with pytest.raises(
            CheckpointError,
            match=rf"'sub/model.pth' is not what it should be and was deleted: its SHA-256 is "
            rf"{found}, expected {FILE.sha256}$",
        ):
            downloaded(FILE, tmp_path / "cache")
        assert not kept(tmp_path / "cache")


def test_without_a_known_content_the_hubs_word_counts(tmp_path: Path, hub: StandIn) -> None:
    hub.spoilt = CONTENT[:-1] + b"!"
    with pytest.raises(CheckpointError, match=f"was deleted: .* expected {FILE.sha256}$"):
        downloaded(replace(FILE, sha256=""), tmp_path / "cache")
    assert not kept(tmp_path / "cache")
    hub.spoilt = None
    assert downloaded(replace(FILE, sha256=""), tmp_path / "cache").read_bytes() == CONTENT


def test_less_than_the_hub_promised(tmp_path: Path, hub: StandIn) -> None:
    hub.spoilt = CONTENT[:1000]
    with pytest.raises(CheckpointError, match=r"could not be fetched from the hub .*1048576"):
        downloaded(FILE, tmp_path / "cache")
    assert not kept(tmp_path / "cache")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "", r"to those alone who may read .*'someone/models' \(HTTP 401; 'hf auth login' or"),
        (403, "GatedRepo", r"to those alone who may read .*'someone/models' \(HTTP 403; "),
        (403, "", r"to those alone who may read .*'someone/models' \(HTTP 403; "),
        (404, "RepoNotFound", r"^The hub has no file 'sub/model.pth' in a .*'someone/models' \("),
        (404, "EntryNotFound", r"^The hub has no file 'sub/model.pth' in a .*'someone/models' \("),
        (404, "RevisionNotFound", r"^The hub has no file 'sub/model.pth' in a .*'someone/models'"),
        (500, "", r"^The hub did not give 'sub/model.pth' of 'someone/models' \(HTTP 500\)$"),
        (503, "", r"^The hub did not give 'sub/model.pth' of 'someone/models' \(HTTP 503\)$"),
    ],
)
def test_what_the_hub_refuses(
    tmp_path: Path, hub: StandIn, status: int, code: str, message: str
) -> None:
    hub.refusals["someone/models"] = status, code
    with pytest.raises(CheckpointError, match=message) as caught:
        downloaded(FILE, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    waited: list[float] = []
    own = urllib.request.urlopen

    def urlopen(request: Any, timeout: float) -> Any:
        waited.append(timeout)
        return own(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(CheckpointError, match=r"hub \(http://127.0.0.1:9\) cannot be reached$"):
        downloaded(FILE, tmp_path / "cache")
    assert waited == [hub_file.PROBE_SECONDS], "the hub is asked once, and not for long"


@pytest.mark.usefixtures("hub")
def test_whatever_else_breaks_a_download_off_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the cache's folder should be")
    with pytest.raises(CheckpointError, match="could not be fetched from the hub") as caught:
        downloaded(FILE, tmp_path / "cache" / "within")
    assert "\n" not in str(caught.value)


def test_the_address_is_where_the_browser_finds_it() -> None:
    assert FILE.address == "https://huggingface.co/someone/models/resolve/main/sub/model.pth"


def test_the_environment_and_the_bar_on_a_terminal(tmp_path: Path, hub: StandIn) -> None:
    """In a process of its own, as its variables are read when the hub's client is imported."""
    code = (
        "from ovsam.hub_file import HubFile, downloaded; print(downloaded(HubFile(repository="
        "'someone/models', name='sub/model.pth', megabytes=1, what='', licence='')))"
    )
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    source = str(Path(hub_file.__file__).parents[1])
    environment = {**os.environ, **variables, "PYTHONPATH": source}
    environment.pop("HF_HUB_OFFLINE", None)
    shown = on_a_terminal(code, environment)
    assert "100%" in shown and "1.05M/1.05M" in shown
    [blob] = (tmp_path / "home" / "hub").glob("models--someone--models/blobs/*")
    assert blob.name == FILE.sha256
    count = len(hub.requests)
    again = on_a_terminal(code, {**environment, "HF_HUB_OFFLINE": "1"})
    assert "model.pth" in again and "100%" not in again and len(hub.requests) == count
    blob.unlink()
    refused = on_a_terminal(code, {**environment, "HF_HUB_OFFLINE": "1"})
    assert "'sub/model.pth' is not here, and HF_HUB_OFFLINE is set" in refused


def on_a_terminal(code: str, environment: dict[str, str]) -> str:
    """What a program prints on a terminal."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, 100))
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=other, stderr=other, env=environment
    )
    os.close(other)
    text = b""
    with suppress(OSError):  # the end of a terminal on Linux
        while piece := os.read(main, 65536):
            text += piece
    os.close(main)
    program.wait()
    return text.decode()
