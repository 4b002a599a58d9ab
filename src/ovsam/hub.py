"""A model's name -> its file: the only place that says which one it is.

`lite` ships with the package. The authors' releases are fetched from the Hugging Face hub and
converted once; the weights of their adapter and head are for non-commercial use only (S-Lab
licence). Anything else is the path of a checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ovsam.errors import CheckpointError, UnknownModelError, first_line
from ovsam.files import sha256_of
from ovsam.model.presets import MODELS, SAMS, SINGLE, split_baseline
from ovsam.vocabulary.builtin import COCO_BASE, lvis_groups
from ovsam.vocabulary.load import load_vocabulary

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights" / "lite.safetensors"
"""The checkpoint of `lite`."""

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

NAMES = ("lite", *RELEASES)
"""The models whose weights come with their name; all others are given by path."""


@dataclass(frozen=True)
class ModelFile:
    """What a model's name means.

    Attributes:
        name: as it was given, without the ending of a baseline.
        baseline: that ending, one of `ovsam.model.presets.BASELINES`; empty if there is none.
        path: of the checkpoint; a release's is not there before it is fetched.
    """

    name: str
    baseline: str
    path: Path


def find_model(name: str, cache_dir: str | Path | None = None) -> ModelFile:
    """The file that a model's name means; nothing is fetched.

    Args:
        name: one of `NAMES` or the path of a checkpoint; with the ending of a baseline behind it
            or not, unless there is a file of just that name.
        cache_dir: where releases are kept; by default the user's cache folder.

    Raises:
        UnknownModelError: it is neither a name nor a path.
        CheckpointError: a model that has no weights but those that you make.
    """
    own, baseline = (name, "") if name in NAMES or os.path.isfile(name) else split_baseline(name)
    if own == "lite":
        path = SHIPPED
    elif own in RELEASES:
        path = _release_path(own, cache_dir)
    elif os.path.exists(own) or Path(own).suffix:  # what is no checkpoint its reader refuses
        path = Path(own)
    elif own.removesuffix(SINGLE) in MODELS or own.partition("+")[0] in SAMS:
        raise CheckpointError(
            f"The weights of '{own}' do not come with ovsam. Make a checkpoint with 'ovsam "
            "convert' or 'ovsam train' (docs/baselines.md, docs/train.md) and give its path."
        )
    else:
        raise UnknownModelError(
            f"Unknown model '{own}'. Choose {', '.join(NAMES)}, or give the path of a checkpoint."
        )
    return ModelFile(own, baseline, path)


def fetch_model(name: str, cache_dir: str | Path | None = None) -> ModelFile:
    """The file that a model's name means; a release is downloaded and converted at first.

    Progress is shown, and an interrupted download goes on where it stopped.

    Args:
        name: see `find_model`.
        cache_dir: for the downloads and the result; by default the hub's and ovsam's own.

    Raises:
        UnknownModelError, CheckpointError: see `find_model`; the hub cannot be reached (says what
            to do); or the files are not what they should be.
    """
    found = find_model(name, cache_dir)
    if found.name in RELEASES and not found.path.exists():
        _fetch(found.name, found.path, found.path.parent / "hub" if cache_dir else None)
    return found


def seen_classes(name: str) -> tuple[str, ...]:
    """The classes that the region head of a release was trained on.

    COCO: the 48 base classes. LVIS: its common and frequent classes, COCO's 80 among them, which
    are named here as COCO names them, too; LVIS's rare classes are novel.
    """
    if name == "rn50x16-coco":
        return COCO_BASE
    groups, coco = lvis_groups(), load_vocabulary("coco").synonyms
    return (*groups["common"], *groups["frequent"], *(synonyms[0] for synonyms in coco))


def _fetch(release: str, target: Path, downloads: Path | None) -> None:
    """Download the files of a release and make its checkpoint; see `fetch_model`."""
    logger.warning("Fetching %s: its weights are for non-commercial use only (S-Lab).", release)
    paths = {part: _download(release, file, downloads) for part, file in RELEASES[release].items()}

    from ovsam.model.convert import convert

    logger.info("Converting %s to %s", release, target)
    try:
        convert(
            target,
            sam2clip=paths["sam2clip"],
            clip2sam=paths["clip2sam"],
            sam=paths["sam"],
            clip=paths["clip"],
            seen_classes=seen_classes(release),
        )
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} A download that is damaged is fetched again once it is deleted "
            f"({', '.join(str(path) for path in paths.values())})."
        ) from error


def _release_path(name: str, cache_dir: str | Path | None) -> Path:
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
        reason = f"'{file.name}' could not be fetched from the hub ({first_line(error)})"
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


def checkpoint_sha256(name: str) -> str | None:
    """SHA-256 of the checkpoint that a model's name or path stands for on this machine.

    That of a baseline behind a model is of the model's and the baseline's name: it has no file of
    its own. None where there is no checkpoint; nothing is fetched.
    """
    digest = sha256_of(Path(name))
    if digest is not None:
        return digest
    try:
        found = find_model(name)
    except CheckpointError:  # no model has this name
        return None
    digest = sha256_of(found.path)
    if digest is None or not found.baseline:
        return digest
    return hashlib.sha256(f"{digest}{found.baseline}".encode()).hexdigest()
