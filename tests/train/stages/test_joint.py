"""Runs of a few steps on a tiny model: what is read, learnt, written, and gone on with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ovsam.config import RegionConfig
from ovsam.data.anchors import anchored_photos
from ovsam.data.crop_source import CropSource
from ovsam.data.object_crops import ObjectCropBatch, ObjectCropConfig, ObjectCrops
from ovsam.errors import AnnotationError, TrainingError
from ovsam.model.ovsam import OVSAM
from ovsam.train.joint_vocabulary import joint_vocabulary
from ovsam.train.loop import Engine
from ovsam.train.recipe import JointRecipe
from ovsam.train.recipe_file import read_recipe
from ovsam.train.settings import EngineSettings, ScheduleSettings
from ovsam.train.sources import Source, read_source
from ovsam.train.stage import Finished
from ovsam.train.stages.joint import AlternatingBatches, JointStage, _coarsened
from ovsam.vocabulary.load import load_vocabulary
from photo_folder import HELD_OUT, write_folder
from tiny_model import TINY, random_bank, tiny_model

CROPS = {
    "box": ObjectCropConfig(
        size=64, count=2, prompts=3, named=1, only_named=True, boxes=0.6, zoomed=0.7, pasted=0.3
    ),
    "click": ObjectCropConfig(size=64, count=2, prompts=1, boxes=0, clicked=1, pasted=0.3),
    "whole": ObjectCropConfig(size=128, count=2, prompts=3, named=1, boxes=0.6, whole=1, rounds=3),
}
SETTINGS = EngineSettings(
    steps=4,
    schedule=ScheduleSettings(peak=2e-3, warm_up=1),
    clip=1.0,
    precision="32-true",
    workers=0,
    log_every=1,
    save_every=2,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    root = write_folder(tmp_path_factory.mktemp("photos"))
    *others, named = read_recipe("lite").data  # the folder has two of ImageNet's classes only
    return [read_source(settings, root) for settings in (*others, replace(named, vocabulary=None))]


def turns(
    sources: list[Source], crops: Mapping[str, ObjectCropConfig] = CROPS
) -> AlternatingBatches:
    drawn = [CropSource(anchored_photos(source.data_set, source.is_whole)[0]) for source in sources]
    names = [source.data_set.name for source in sources]
    kinds = {
        kind: ObjectCrops(drawn, names, config, i, kind)
        for i, (kind, config) in enumerate(crops.items())
    }
    return AlternatingBatches(kinds, list(crops), [source.data_set for source in sources], ())


def stage(
    sources: list[Source],
    model: OVSAM | None = None,
    learn: Sequence[str] = ("masks", "names"),
) -> JointStage:
    torch.manual_seed(0)
    banks = [random_bank(max(1, len(source.synonyms))) for source in sources]
    rounds = {kind: config.rounds for kind, config in CROPS.items()}
    return JointStage(model or tiny_model(), banks, rounds, refinement_weight=0.3, learn=learn)


def run(
    sources: list[Source],
    folder: Path,
    settings: EngineSettings = SETTINGS,
    model: OVSAM | None = None,
) -> Finished:
    return Engine(settings, folder).fit(stage(sources, model), turns(sources))


# The photos of the recipe


def test_held_out_photos_are_never_read(sources: list[Source]) -> None:
    """They are spoilt, so that reading one would have raised."""
    photos = [
        photo.photo.path
        for source in sources
        for photo in anchored_photos(source.data_set, source.is_whole)[0]
    ]
    assert len(photos) == 2 + 1 + 2 + 1 + 2
    assert not [path for path in photos if any(part in str(path) for part in HELD_OUT)]


def test_what_is_read(sources: list[Source]) -> None:
    coco, clothing, salient, regions, named = sources
    assert (len(coco.synonyms), len(named.synonyms)) == (80, 2)
    assert len(coco.synonyms[0]) > 1, "the vocabulary's synonyms, not the file's bare names"
    assert clothing.synonyms == (("shirt",), ("person",))
    assert salient.synonyms == regions.synonyms == ()
    [photo], _ = anchored_photos(clothing.data_set, clothing.is_whole)
    assert [anchor.whole for anchor in photo.anchors] == [False, True]
    [photo], _ = anchored_photos(regions.data_set, regions.is_whole)
    assert not photo.anchors[0].whole


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="coco_sample"):
        read_source(read_recipe("lite").data[0], tmp_path)


def test_a_vocabulary_of_other_classes(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    recipe = read_recipe("lite", ["data.1.vocabulary=coco"])
    with pytest.raises(TrainingError, match=r"has 2 classes, 'shirt' among them.*'coco' 80"):
        read_source(recipe.data[1], root)


# Batches


def test_kinds_take_turns_and_only_boxes_see_photos_without_masks(sources: list[Source]) -> None:
    drawn = turns(sources)
    batches = [drawn[i] for i in range(12)]
    assert [batch.kind for batch in batches] == ["box", "click", "whole"] * 4
    for batch in batches:
        assert len(batch.names) == 2
        assert batch.skipped == ()
        if batch.kind != "box":
            assert "imagenet_sample" not in " ".join(batch.names)
    assert any("imagenet_sample" in " ".join(batch.names) for batch in batches)
    assert drawn.photos == 8


def test_the_recipe_of_lite_is_drawn_as_it_says(sources: list[Source]) -> None:
    recipe = read_recipe("lite")
    assert isinstance(recipe, JointRecipe)
    batch = turns(sources, recipe.crops)[1]  # boxes, clicks, wholes: the second is of clicks
    assert batch.photos.shape == (40, 128, 128, 3)
    assert not batch.is_box.any()


@pytest.mark.parametrize("box_as_mask", [True, False])
def test_every_round_asks_with_the_mask_so_far_and_all_but_one_with_a_click_more(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch, box_as_mask: bool
) -> None:
    config = replace(TINY, decoder=replace(TINY.decoder, box_as_mask=box_as_mask))
    learner, batch = stage(sources, tiny_model(config)), turns(sources)[2]
    assert (batch.kind, CROPS["whole"].rounds) == ("whole", 3)
    asked: list[tuple[int, int, bool]] = []  # tokens of boxes and points; whether by a mask
    encode = learner.model.prompt_encoder.forward

    def recorded(*given: Any) -> tuple[Tensor, Tensor]:
        _, labels, boxes, masks, _ = given
        clicks = 0 if labels is None else labels.shape[1]
        asked.append((int(boxes is not None), clicks, masks is not None))
        return encode(*given)

    monkeypatch.setattr(learner.model.prompt_encoder, "forward", recorded)
    learner.losses(batch)
    by_box, by_point = asked[::2], asked[1::2]
    assert [box for box, _, _ in by_box + by_point] == [1] * 4 + [0] * 4
    assert by_box[0] == (1, 0, box_as_mask), "a box comes as a mask where the model takes it so"
    assert all(masked for _, _, masked in by_box[1:])
    assert by_point[0] == (0, 1, False)
    assert all(masked for _, _, masked in by_point[1:])
    clicks = [count for _, count, _ in by_box]
    assert [count for _, count, _ in by_point] == [count + 1 for count in clicks]
    steps = [after - before for before, after in itertools.pairwise(clicks)]
    assert sorted(steps) == [0, 1, 1]


def test_a_mask_comes_back_coarser_by_up_to_four() -> None:
    """Averages of 1, 2 or 4 cells: a checkerboard stays or vanishes, an even mask stays."""
    board = torch.ones(1, 8, 8)
    board[:, ::2, 1::2] = board[:, 1::2, ::2] = -1
    generator = torch.Generator().manual_seed(0)
    found = [
        _coarsened(torch.cat([board, torch.full((1, 8, 8), 3.0)]), generator) for _ in "12345678"
    ]
    assert all(torch.equal(even, torch.full((8, 8), 3.0)) for _, even in found)
    assert {float(checked.abs().max()) for checked, _ in found} == {0.0, 1.0}


def test_zoomed_squares_keep_to_their_context(sources: list[Source]) -> None:
    """Objects fill between a fifth and a quarter of a square's side, but for stretching."""
    config = ObjectCropConfig(
        size=64, count=8, prompts=1, boxes=1.0, zoomed=1.0, context=(4.0, 5.0)
    )
    batch = turns(sources, {"far": config})[0]
    sides = (batch.boxes_xyxy[:, 2:] - batch.boxes_xyxy[:, :2]).amax(1)
    assert sides.max() < 64 / 4 * 1.6
    assert sides.min() > 64 / 5 / 1.6


