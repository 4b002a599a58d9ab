from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from ovsam import hub
from ovsam.errors import CheckpointError
from ovsam.hub import seen_classes
from ovsam.model import convert as converter
from ovsam.model.restore import restore
from ovsam.vocabulary.builtin import COCO_BASE, lvis_groups
from ovsam.vocabulary.load import load_vocabulary
from small_model import NAME, offer, write_released

LOCAL = {
    "sam2clip_vith_rn50x16.pth": "sam2clip",
    "clip2sam_coco_rn50x16.pth": "clip2sam",
    "clip2sam_lvis_rn50x16.pth": "clip2sam",
    "checkpoints/sam_vit_h_4b8939.pth": "sam",
    "open_clip_model.safetensors": "clip",
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """A hub whose files are made here, of a small model; the calls that reach it."""
    offer(monkeypatch)
    files = write_released(tmp_path)
    made: list[tuple[str, str, Any]] = []

    def download(repository: str, name: str, *, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only and not any(call[:2] == (repository, name) for call in made):
            raise LocalEntryNotFoundError("not here")
        made.append((repository, name, local_files_only))
        return str(files[LOCAL[name]])

    config = converter.released_config
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_answers", lambda _: True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(converter, "released_config", lambda _, **options: config(NAME, **options))
    return made


@pytest.mark.parametrize("name", ["rn50x16-coco", "rn50x16-lvis"])
def test_fetched_and_converted_once(
    name: str, tmp_path: Path, calls: list[tuple[str, str, Any]]
) -> None:
    path = hub.fetch_model(name, tmp_path / "cache").path
    assert path == tmp_path / "cache" / f"{name}.safetensors"
    assert {call[1] for call in calls} == {file.name for file in hub.RELEASES[name].values()}
    model = restore(path).model
    assert set(COCO_BASE) <= set(model.config.seen_classes)
    count = len(calls)
    assert hub.fetch_model(name, tmp_path / "cache").path == path
    assert len(calls) == count
    path.unlink()
    hub.fetch_model(name, tmp_path / "cache")
    assert all(local for _, _, local in calls[count:])


def test_the_address_is_where_the_browser_finds_it() -> None:
    assert hub.RELEASES["rn50x16-coco"]["clip2sam"].address == (
        "https://huggingface.co/HarborYuan/ovsam_models/resolve/main/clip2sam_coco_rn50x16.pth"
    )


def test_without_network_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    waited: list[float] = []
    own = urllib.request.urlopen

    def urlopen(request: Any, timeout: float) -> Any:
        waited.append(timeout)
        return own(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(CheckpointError) as caught:
        hub.fetch_model("rn50x16-coco", tmp_path / "cache")
    assert waited == [hub.PROBE_SECONDS], "the hub is asked once, and not for long"
    message = str(caught.value)
    assert message.startswith("The Hugging Face hub cannot be reached: use the model 'lite'")
    assert all(file.address in message for file in hub.RELEASES["rn50x16-coco"].values())
    assert (
        "ovsam convert rn50x16-coco.safetensors --sam2clip sam2clip_vith_rn50x16.pth "
        "--sam sam_vit_h_4b8939.pth --clip open_clip_model.safetensors "
        "--clip2sam clip2sam_coco_rn50x16.pth" in message
    )
    assert "\n" not in message


@pytest.mark.usefixtures("calls")
def test_a_download_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        raise LocalEntryNotFoundError("x") if local_files_only else OSError("no space\nleft")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(CheckpointError, match=r"could not be fetched from the hub \(no space\)"):
        hub.fetch_model("rn50x16-coco", tmp_path / "cache")


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("error", [TimeoutError("slow"), RuntimeError("xet"), Exception("net")])
def test_whatever_breaks_a_download_off_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        raise LocalEntryNotFoundError("x") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(CheckpointError, match=rf"could not be fetched from the hub \({error}\)"):
        hub.fetch_model("rn50x16-coco", tmp_path / "cache")


@pytest.mark.usefixtures("calls")
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
        ("rn50x16-mine", "Unknown model 'rn50x16-mine'. Choose lite, rn50x16-coco, rn50x16-lvis,"),
        ("", "Unknown model ''"),
        ("lite-oracle", "There is no model 'lite-oracle': .* --oracle-names"),
        ("rn50", "The weights of 'rn50' do not come with ovsam"),
        ("lite0-single", "The weights of 'lite0-single' do not come"),
        ("sam-b+rn50-image-crop", r"The weights of 'sam-b\+rn50' do not come"),
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
