from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

import ovsam
from hub_stand_in import StandIn, standing_in
from ovsam import hub
from ovsam.errors import CheckpointError
from ovsam.files import sha256_of
from ovsam.hub import seen_classes
from ovsam.model import convert as converter
from ovsam.model.presets import BASELINES, MODELS, SAMS
from ovsam.model.restore import restore
from ovsam.vocabulary.builtin import COCO_BASE, lvis_groups
from ovsam.vocabulary.load import load_vocabulary
from small_model import NAME, offer, write_released, write_sam_and_clip

RELEASE = hub.RELEASES["rn50x16-coco"]
JOINED = f"sam-b+{NAME}"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub whose files are made here, of small models, and whose SHA-256 are known as theirs."""
    offer(monkeypatch)
    paths = write_released(tmp_path)
    both, _ = write_sam_and_clip(tmp_path, monkeypatch)
    released = {part: replace(file, sha256="") for part, file in RELEASE.items()}
    sam = replace(hub.SAM_FILES["sam-b"], sha256=sha256_of(both["sam"]) or "")
    joined = {"sam": sam, "clip": replace(hub.CLIP_FILES["rn50"], sha256="")}
    for name, files in {**dict.fromkeys(hub.RELEASES, released), JOINED: joined}.items():
        monkeypatch.setitem(hub.FETCHED, name, files)
    config = converter.released_config
    monkeypatch.setattr(
        converter,
        "released_config",
        lambda name, **more: config(NAME if name == "rn50x16" else name, **more),
    )
    served = {f"{file.repository}/{file.name}": paths[part] for part, file in released.items()}
    served[f"{sam.repository}/{sam.name}"] = both["sam"]
    served[f"{joined['clip'].repository}/{joined['clip'].name}"] = both["clip"]
    with standing_in(served) as server:
        server.use(monkeypatch)
        yield server


def gets(server: StandIn) -> list[str]:
    """The names of the files that were sent."""
    return [path.rpartition("/")[2] for method, path, _ in server.requests if method == "GET"]


@pytest.mark.parametrize("name", ["rn50x16-coco", "rn50x16-lvis"])
def test_a_release_is_fetched_and_converted_once(
    name: str, tmp_path: Path, stand_in: StandIn
) -> None:
    path = hub.fetch_model(name, tmp_path / "cache").path
    assert path == tmp_path / "cache" / f"{name}.safetensors"
    assert gets(stand_in) == [Path(file.name).name for file in RELEASE.values()]
    assert set(COCO_BASE) <= set(restore(path).model.config.seen_classes)
    count = len(stand_in.requests)
    assert hub.fetch_model(name, tmp_path / "cache").path == path
    path.unlink()
    hub.fetch_model(name, tmp_path / "cache")
    assert len(stand_in.requests) == count, "what has been downloaded is here"


def test_a_sam_and_a_clip_are_fetched_and_name(
    tmp_path: Path, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    box = ovsam.Prompt(box_xyxy=[10, 10, 50, 40])
    options: dict[str, Any] = {"vocabulary": "cat, dog", "cache_dir": tmp_path / "cache"}
    predictor = ovsam.load(JOINED, **options)
    assert predictor.config.baseline == BASELINES["-feature-crop"]
    assert [record.getMessage() for record in caplog.records] == [
        "Fetching https://huggingface.co/ybelkada/segment-anything/resolve/main/checkpoints/"
        "sam_vit_b_01ec64.pth (375 MB): SAM ViT-B, Apache-2.0.",
        "Fetching https://huggingface.co/timm/resnet50_clip.openai/resolve/main/"
        "open_clip_model.safetensors (408 MB): CLIP RN50, MIT.",
        f"Converting it to {tmp_path / 'cache' / f'{JOINED}.safetensors'}, once.",
    ]
    [found] = predictor.predict(predictor.encode(photo), box, zoom=True)
    assert {label.name for label in found.labels[0]} == {"cat", "dog"}
    count = len(stand_in.requests)
    stand_in.refusals["ybelkada/segment-anything"] = 500, ""
    for name in (f"{JOINED}-feature-crop", f"sam-vit-b+{NAME}"):
        again = ovsam.load(name, **options)
        assert again.config == predictor.config
    image = ovsam.load(f"{JOINED}-image-crop", **options)
    assert image.config.baseline == BASELINES["-image-crop"]
    [other] = image.predict(image.encode(photo), box, zoom=True)
    assert (other.mask == found.mask).all()
    assert len(stand_in.requests) == count, "one checkpoint is all of them"


def test_sam_alone_is_fetched(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, _ = write_sam_and_clip(tmp_path, monkeypatch, image_size=1024)
    file = replace(hub.SAM_FILES["sam-b"], sha256=sha256_of(both["sam"]) or "")
    monkeypatch.setitem(hub.FETCHED, "sam-b", {"sam": file})
    predictor = ovsam.load("sam-b", cache_dir=tmp_path / "cache")
    assert gets(stand_in) == ["sam_vit_b_01ec64.pth"]
    photo = predictor.encode(np.zeros((90, 120, 3), np.uint8))
    [found] = predictor.segment(photo, ovsam.Prompt(points_xy=[[20, 30]]), multimask=True)
    assert found.masks.shape == (3, 90, 120)


@pytest.mark.usefixtures("stand_in")
def test_a_file_with_other_contents_makes_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meta's file is known by its SHA-256, whatever the hub says."""
    sam = hub.SAM_FILES["sam-b"]
    monkeypatch.setitem(hub.FETCHED, "sam-b", {"sam": sam})
    with pytest.raises(CheckpointError, match=r"its SHA-256 is .*, expected ec2df6") as caught:
        hub.fetch_model("sam-b", tmp_path / "cache")
    message = str(caught.value)
    assert "\n" not in message and sam.address in message
    assert (
        "run 'ovsam convert sam-b.safetensors --sam sam_vit_b_01ec64.pth --model sam-b'" in message
    )
    assert not hub.find_model("sam-b", tmp_path / "cache").path.exists()
    assert not list((tmp_path / "cache").rglob("sam_vit_b*"))


