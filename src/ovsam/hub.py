"""A model's name -> its file: the only place that says which one it is.

`lite` ships with the package. Others are fetched from the Hugging Face hub and converted once: SAM,
alone or with a CLIP that names, and the authors' releases, whose adapter and head are for
non-commercial use only (S-Lab licence). Anything else is the path of a checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ovsam.config import ModelConfig, current_name
from ovsam.errors import CheckpointError, UnknownModelError
from ovsam.extras import TORCH, check_installed
from ovsam.files import sha256_of
from ovsam.hub_file import HubFile, downloaded
from ovsam.model.presets import (
    MODELS,
    SAMS,
    SINGLE,
    as_usable_baseline,
    named_config,
    split_baseline,
)
from ovsam.vocabulary.builtin import COCO_BASE, lvis_groups
from ovsam.vocabulary.load import load_vocabulary

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights" / "lite.safetensors"
"""The checkpoint of `lite`."""


def _meta(name: str, megabytes: int, what: str, sha256: str) -> HubFile:
    """SAM as Meta released it, byte for byte, by its published SHA-256."""
    return HubFile(
        repository="ybelkada/segment-anything",
        name=f"checkpoints/{name}",
        megabytes=megabytes,
        what=what,
        licence="Apache-2.0",
        sha256=sha256,
    )


def _openai(name: str, megabytes: int, what: str) -> HubFile:
    """OpenAI's CLIP as open_clip's authors keep it on the hub."""
    return HubFile(
        repository=f"timm/{name}_clip.openai",
        name="open_clip_model.safetensors",
        megabytes=megabytes,
        what=what,
        licence="MIT",
    )


def _authors(name: str, megabytes: int, what: str) -> HubFile:
    """A part of the authors' models."""
    return HubFile(
        repository="HarborYuan/ovsam_models",
        name=name,
        megabytes=megabytes,
        what=what,
        licence="S-Lab 1.0: non-commercial only",
    )


