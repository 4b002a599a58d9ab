"""`ovsam cache-features` as a user types it, with SAM's encoder in tiny as the teacher."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cli.commands import DEVICES
from ovsam.cli import train as cli_train
from ovsam.cli.app import app
from ovsam.images.read import read_photo
from ovsam.train.feature_cache import FeatureCache
from ovsam.train.teacher import load_teacher
from tiny_sam import sam_encoder, write_sam


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a teacher, vit.pth, and five photos, data/a/0.png to data/a/4.png."""
    monkeypatch.chdir(tmp_path)
    write_sam(Path("vit.pth"), sam_encoder())
    write_photos(5)
    return tmp_path


def write_photos(count: int) -> None:
    Path("data/a").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (12, 8), (i, 40, 200 - i)).save(f"data/a/{i}.png")


def run(*options: str, data: str = "data", teacher: str = "vit.pth", answer: str = "") -> Any:
    return CliRunner().invoke(
        app,
        ["cache-features", data, "--teacher", teacher, "-o", "cache", "--shard", "2", *options],
        input=answer,
    )


def assert_whole(count: int) -> None:
    """Every photo's embedding is what the teacher says of it, in half precision."""
    cache, teacher = FeatureCache(Path("cache")), load_teacher("vit.pth")
    assert sorted(cache.header.photos) == sorted(f"a/{i}.png" for i in range(count))
    for name in cache.header.photos:
        expected = teacher(teacher.pixels(read_photo(Path("data", name))))[0]
        torch.testing.assert_close(cache[name].float(), expected, rtol=1e-3, atol=1e-3)


def test_a_cache_is_made_once() -> None:
    """Five photos of 8 x 4 x 4 numbers."""
    result = run("--yes")
    assert result.exit_code == 0, result.output
    said = r"5 photos to do: 0\.0 MiB on disk, about \d+:\d\d:\d\d at the pace of the first\n"
    assert re.match(said, result.stdout), result.stdout
    assert "\n3 shard(s) made; part 1/1 of the cache in cache is complete\n" in result.stdout
    assert_whole(5)
    again = run()  # nothing to ask
    assert again.exit_code == 0, again.output
    assert again.stdout == "0 shard(s) made; part 1/1 of the cache in cache is complete\n"


def test_it_begins_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run()
    assert result.exit_code == 1
    assert result.stderr == (
        "error: There is no terminal to ask whether to begin. Add --yes to begin.\n"
    )
    monkeypatch.setattr(cli_train, "_has_terminal", lambda: True)
    assert run(answer="n\n").exit_code == 1
    assert not Path("cache").exists()
    assert run(answer="y\n").exit_code == 0
    assert_whole(5)


def test_parts_and_verify() -> None:
    assert "2 shard(s) made; part 1/2" in run("--part", "1/2", "--yes").stdout
    assert "1 shard(s) made; part 2/2" in run("--part", "2/2", "--yes").stdout
    path = Path("cache/shard-00001.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = run("--verify", "--yes")
    assert result.exit_code == 0, result.output
    assert (
        "1 shard(s) to be made again:\n  The shard 'cache/shard-00001.safetensors' is corrupt"
        in (result.stderr)
    )
    assert "1 shard(s) made" in result.stdout
    assert_whole(5)


def test_one_of_our_models_as_the_teacher() -> None:
    result = run("--size", "64", "--yes", teacher="lite")
    assert result.exit_code == 0, result.output
    teacher = load_teacher("lite", 64)
    [expected] = teacher(teacher.pixels(read_photo(Path("data/a/4.png"))))
    made = FeatureCache(Path("cache"))["a/4.png"].float()
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-3)
    cache = FeatureCache(Path("cache"))
    assert (cache.header.teacher, cache["a/4.png"].shape) == ("lite", (128, 4, 4))