# The run


def test_a_run_from_photos_to_weights(sources: list[Source], tmp_path: Path) -> None:
    model = tiny_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    done = run(sources, tmp_path, model=model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert done.averaged.keys() == {f"model.{name}" for name in trained}
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trained
    for part in ("adapter", "prompt_encoder", "mask_decoder", "high_resolution", "region_head"):
        assert any(name.startswith(part) for name in changed)
    assert done.skipped == ()


def test_classes_that_a_photo_tells_nothing_of_do_not_count(sources: list[Source]) -> None:
    """Of LVIS's photos most classes are not known to be absent."""
    listed = [replace(photo, negative_classes=("dog",)) for photo in sources[0].data_set.photos]
    data_set = sources[0].data_set
    federated = replace(data_set, photos=replace(data_set.photos, listed=listed))
    drawn = turns([replace(sources[0], data_set=federated)], {"box": CROPS["box"]})
    classes = {data_set.classes[i] for rows in drawn[0].verified_classes for i in rows or ()}
    assert classes == {"person", "bicycle", "dog"}
    assert set(turns(sources)[0].verified_classes) == {None}
    learner = stage(sources)
    assert losses(learner, drawn[0])["name"] < losses(learner, turns(sources)[0])["name"]


def test_names_are_learnt_among_the_classes_of_all_data_sets(sources: list[Source]) -> None:
    """Each vocabulary has a loss of its own, a mean over all named objects, as its weight says."""
    batch = turns(sources, {"box": CROPS["box"]})[0]
    vocabulary = load_vocabulary("person, bicycle, shirt")
    joint = replace(joint_vocabulary(vocabulary, 0.5, random_bank(3), sources), name="joint")
    doubled = replace(joint, name="doubled", weight=1.0)
    other = load_vocabulary("blorb, thingummy")
    none = replace(joint_vocabulary(other, 1.0, random_bank(2), sources), name="none")
    torch.manual_seed(0)
    learner = JointStage(tiny_model(), [], {"box": 1}, 0.3, ["names"], 0.0, [joint, doubled, none])
    assert learner.loss_names == ("name_joint", "name_doubled", "name_none")
    found = losses(learner, batch)
    assert tuple(found) == learner.loss_names
    assert 0 < 2 * found["name_joint"] == pytest.approx(found["name_doubled"])
    assert found["name_none"] == 0


def test_the_loss_falls_on_one_batch(sources: list[Source], tmp_path: Path) -> None:
    fixed = turns(sources)[0]

    class Always:
        photos = annotations = 1
        skipped = ()

        def __getitem__(self, index: int) -> ObjectCropBatch:
            return fixed

    learner = stage(sources)
    first = losses(learner, fixed)
    schedule = ScheduleSettings(peak=3e-3, warm_up=1)
    settings = EngineSettings(
        steps=30, precision="32-true", schedule=schedule, clip=1.0, workers=0, save_every=100
    )
    Engine(settings, tmp_path).fit(learner, Always())
    last = losses(learner, fixed)
    assert last["box"] < 0.8 * first["box"]
    assert last["name"] < 0.9 * first["name"]


def losses(learner: JointStage, batch: ObjectCropBatch) -> dict[str, float]:
    found = learner.losses(batch)
    return {name: value.item() for name, value in found.items()}


def test_bfloat16_learns_the_same_within_its_rounding(
    sources: list[Source], tmp_path: Path
) -> None:
    exact = run(sources, tmp_path / "exact").averaged
    settings = replace(SETTINGS, precision="bf16-mixed")
    rounded = run(sources, tmp_path / "rounded", settings).averaged
    distance = [(rounded[name] - weights).norm() for name, weights in exact.items()]
    size = torch.stack([weights.norm() for weights in exact.values()]).norm()
    assert 0 < torch.stack(distance).norm() < 0.02 * size


@pytest.mark.parametrize(
    ("learn", "losses_of", "head_learns"), [("names", {"name"}, True), ("masks", {"box"}, False)]
)
def test_of_masks_and_names_one_alone_can_learn(
    sources: list[Source], tmp_path: Path, learn: str, losses_of: set[str], head_learns: bool
) -> None:
    model = tiny_model()
    trainable = {name for name, each in model.named_parameters() if each.requires_grad}
    learner = stage(sources, model, [learn])
    assert set(losses(learner, turns(sources)[0])) == losses_of
    done = Engine(SETTINGS, tmp_path).fit(learner, turns(sources))
    changed = {name.removeprefix("model.") for name in done.averaged}
    head = {name for name in trainable if name.startswith("region_head.")}
    assert head
    assert changed == (head if head_learns else trainable - head)


def test_a_stopped_run_ends_with_the_same_bits(sources: list[Source], tmp_path: Path) -> None:
    straight = run(sources, tmp_path / "straight").averaged

    class Stopped(AlternatingBatches):
        def __getitem__(self, index: int) -> ObjectCropBatch:
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    whole = turns(sources)
    with pytest.raises(KeyboardInterrupt):
        Engine(SETTINGS, tmp_path / "run").fit(
            stage(sources), Stopped(whole.kinds, whole.cycle, [], ())
        )
    fresh, frozen = tiny_model(seed=9), tiny_model().state_dict()
    for name, parameter in fresh.named_parameters():
        if parameter.requires_grad:
            del frozen[name]
    fresh.load_state_dict(frozen, strict=False)
    resumed: dict[str, Tensor] = run(sources, tmp_path / "run", model=fresh).averaged
    for name, weights in straight.items():
        assert torch.equal(resumed[name], weights), name


def test_weights_that_are_not_finite_stop_the_run(sources: list[Source], tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.mask_decoder.mask_tokens.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"Step 0 is not finite \(box nan.*\.jpg"):
        run(sources, tmp_path, model=model)
    assert not (tmp_path / "checkpoints").exists()


# Names in the light of the photo around


def context_stage(sources: list[Source]) -> tuple[JointStage, OVSAM]:
    torch.manual_seed(0)
    region = RegionConfig(kind="context", fpn_dim=8, levels=(2, 3), roi_size=2)
    model = tiny_model(replace(TINY, region=region))
    return stage(sources, model, learn=["names"]), model


def test_names_learn_from_the_photos_around_crops(sources: list[Source]) -> None:
    drawn = [CropSource(anchored_photos(source.data_set, source.is_whole)[0]) for source in sources]
    names = [source.data_set.name for source in sources]
    batch = ObjectCrops(drawn, names, CROPS["box"], 0, "box", whole_size=128)[0]
    learner, model = context_stage(sources)
    learner.eval()  # nothing drops out
    loss = learner.losses(batch)["name"]
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.region_head is not None
    assert all(p.grad is not None and p.grad.any() for p in model.region_head.parameters())
    assert batch.wholes is not None
    grey = replace(batch, wholes=torch.full_like(batch.wholes, 127))
    assert learner.losses(grey)["name"] != loss, "the scenes count"
    other, _ = context_stage(sources)  # which has not met these photos before
    assert other.eval().losses(batch)["name"] == loss
