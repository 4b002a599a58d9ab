"""The cache of a teacher whose embedding is the mean red and the mean blue of each cell."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import tarfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ovsam.errors import OutputError, PhotoError, TrainingError
from ovsam.formats.listing import ListedPhoto
from ovsam.train.cache_writer import FeatureCacher
from ovsam.train.feature_cache import FeatureCache, named_photos
from ovsam.train.teacher import Teacher

SIZE = 32  # pixels: 2 x 2 cells


class Colours(Teacher):
    """Counts how often it runs."""

    def __init__(self, size: int = SIZE, scale: float = 1.0) -> None:
        network = nn.Conv2d(3, 2, 16, 16, bias=False)
        with torch.no_grad():
            network.weight.zero_()
            network.weight[0, 0] = network.weight[1, 2] = scale / 256
        super().__init__(
            network,
            name="colours",
            channels=2,
            image_size=size,
            pixel_mean=(0, 0, 0),
            pixel_std=(1, 1, 1),
        )
        self.calls = 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(pixels)


Photos = dict[str, ListedPhoto]
Write = Callable[[int], Photos]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Photos 00.png, 01.png, ... of the class `a`; number i has red i and blue 2 i."""

    def photos(count: int) -> Photos:
        folder = tmp_path / "data" / "a"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 0, 2 * i)).save(folder / f"{i:02}.png")
        return named_photos(tmp_path / "data", None, fail)

    return photos


def fail(problem: object) -> None:
    raise AssertionError(problem)


def make(
    folder: Path,
    photos: Photos,
    *,
    shard: int = 2,
    part: tuple[int, int] = (1, 1),
    verify: bool = False,
) -> tuple[int, list[str], dict[str, str]]:
    """How many photos were computed, what was corrupt, what was skipped."""
    teacher, corrupt = Colours(), list[str]()
    cacher = FeatureCacher(folder, teacher, photos, shard, part)
    shards = cacher.pending(verify=verify, corrupt=corrupt.append)
    skipped = cacher.run(shards)
    return teacher.calls, corrupt, skipped


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05}.safetensors"


def assert_colours(folder: Path, photos: Photos) -> None:
    """Every photo's embedding is its own colour."""
    cache = FeatureCache(folder)
    for name in photos:
        number = int(Path(name).stem)
        expected = torch.tensor([number, 2 * number]).half()[:, None, None].expand(2, 2, 2)
        assert torch.equal(cache[name], expected), name


def test_each_photo_has_its_embedding(tmp_path: Path, write: Write) -> None:
    photos = write(5)
    folder = tmp_path / "new" / "cache"
    assert make(folder, photos) == (5, [], {})
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache.json",
        *(f"shard-0000{i}.safetensors" for i in range(3)),
    ]
    assert_colours(folder, photos)
    cache = FeatureCache(folder)
    assert cache.header.photos == tuple(photos) == tuple(f"a/0{i}.png" for i in range(5))
    assert "a/04.png" in cache
    assert "a/05.png" not in cache
    assert cache.skipped() == {}


def test_a_reader_can_be_sent_to_another_process(tmp_path: Path, write: Write) -> None:
    make(tmp_path / "cache", write(2))
    cache = FeatureCache(tmp_path / "cache")
    before = cache["a/01.png"]
    assert torch.equal(pickle.loads(pickle.dumps(cache))["a/01.png"], before)


def test_photos_in_tar_files(tmp_path: Path, write: Write) -> None:
    write(3)
    data = tmp_path / "data"
    with tarfile.open(data / "b.tar", "w") as archive:
        archive.add(data / "a" / "02.png", "deep/02.png")
    photos = named_photos(data, None, fail)
    assert list(photos) == ["a/00.png", "a/01.png", "a/02.png", "b.tar/deep/02.png"]
    make(tmp_path / "cache", photos)
    assert_colours(tmp_path / "cache", photos)