@pytest.mark.data
def test_real_photos(photos_root: Path) -> None:
    """Two of BSDS500's, in SA-1B's layout: 2 x 128 x 8 x 8 numbers."""
    count = len(list(photos_root.glob("bsds500/sa_*/*.jpg")))
    split = ("--shard", "1", "--part", f"1/{count - 1}")
    data = str(photos_root / "bsds500")
    result = run("--size", "128", "--yes", *split, data=data, teacher="lite")
    assert result.exit_code == 0, result.output
    cache = FeatureCache(Path("cache"))
    assert len(cache.header.photos) == count
    first, last = cache.header.photos[0], cache.header.photos[-1]
    assert Path(data, first).is_file()
    assert cache[first].shape == cache[last].shape == (128, 8, 8)
    assert not torch.equal(cache[first], cache[last])


def test_a_corrupt_photo_is_named() -> None:
    """One of 101 is skipped; two are too many."""
    write_photos(101)
    Path("data/a/7.png").write_bytes(b"")
    result = run("--yes", "--part", "1/1")
    assert result.exit_code == 0, result.output
    assert "1 photo(s) skipped:\n  'a/7.png': Photo 'data/a/7.png' is empty" in result.stderr
    Path("data/a/99.png").write_bytes(b"")
    for file in Path("cache").iterdir():
        file.unlink()
    stopped = run("--yes")
    assert stopped.exit_code == 1
    assert (
        "error: Stopped, as more than 1% of 101 photos cannot be read: 'a/7.png', 'a/99.png'."
        in (stopped.stderr)
    )


@pytest.mark.parametrize(
    ("options", "data", "teacher", "message"),
    [
        ([], "nowhere", "vit.pth", "There is no data set at 'nowhere'"),
        (["--size", "128"], "data", "vit.pth", "sees photos at 64 pixels, not at 128"),
        (["-o", "vit.pth/cache", "--yes"], "data", "vit.pth", "Cannot make the folder"),
        (["--shard", "3"], "data", "vit.pth", "'cache' is in shards of 2 photos, not of 3"),
    ],
)
def test_errors_are_one_sentence(options: list[str], data: str, teacher: str, message: str) -> None:
    if "--shard" in options:
        assert run("--yes").exit_code == 0
    assert_one_sentence(run(*options, data=data, teacher=teacher), message, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "nothing"], "Unknown teacher 'nothing'"),
        (["--device", "abacus"], f"{DEVICES}, got 'abacus'."),
        (["--part", "3/2"], "--part must be i/n with i from 1 to n"),
        (["--part", "half"], "for example 2/4, got 'half'"),
    ],
)
def test_values_that_no_option_has(options: list[str], message: str) -> None:
    assert_one_sentence(run(*options), message, 2)


def assert_one_sentence(result: Any, message: str, code: int) -> None:
    assert result.exit_code == code, result.output
    errors = result.stderr.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from ovsam import files as output
from ovsam.cli.app import app
from ovsam.train import cache_shards
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
whole, calls = cache_shards.write_atomically, []
def write(path, content):
    calls.append(path)
    if len(calls) == 5:  # the header comes first
        if os.environ["KILLED_IN"] == "file":
            with output.unfinished(path) as temporary:
                temporary.write_bytes(content[:100])
                kill()
        kill()
    whole(path, content)
cache_shards.write_atomically = write
app(sys.argv[1:])
"""


@pytest.mark.long
@pytest.mark.parametrize("moment", ["shard", "file"])
def test_a_run_that_is_killed_goes_on(moment: str) -> None:
    """Killed in the middle of its fourth shard, or of its file."""
    write_photos(20)
    command = ["cache-features", "data", "--teacher", "vit.pth", "-o", "cache", "--shard", "1"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *command, "--yes"],
        capture_output=True,
        env={**os.environ, "KILLED_IN": moment},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = {path: path.stat().st_mtime_ns for path in Path("cache").glob("shard-*.safetensors")}
    assert len(before) == 3
    result = CliRunner().invoke(app, [*command, "--yes"])
    assert result.exit_code == 0, result.output
    assert "17 photos to do" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(Path("cache").iterdir())) == 1 + 20  # and nothing half-written
    assert_whole(20)
