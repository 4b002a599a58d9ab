"""A model's name -> its file: shipped, fetched from the Hugging Face hub and converted, or a path.

The weights of the adapter and the head are for non-commercial use only (S-Lab licence).
"""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ovsam.errors import CheckpointError, UnknownModelError
from ovsam.vocabulary.builtin import COCO_BASE, lvis_groups
from ovsam.vocabulary.load import load_vocabulary

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0  # to find out whether the hub answers at all; its client would try for longer


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub."""

    repository: str
    name: str

    @property
    def address(self) -> str:
        """Where a person can download it by hand."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.name}"


_AUTHORS = "HarborYuan/ovsam_models"
_SHARED = {
    "sam2clip": HubFile(_AUTHORS, "sam2clip_vith_rn50x16.pth"),
    "sam": HubFile("ybelkada/segment-anything", "checkpoints/sam_vit_h_4b8939.pth"),
    "clip": HubFile("timm/resnet50x16_clip.openai", "open_clip_model.safetensors"),
}
RELEASES: dict[str, dict[str, HubFile]] = {
    "rn50x16-coco": {**_SHARED, "clip2sam": HubFile(_AUTHORS, "clip2sam_coco_rn50x16.pth")},
    "rn50x16-lvis": {**_SHARED, "clip2sam": HubFile(_AUTHORS, "clip2sam_lvis_rn50x16.pth")},
}
"""For each released model the files that `ovsam convert` wants."""


def seen_classes(name: str) -> tuple[str, ...]:
    """The classes that the region head of a release was trained on.

    COCO: the 48 base classes. LVIS: its common and frequent classes, COCO's 80 among them, which
    are named here as COCO names them, too; LVIS's rare classes are novel.
    """
    if name == "rn50x16-coco":
        return COCO_BASE
    groups, coco = lvis_groups(), load_vocabulary("coco").synonyms
    return (*groups["common"], *groups["frequent"], *(synonyms[0] for synonyms in coco))


def fetch(name: str, cache_dir: str | Path | None = None) -> Path:
    """Where the converted checkpoint of a release lies; downloads and converts it at first.

    Progress is shown, and an interrupted download goes on where it stopped.

    Args:
        name: one of `RELEASES`.
        cache_dir: for the downloads and the result; by default the hub's and ovsam's own.

    Raises:
        CheckpointError: unknown name; the hub cannot be reached (says what to do); or the files
            are not what they should be.
    """
    if name not in RELEASES:
        raise CheckpointError(f"Unknown release '{name}'. Choose one of: {', '.join(RELEASES)}.")
    target = release_path(name, cache_dir)
    if target.exists():
        return target
    downloads = target.parent / "hub" if cache_dir else None
    logger.warning("Fetching %s: its weights are for non-commercial use only (S-Lab).", name)
    paths = {part: _download(name, file, downloads) for part, file in RELEASES[name].items()}

    from ovsam.model.convert import convert

    logger.info("Converting %s to %s", name, target)
    try:
        convert(
            target,
            sam2clip=paths["sam2clip"],
            clip2sam=paths["clip2sam"],
            sam=paths["sam"],
            clip=paths["clip"],
            seen_classes=seen_classes(name),
        )
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} A download that is damaged is fetched again once it is deleted "
            f"({', '.join(str(path) for path in paths.values())})."
        ) from error
    return target


def release_path(name: str, cache_dir: str | Path | None = None) -> Path:
    """Where `fetch` puts the converted checkpoint of a release."""
    try:
        folder = Path(cache_dir) if cache_dir else platformdirs.user_cache_path("ovsam") / "models"
    except RuntimeError as error:
        raise CheckpointError(
            f"There is no home folder to keep '{name}' in. Set HOME or XDG_CACHE_HOME."
        ) from error
    return folder / f"{name}.safetensors"


def _download(release: str, file: HubFile, folder: Path | None) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:  # what has been downloaded needs no network
        return Path(
            hf_hub_download(file.repository, file.name, cache_dir=folder, local_files_only=True)
        )
    except LocalEntryNotFoundError:
        pass
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        raise CheckpointError(_advice(release, "The Hugging Face hub cannot be reached"))
    try:
        return Path(hf_hub_download(file.repository, file.name, cache_dir=folder))
    except Exception as error:  # the client passes on what the disk and the net give it
        reason = f"'{file.name}' could not be fetched from the hub ({_first_line(error)})"
        raise CheckpointError(_advice(release, reason)) from error


def _answers(address: str) -> bool:
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if only to say no
    except (OSError, ValueError):
        return False


def _advice(release: str, reason: str) -> str:
    files = RELEASES[release]
    addresses = " ".join(file.address for file in files.values())
    options = " ".join(f"--{part} {Path(file.name).name}" for part, file in files.items())
    return (
        f"{reason}: use the model 'lite', which needs no download, or download these files on "
        f"another machine ({addresses}), run 'ovsam convert {release}.safetensors {options} --seen "
        f"{release}', and "
        f"give the path of {release}.safetensors as the model."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def locate(name: str, cache_dir: str | Path | None = None) -> Path:
    """The checkpoint of a model, as `load` finds it: shipped, fetched once, or at its path.

    Raises:
        CheckpointError: no model has that name, or it cannot be fetched.
    """
    from ovsam.model.presets import MODELS, SAMS, SHIPPED, SINGLE

    if name == "lite":
        return SHIPPED
    if name in RELEASES:
        return fetch(name, cache_dir)
    path = Path(name)
    own = name.removesuffix(SINGLE)
    if not os.path.exists(path) and (own in MODELS or own.partition("+")[0] in SAMS):
        raise CheckpointError(
            f"The weights of '{name}' do not come with ovsam. Make a checkpoint with 'ovsam "
            "convert' or 'ovsam train' (docs/baselines.md, docs/train.md) and give its path."
        )
    if not os.path.exists(name) and not path.suffix:  # '' is no path, Path('') is one
        raise UnknownModelError(
            f"Unknown model '{name}'. Choose lite, {', '.join(RELEASES)}, or give the path of a "
            "checkpoint."
        )
    return path
