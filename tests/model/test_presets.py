from __future__ import annotations

from dataclasses import replace

import pytest

from ovsam.config import DecoderConfig, TinyViTConfig
from ovsam.errors import CheckpointError, UnknownModelError
from ovsam.model.presets import (
    BASELINES,
    MODELS,
    SAMS,
    as_baseline,
    as_usable_baseline,
    named_config,
    split_baseline,
)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(CheckpointError, match=r"Unknown model 'rn5'.*rn50x16, .*convnext-l"):
        named_config("rn5")


def test_names_are_those_of_the_configurations() -> None:
    assert all(name == config.name for name, config in MODELS.items())


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_twin_whose_adapter_sees_one_scale(name: str) -> None:
    twin = named_config(f"{name}-single")
    assert not twin.adapter.multi_scale
    adapter = replace(twin.adapter, multi_scale=True)
    assert replace(twin, name=name, adapter=adapter) == named_config(name)


@pytest.mark.parametrize("name", ["lite-oracle", "sam-h-oracle", "rn50-single-oracle"])
def test_no_name_has_an_oracle(name: str) -> None:
    message = rf"There is no model '{name}': .* 'ovsam evaluate' with --oracle-names\.$"
    for parse in (named_config, split_baseline):
        with pytest.raises(UnknownModelError, match=message):
            parse(name)


def test_sam_alone_names_nothing() -> None:
    config = named_config("sam-b")
    assert (config.name, config.encoder.kind, config.region) == ("sam-b", "none", None)
    assert not config.names_objects
    for ending in BASELINES:
        with pytest.raises(CheckpointError, match="nothing to name with: choose 'sam-b'"):
            as_baseline(config, ending)


def test_mobile_sam_is_a_sam() -> None:
    alone, named = named_config("mobile-sam"), named_config("mobile-sam+rn50-feature-crop")
    assert (alone.image_size, alone.names_objects) == (1024, False)
    assert alone.decoder == DecoderConfig()
    assert alone.sam == named.sam == TinyViTConfig()
    assert named.encoder == MODELS["rn50"].encoder


def test_a_sam_and_a_clip_are_joined_by_a_baseline() -> None:
    config = named_config("sam-b+rn50-image-crop")
    assert (config.sam, config.encoder) == (SAMS["sam-b"], MODELS["rn50"].encoder)
    assert named_config("sam-b+rn50") == named_config("sam-b+rn50-feature-crop")
    for name in ("sam-x+rn50-image-crop", "sam-b+lite-image-crop"):
        with pytest.raises(UnknownModelError, match=r"\+ choose one of mobile-sam, sam-b"):
            named_config(name)


@pytest.mark.parametrize("ending", ["", "+rn50x16-image-crop"])
def test_names_of_earlier_versions_are_understood(ending: str) -> None:
    assert named_config(f"sam-vit-h{ending}") == named_config(f"sam-h{ending}")


def test_a_sam_and_a_clip_change_from_one_baseline_to_another() -> None:
    features, image = (named_config(f"sam-b+rn50-{cuts}-crop") for cuts in ("feature", "image"))
    assert as_baseline(features, "-image-crop") == image
    assert as_baseline(features, "-feature-crop") == features
    learnt = named_config("sam-b+rn50-feature-crop-coop")
    assert as_baseline(features, "-feature-crop-coop") == learnt
    with pytest.raises(CheckpointError, match="is a baseline already"):
        as_baseline(learnt, "-image-crop")


def test_only_what_learns_nothing_is_usable_at_once() -> None:
    config = named_config("sam-b+rn50")
    assert as_usable_baseline(config, "-image-crop").name == "sam-b+rn50-image-crop"
    with pytest.raises(CheckpointError, match=r"'sam-b\+rn50-image-crop-coop' has to be trained"):
        as_usable_baseline(config, "-image-crop-coop")