SAM_FILES = {
    "mobile-sam": HubFile(
        repository="dhkim2810/MobileSAM",
        name="mobile_sam.pt",
        megabytes=41,
        what="MobileSAM",
        licence="Apache-2.0",
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    ),
    "sam-b": _meta(
        "sam_vit_b_01ec64.pth",
        375,
        "SAM ViT-B",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "sam-l": _meta(
        "sam_vit_l_0b3195.pth",
        1250,
        "SAM ViT-L",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "sam-h": _meta(
        "sam_vit_h_4b8939.pth",
        2565,
        "SAM ViT-H",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}
"""The weights of `SAMS`."""

CLIP_FILES = {
    "rn50": _openai("resnet50", 408, "CLIP RN50"),
    "rn50x16": _openai("resnet50x16", 1164, "CLIP RN50x16"),
    "rn50x64": _openai("resnet50x64", 2493, "CLIP RN50x64"),
    "convnext-l": HubFile(
        repository="laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
        name="open_clip_pytorch_model.bin",
        megabytes=1407,
        what="LAION's CLIP ConvNeXt-L",
        licence="MIT",
        sha256="4572137af44b2e26f01f638337a59688ec289e9363e15c08dde16640afb86988",
    ),
}
"""The weights of the CLIPs of `MODELS`."""

_SHARED = {
    "sam2clip": _authors("sam2clip_vith_rn50x16.pth", 536, "Open-Vocabulary SAM's adapter"),
    "sam": SAM_FILES["sam-h"],
    "clip": CLIP_FILES["rn50x16"],
}
RELEASES: dict[str, dict[str, HubFile]] = {
    f"rn50x16-{data}": {
        **_SHARED,
        "clip2sam": _authors(f"clip2sam_{data}_rn50x16.pth", 32, "its head and decoder"),
    }
    for data in ("coco", "lvis")
}
"""The authors' models, and for each the files that `ovsam convert` wants."""

FETCHED: dict[str, dict[str, HubFile]] = {
    **{sam: {"sam": SAM_FILES[sam]} for sam in SAMS},
    **{
        f"{sam}+{clip}": {"sam": SAM_FILES[sam], "clip": file}
        for sam in SAMS
        for clip, file in CLIP_FILES.items()
    },
    **RELEASES,
}
"""All models that come from the hub, with the files that they are made of."""

NAMES = ("lite", *FETCHED)
"""The models whose weights come with their name; all others are given by path."""


@dataclass(frozen=True)
class ModelFile:
    """What a model's name means.

    Attributes:
        name: as it was given, without the ending of a baseline; of a SAM the present one.
        baseline: that ending, one of `ovsam.model.presets.BASELINES`; empty if there is none.
        path: of the checkpoint; one that comes from the hub is not there before it is fetched.
    """

    name: str
    baseline: str
    path: Path


def find_model(name: str, cache_dir: str | Path | None = None) -> ModelFile:
    """The file that a model's name means; nothing is fetched.

    Args:
        name: one of `NAMES` or the path of a checkpoint; with the ending of a baseline behind it
            or not, unless there is a file of just that name.
        cache_dir: where converted models are kept; by default the user's cache folder.

    Raises:
        UnknownModelError: it is neither a name nor a path.
        CheckpointError: a model that has no weights but those that you make.
    """
    own, baseline = (name, "") if name in NAMES or os.path.isfile(name) else split_baseline(name)
    if own == "lite":
        path = SHIPPED
    elif current_name(own) in FETCHED:
        own = current_name(own)
        path = _cached_path(own, cache_dir)
    elif os.path.exists(own) or Path(own).suffix:  # what is no checkpoint its reader refuses
        path = Path(own)
    elif own.removesuffix(SINGLE) in MODELS:
        raise CheckpointError(
            f"The weights of '{own}' do not come with ovsam. Make a checkpoint with 'ovsam "
            "convert' or 'ovsam train' (docs/checkpoints.md, docs/train.md) and give its path."
        )
    else:
        alone = ", ".join(name for name in NAMES if "+" not in name)
        raise UnknownModelError(
            f"Unknown model '{own}'. Choose {alone}, a SAM with + and a CLIP behind it "
            f"({', '.join(CLIP_FILES)}), or give the path of a checkpoint."
        )
    return ModelFile(own, baseline, path)


def fetch_model(name: str, cache_dir: str | Path | None = None) -> ModelFile:
    """The file that a model's name means; one from the hub is fetched and converted at first.

    Progress is shown. A connection that breaks is taken up again; files that are whole are kept for
    the next try, and for other models that are made of them.

    Args:
        name: see `find_model`.
        cache_dir: for the downloads and the result; by default the hub's and ovsam's own.

    Raises:
        UnknownModelError, CheckpointError: see `find_model`; the hub cannot be reached (says what
            to do); the files are not what they should be; or the baseline cannot be had.
    """
    found = find_model(name, cache_dir)
    if found.name in FETCHED and not found.path.exists():
        check_installed(f"'{found.name}'", TORCH, "ovsam[torch]")
        if found.baseline:  # it is refused before anything is fetched for it
            as_usable_baseline(config_of(found.name), found.baseline)
        _fetch(found.name, found.path, found.path.parent / "hub" if cache_dir else None)
    return found


def config_of(name: str) -> ModelConfig:
    """The configuration of one of `NAMES`; the shipped and converted files may say more."""
    return named_config("rn50x16" if name in RELEASES else name)


def seen_classes(name: str) -> tuple[str, ...]:
    """The classes that the region head of a release was trained on.

    COCO: the 48 base classes. LVIS: its common and frequent classes, COCO's 80 among them, which
    are named here as COCO names them, too; LVIS's rare classes are novel.
    """
    if name == "rn50x16-coco":
        return COCO_BASE
    groups, coco = lvis_groups(), load_vocabulary("coco").synonyms
    return (*groups["common"], *groups["frequent"], *(synonyms[0] for synonyms in coco))


def _fetch(name: str, target: Path, cache_dir: Path | None) -> None:
    """Download the files of a model and make its checkpoint; see `fetch_model`."""
    files = FETCHED[name]
    paths = {}
    for part, file in files.items():
        logger.warning(
            "Fetching %s (%s MB): %s, %s.",
            file.address,
            f"{file.megabytes:,}",
            file.what,
            file.licence,
        )
        try:
            paths[part] = downloaded(file, cache_dir)
        except CheckpointError as error:
            raise CheckpointError(_advice(name, str(error))) from error

    from ovsam.model.convert import convert

    logger.warning("Converting it to %s, once.", target)
    released = name in RELEASES
    try:
        convert(
            target,
            sam2clip=paths.get("sam2clip"),
            clip2sam=paths.get("clip2sam"),
            sam=paths["sam"],
            clip=paths.get("clip"),
            model="rn50x16" if released else name,
            seen_classes=seen_classes(name) if released else (),
        )
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} A download that is damaged is fetched again once it is deleted "
            f"({', '.join(str(path) for path in paths.values())})."
        ) from error


def _cached_path(name: str, cache_dir: str | Path | None) -> Path:
    try:
        folder = Path(cache_dir) if cache_dir else platformdirs.user_cache_path("ovsam") / "models"
    except RuntimeError as error:
        raise CheckpointError(
            f"There is no home folder to keep '{name}' in. Set HOME or XDG_CACHE_HOME."
        ) from error
    return folder / f"{name}.safetensors"


def _advice(name: str, reason: str) -> str:
    files = FETCHED[name]
    addresses = " ".join(file.address for file in files.values())
    options = " ".join(f"--{part} {Path(file.name).name}" for part, file in files.items())
    which = f"--seen {name}" if name in RELEASES else f"--model {name}"
    return (
        f"{reason}: use the model 'lite', which needs no download, or download these files on "
        f"another machine ({addresses}), run 'ovsam convert {name}.safetensors {options} {which}', "
        f"and give the path of {name}.safetensors as the model."
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