def test_photos_of_an_annotation_file(tmp_path: Path, write: Write) -> None:
    """Named from the folder of the photos, each once."""
    write(1)
    rows = [{"id": i, "file_name": "a/00.png", "height": 8, "width": 8} for i in range(2)]
    content = json.dumps({"images": rows, "annotations": [], "categories": []})
    images = tmp_path / "data"
    for file in (tmp_path / "instances.json", images / "instances.json"):
        file.write_text(content)
    assert list(named_photos(tmp_path / "instances.json", images, fail)) == ["a/00.png"]
    assert list(named_photos(images / "instances.json", None, fail)) == ["a/00.png"]


def test_a_run_makes_what_is_missing(tmp_path: Path, write: Write) -> None:
    photos, folder = write(7), tmp_path / "cache"
    make(folder, photos)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    shard_path(folder, 1).unlink()
    (folder / ".shard-00001.safetensors.01234567.part").write_bytes(b"half")
    assert make(folder, photos) == (2, [], {})
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert after.keys() == before.keys()
    assert {path.name for path in after if after[path] != before[path]} == {
        shard_path(folder, 1).name
    }
    assert_colours(folder, photos)
    assert make(folder, photos) == (0, [], {})


def test_parts_do_each_photo_once(tmp_path: Path, write: Write) -> None:
    """Seven shards of two photos, the last of one: 3 + 2 + 2 shards."""
    photos, folder = write(13), tmp_path / "cache"
    calls = [make(folder, photos, part=(i, 3))[0] for i in (1, 2, 3)]
    assert calls == [5, 4, 4]
    assert_colours(folder, photos)
    assert make(folder, photos) == (0, [], {})


def test_a_part_leaves_the_others_alone(tmp_path: Path, write: Write) -> None:
    photos, folder = write(5), tmp_path / "cache"
    make(folder, photos, part=(2, 2))
    assert [shard_path(folder, i).exists() for i in range(3)] == [False, True, False]
    cache = FeatureCache(folder)
    with pytest.raises(TrainingError, match=r"'shard-00000\.safetensors' is missing"):
        cache["a/00.png"]
    cache.require(["a/02.png", "a/03.png"], SIZE)
    with pytest.raises(TrainingError, match=r"not finished: 2 of 3 shards are missing"):
        cache.require(list(photos), SIZE)


def test_a_shard_cut_short_is_named_and_made_again(tmp_path: Path, write: Write) -> None:
    photos, folder = write(4), tmp_path / "cache"
    make(folder, photos)
    path = shard_path(folder, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"shard-00001\.safetensors' is corrupt"):
        FeatureCache(folder)["a/02.png"]
    calls, corrupt, _ = make(folder, photos)
    assert calls == 2
    assert len(corrupt) == 1
    assert f"'{path}'" in corrupt[0]
    assert_colours(folder, photos)