@pytest.mark.parametrize(
    ("ending", "message"),
    [("-image-crop-coop", "has to be trained"), ("-oracle", "There is no model")],
)
def test_a_baseline_that_cannot_be_had_is_refused_before_it_is_fetched(
    ending: str, message: str, tmp_path: Path, stand_in: StandIn
) -> None:
    for name in (JOINED, "rn50x16-coco"):
        with pytest.raises(CheckpointError, match=message):
            hub.fetch_model(f"{name}{ending}", tmp_path)
    with pytest.raises(CheckpointError, match="has nothing to name with"):
        hub.fetch_model("sam-b-image-crop", tmp_path)
    assert not stand_in.requests


def test_without_network_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(CheckpointError) as caught:
        hub.fetch_model("rn50x16-coco", tmp_path / "cache")
    message = str(caught.value)
    reason = "The Hugging Face hub (http://127.0.0.1:9) cannot be reached"
    assert message.startswith(f"{reason}: use the model 'lite'")
    assert all(file.address in message for file in hub.RELEASES["rn50x16-coco"].values())
    assert (
        "ovsam convert rn50x16-coco.safetensors --sam2clip sam2clip_vith_rn50x16.pth "
        "--sam sam_vit_h_4b8939.pth --clip open_clip_model.safetensors "
        "--clip2sam clip2sam_coco_rn50x16.pth --seen rn50x16-coco" in message
    )
    assert "\n" not in message


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("content", [b"<html>Sign in to this network</html>", None])
def test_a_download_that_is_not_what_it_should_be(content: bytes | None, tmp_path: Path) -> None:
    """A page in place of weights, or half of them."""
    file = tmp_path / "clip2sam.pth"
    whole = file.read_bytes()
    file.write_bytes(content or whole[: len(whole) // 2])
    with pytest.raises(
        CheckpointError, match=r"damaged.* fetched again once it is deleted"
    ) as said:
        hub.fetch_model("rn50x16-coco", tmp_path / "cache")
    assert "\n" not in str(said.value)
    assert not hub.find_model("rn50x16-coco", tmp_path / "cache").path.exists()


def test_every_sam_and_every_clip_has_its_file() -> None:
    assert hub.SAM_FILES.keys() >= SAMS.keys()
    clips = {name for name, config in MODELS.items() if config.encoder.kind == "open_clip"}
    assert hub.CLIP_FILES.keys() == clips
    for name, files in hub.FETCHED.items():
        hub.config_of(name)
        assert set(files) <= {"sam", "clip", "sam2clip", "clip2sam"}
        for file in files.values():
            assert file.megabytes > 0 and file.licence and len(file.sha256) in (0, 64)


def test_each_name_means_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)
    for name, expected in {
        "lite": ("lite", "", hub.SHIPPED),
        "lite-image-crop": ("lite", "-image-crop", hub.SHIPPED),
        "rn50x16-lvis": ("rn50x16-lvis", "", tmp_path / "models/rn50x16-lvis.safetensors"),
        "a.safetensors": ("a.safetensors", "", Path("a.safetensors")),  # there or not
        "a.safetensors-feature-crop": ("a.safetensors", "-feature-crop", Path("a.safetensors")),
    }.items():
        assert hub.find_model(name) == hub.ModelFile(*expected)
    for name in ("lite", "mine", "mine-image-crop", "mine-oracle"):  # files of such names
        Path(name).write_bytes(b"weights")
    assert hub.find_model("lite").path == hub.SHIPPED
    assert hub.find_model("mine") == hub.ModelFile("mine", "", Path("mine"))
    assert hub.find_model("mine-oracle").path == Path("mine-oracle")
    whole = hub.ModelFile("mine-image-crop", "", Path("mine-image-crop"))
    assert hub.find_model("mine-image-crop") == whole


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "rn50x16-mine",
            "Unknown model 'rn50x16-mine'. Choose lite, .*sam-b, .*rn50x16-lvis, a SAM",
        ),
        ("", "Unknown model ''"),
        ("lite-oracle", "There is no model 'lite-oracle': .* --oracle-names"),
        ("rn50", "The weights of 'rn50' do not come with ovsam"),
        ("lite0-single", "The weights of 'lite0-single' do not come"),
    ],
)
def test_a_name_without_a_file(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        hub.find_model(name)


def test_what_the_release_on_lvis_has_seen() -> None:
    """Rare classes are novel; COCO's are seen by their own names, too."""
    seen = {name.lower() for name in seen_classes("rn50x16-lvis")}
    lvis, groups = load_vocabulary("lvis"), lvis_groups()
    for name, synonyms in zip(lvis.classes, lvis.synonyms, strict=True):
        if name not in groups["rare"]:
            assert seen & {text.lower() for text in (name, *synonyms)}, name
    assert not seen & {name.lower() for name in groups["rare"]}
    assert {name.lower() for name in load_vocabulary("coco").classes} <= seen