def test_verify_finds_a_changed_byte(tmp_path: Path, write: Write) -> None:
    photos, folder = write(4), tmp_path / "cache"
    make(folder, photos)
    path = shard_path(folder, 1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert make(folder, photos) == (0, [], {})
    calls, corrupt, _ = make(folder, photos, verify=True)
    assert calls == 2
    assert [text.partition(" (")[0] for text in corrupt] == [f"The shard '{path}' is corrupt"]
    assert_colours(folder, photos)
    assert make(folder, photos, verify=True) == (0, [], {})


def test_shards_of_other_photos_are_not_believed(tmp_path: Path, write: Write) -> None:
    photos, folder = write(4), tmp_path / "cache"
    make(folder, photos)
    shutil.copy(shard_path(folder, 0), shard_path(folder, 1))
    with pytest.raises(TrainingError, match="another teacher, size or photo list"):
        FeatureCache(folder)["a/02.png"]
    assert make(folder, photos)[0] == 2
    assert_colours(folder, photos)


def test_another_cache_is_refused(tmp_path: Path, write: Write) -> None:
    photos, folder = write(4), tmp_path / "cache"
    make(folder, photos)
    fewer = dict(list(photos.items())[:3])
    turned = dict(reversed(photos.items()))
    more = {**photos, "b/1.png": photos["a/00.png"]}
    cases: list[tuple[Teacher, Photos, int, str]] = [
        (Colours(scale=2.0), photos, 2, "of another teacher: of 'colours', not of these weights"),
        (Colours(64), photos, 2, "of photos at 32 pixels, not at 64"),
        (Colours(), fewer, 2, "of another list of photos: of 4, not of these 3"),
        (Colours(), turned, 2, "of another list of photos: of 4, not of these 4"),
        (Colours(), more, 2, "of another list of photos: of 4, without 'b/1.png'"),
        (Colours(), photos, 3, "in shards of 2 photos, not of 3"),
    ]
    for teacher, wanted, shard, message in cases:
        with pytest.raises(TrainingError, match=re.escape(f"The cache '{folder}' is {message}.")):
            FeatureCacher(folder, teacher, wanted, shard)
    (folder / "cache.json").unlink()
    with pytest.raises(TrainingError, match=r"is without its cache\.json"):
        FeatureCacher(folder, Colours(), photos, 2)


def test_what_training_requires(tmp_path: Path, write: Write) -> None:
    photos, folder = write(4), tmp_path / "cache"
    make(folder, photos)
    cache = FeatureCache(folder)
    cache.require(list(photos), SIZE, Colours().fingerprint)
    with pytest.raises(TrainingError, match=r"at 32 pixels, expected 64"):
        cache.require(list(photos), 64)
    with pytest.raises(TrainingError, match=r"of another teacher \('colours'\)"):
        cache.require(list(photos), SIZE, Colours(scale=2.0).fingerprint)
    with pytest.raises(TrainingError, match=r"lacks 'b/0', 'b/1', 'b/2' and 2 more"):
        cache.require([*photos, *(f"b/{i}" for i in range(5))], SIZE)
    with pytest.raises(TrainingError, match=r"does not hold the photo 'b/0'"):
        cache["b/0"]
    with pytest.raises(TrainingError, match="There is no cache of features in"):
        FeatureCache(tmp_path)
    (folder / "cache.json").write_text("{}")
    with pytest.raises(TrainingError, match="is damaged or of another version"):
        FeatureCache(folder)


def spoil(tmp_path: Path, *numbers: int) -> None:
    for number in numbers:
        (tmp_path / "data" / "a" / f"{number:02}.png").write_bytes(b"no photo")


def test_a_corrupt_photo_is_skipped_and_reported(tmp_path: Path, write: Write) -> None:
    """One of a hundred is the most that is let through."""
    photos, folder = write(100), tmp_path / "cache"
    spoil(tmp_path, 41)
    calls, _, skipped = make(folder, photos, shard=40)
    assert calls == 99
    assert list(skipped) == ["a/41.png"]
    assert "is not an image" in skipped["a/41.png"]
    cache = FeatureCache(folder)
    assert cache.skipped() == skipped
    with pytest.raises(PhotoError, match=r"no embedding of the photo 'a/41\.png': .*not an image"):
        cache["a/41.png"]
    assert_colours(folder, {name: photos[name] for name in photos if name != "a/41.png"})
    assert make(folder, photos, shard=40) == (0, [], skipped)  # reported again, not done again


def test_a_mended_photo_is_found_by_verify(tmp_path: Path, write: Write) -> None:
    photos, folder = write(100), tmp_path / "cache"
    spoil(tmp_path, 41)
    make(folder, photos, shard=40)
    assert make(folder, photos, shard=40, verify=True)[0] == 0  # still corrupt
    Image.new("RGB", (8, 8), (41, 0, 82)).save(tmp_path / "data" / "a" / "41.png")
    calls, reasons, skipped = make(folder, photos, shard=40, verify=True)
    assert (calls, skipped) == (40, {})
    assert [re.search("can be read by now", reason) is not None for reason in reasons] == [True]
    assert_colours(folder, photos)


def test_too_many_corrupt_photos_stop_the_run(tmp_path: Path, write: Write) -> None:
    """The first one, of an earlier shard and run, counts too."""
    photos, folder = write(100), tmp_path / "cache"
    spoil(tmp_path, 0, 99)
    cacher = FeatureCacher(folder, Colours(), photos, 50)
    assert list(cacher.run([0])) == ["a/00.png"]
    with pytest.raises(TrainingError, match=r"more than 1% of 100 .*'a/00\.png', 'a/99\.png'\."):
        make(folder, photos, shard=50)
    assert not shard_path(folder, 1).exists()


def test_numbers_beyond_half_precision_stop_the_run(tmp_path: Path, write: Write) -> None:
    cacher = FeatureCacher(tmp_path / "cache", Colours(scale=1e6), write(2), 2)
    with pytest.raises(TrainingError, match=r"'colours' gives numbers for the photo 'a/01\.png'"):
        cacher.run([0])


def test_the_estimate(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen bytes a photo: 2 channels, 2 x 2 cells, 2 bytes; nothing is written yet."""
    photos, folder = write(7), tmp_path / "cache"
    spoil(tmp_path, 1)
    teacher = Colours()
    cacher = FeatureCacher(folder, teacher, photos, 2)
    clock = iter([0.0, 5.0, 10.0, 20.0, 23.0])  # 5 s, one that is not timed, 3 s
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    found = cacher.estimate([0, 1, 3])
    assert (found.photos, found.bytes, found.seconds) == (5, 5 * 16, 5 * 3.0)
    assert teacher.calls == 2
    assert not folder.exists()


def test_a_full_disk_is_told_before(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    cacher = FeatureCacher(tmp_path / "cache", Colours(), write(2), 2)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 69, 31))
    with pytest.raises(OutputError, match=r"Cannot cache 2 photos"):
        cacher.estimate([0])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 68, 32))
    assert cacher.estimate([0]).bytes == 32


def test_embeddings_are_where_their_cells_are(tmp_path: Path) -> None:
    """A photo of 32 x 16 pixels, its right half red: cells row by row, padding is zero."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:, 0] = 200
    (tmp_path / "data" / "a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "data" / "a" / "0.png")
    make(tmp_path / "cache", named_photos(tmp_path / "data", None, fail))
    assert FeatureCache(tmp_path / "cache")["a/0.png"].tolist() == [
        [[0, 200], [0, 0]],
        [[0, 0]] * 2,
    ]


@pytest.mark.parametrize(
    "change",
    [{"shard_size": 0}, {"shard_size": -1}, {"image_size": 0}, {"feature_shape": [2, 2**40, 2]}],
)
def test_a_header_out_of_bounds(change: dict[str, object], tmp_path: Path, write: Write) -> None:
    make(tmp_path / "cache", write(2))
    path = tmp_path / "cache" / "cache.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TrainingError, match=r"cache\.json' is damaged or of another version"):
        FeatureCache(tmp_path / "cache")


@pytest.mark.parametrize(
    "change",
    [
        {"photos": "[" * 100_000},
        {"photos": '{"a/00.png": 0, "a/01.png": 1}'},
        {"skipped": "[]"},
        {"skipped": "7"},
    ],
    ids=str,
)
def test_a_shard_whose_metadata_is_another_kind(
    change: dict[str, str], tmp_path: Path, write: Write
) -> None:
    photos, folder = write(2), tmp_path / "cache"
    make(folder, photos)
    path = shard_path(folder, 0)
    with safe_open(path, "pt") as file:
        metadata, features = file.metadata(), file.get_tensor("features")
    save_file({"features": features}, path, {**metadata, **change})
    with pytest.raises(TrainingError, match=r"shard-00000\.safetensors' is corrupt"):
        FeatureCache(folder)["a/00.png"]
    save_file({"features": features.float()}, path, metadata)
    with pytest.raises(TrainingError, match=r"shard-00000\.safetensors' is corrupt"):
        FeatureCache(folder)["a/00.png"]
    assert make(folder, photos)[0] == 2
    assert_colours(folder, photos)
