"""Recipes: what is read, changed in passing, and refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.errors import SettingError, TrainingError
from ovsam.shipped import shipped
from ovsam.train.recipe import DistillRecipe, JointRecipe, LabelRecipe
from ovsam.train.recipe_file import RECIPES, read_recipe

DISTILL = """
stage = "distill"
model = "rn50"
teacher = "sam-h"

[[data]]
path = "sa1b"

[engine]
steps = 10
clip = 5.0
schedule = { peak = 1e-4 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(DISTILL)
    return path


def test_fields_and_defaults(recipe: Path) -> None:
    read = read_recipe(str(recipe))
    assert isinstance(read, DistillRecipe)
    assert (read.model, read.batch, read.image_size) == ("rn50", 16, 1024)
    assert (read.data[0].path, read.data[0].share, read.data[0].only) == ("sa1b", 1.0, None)
    assert (read.engine.steps, read.engine.schedule.warm_up) == (10, 500)


@pytest.mark.parametrize("name", shipped(RECIPES))
def test_every_shipped_recipe_is_one(name: str) -> None:
    assert read_recipe(name).engine.steps > 0


def test_the_papers_first_stage() -> None:
    """24 epochs of 1% of SA-1B, 16 photos a step (spec: AdamW 1e-4, 0.05, clip 5, warm-up 500)."""
    read = read_recipe("sam2clip-rn50x16")
    assert isinstance(read, DistillRecipe)
    assert (read.batch, read.engine.clip, read.engine.weight_decay) == (16, 5, 0.05)
    schedule = read.engine.schedule
    assert (schedule.peak, schedule.warm_up, schedule.warm_up_from) == (1e-4, 500, 0.001)
    assert (schedule.decay, schedule.end) == ("cosine", 0.01)


@pytest.mark.parametrize("name", ["clip2sam-coco", "clip2sam-lvis", "clip2sam-22k"])
def test_the_papers_second_stage(name: str) -> None:
    read = read_recipe(name)
    assert isinstance(read, LabelRecipe)
    assert (read.batch, read.engine.clip, read.prompts.count) == (16, 0.01, 40)
    assert read.engine.schedule.drops == pytest.approx((8 / 12, 11 / 12), abs=1e-3)
    assert read.scene.scale_range == ((0.1, 2.0) if name == "clip2sam-lvis" else (0.9, 2.0))
    left_out = {source.path.partition("/")[0]: source.only for source in read.data}
    assert left_out["coco" if name == "clip2sam-coco" else "lvis"] is not None


def test_lite() -> None:
    read = read_recipe("lite")
    assert isinstance(read, JointRecipe)
    assert set(read.cycle) == set(read.crops)
    assert (read.crops["click"].size, read.crops["click"].clicked) == (128, 1.0)


# Changes


def test_a_field_of_any_depth_can_be_changed(recipe: Path) -> None:
    read = read_recipe(
        str(recipe),
        ["engine.steps=7", "data.0.path=other", "engine.schedule.peak=2e-3", 'caches=["a"]'],
    )
    assert isinstance(read, DistillRecipe)
    assert (read.engine.steps, read.data[0].path, read.engine.schedule.peak) == (7, "other", 2e-3)
    assert read.caches == ("a",)


def test_a_part_that_the_file_leaves_out_can_be_set(recipe: Path) -> None:
    read = read_recipe(str(recipe), ["start.checkpoint=lite", 'start.reinitialise=["adapter"]'])
    assert (read.start.checkpoint, read.start.reinitialise) == ("lite", ("adapter",))


@pytest.mark.parametrize("change", ["engine.steps", "=3", "data.5.path=x", "data.first.path=x"])
def test_changes_that_name_nothing(recipe: Path, change: str) -> None:
    with pytest.raises(SettingError, match=r"NAME=VALUE|names nothing"):
        read_recipe(str(recipe), [change])


def test_a_wrong_change_is_not_the_file_s_fault(recipe: Path) -> None:
    with pytest.raises(SettingError) as caught:
        read_recipe(str(recipe), ["batch=many"])
    head, line = str(caught.value).splitlines()
    assert head == f"batch=many: with these settings '{recipe}' cannot be used:"
    assert line.startswith("- batch: ") and line.endswith("got 'many'")
    recipe.write_text(DISTILL.replace("steps = 10", 'steps = "ten"'))
    with pytest.raises(TrainingError, match=f"^'{recipe}' cannot be used:\n- engine.steps") as its:
        read_recipe(str(recipe), ["batch=2"])
    assert not isinstance(its.value, SettingError)


# What is refused


def test_all_that_is_wrong_is_said_at_once(recipe: Path) -> None:
    changes = ["engine.stepz=1", "engine.clip=-1", "batch=many", "prompts=4", "teacher2=x"]
    with pytest.raises(TrainingError) as caught:
        read_recipe(str(recipe), changes)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("cannot be used:")
    found = {line.partition(" ")[2].partition(":")[0].partition(" is ")[0] for line in lines[1:]}
    assert found >= {
        "engine.stepz",
        "engine.clip",
        "batch",
        "teacher2",
    }
    assert any("greater than 0, got -1" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["prompts=4"], "prompts and prompt_weight must be given together"),
        (['caches=["a", "b"]'], "caches must have one for each of the 1 data sets or none, got 2"),
        (["engine.schedule.decay=drops"], "drops must be given with decay"),
        (["engine.schedule.drops=[1.5]", "engine.schedule.decay=drops"], "between 0 and 1"),
        (["start.checkpoint=a", "start.clip=b"], "not both"),
        (['start.reinitialise=["adapter"]'], "there is none"),
    ],
)
def test_contradictions(recipe: Path, changes: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_recipe(str(recipe), changes)


def test_crops_that_no_trunk_can_see() -> None:
    with pytest.raises(TrainingError, match=r"scene\.size must be a multiple of 32, got 1000"):
        read_recipe("clip2sam-coco", ["scene.size=1000"])
    with pytest.raises(TrainingError, match=r"prompts\.boxes: .*less than or equal to 1, got 5"):
        read_recipe("clip2sam-coco", ["prompts.boxes=5"])


def test_contradictions_of_several_settings_are_told_at_once() -> None:
    changes = [
        "scene.size=100",
        "rounds=2",
        'learn=["region_head"]',
        'start.reinitialise=["adapter"]',
    ]
    with pytest.raises(TrainingError) as caught:
        read_recipe("clip2sam-lite", changes)
    for part in ("multiple of 32", "rounds are refinements", "names adapter, which learn"):
        assert part in str(caught.value)


def test_what_is_unknown_and_what_contradicts_in_all_parts_is_told_at_once() -> None:
    changes = [
        "scene.size=100",
        "scene.scale_range=[2.0, 0.5]",
        "engine.schedule.drops=[0.5]",
        "start.keep=0.5",
        "engine.speed=3",
        "colour=1",
    ]
    with pytest.raises(TrainingError) as caught:
        read_recipe("clip2sam-lite", changes)
    lines = str(caught.value).splitlines()[1:]
    assert sorted(lines) == sorted(
        [
            "- the recipe: scene.size must be a multiple of 32, got 100",
            "- scene: scale_range must be a least and a greatest scale, got (2.0, 0.5)",
            '- engine.schedule: drops must be given with decay = "drops", and only with it',
            "- start: keep needs a checkpoint of which no part is reinitialised",
            "- engine.speed is no setting",
            "- colour is no setting",
        ]
    )


def test_a_setting_unknown_in_a_list_hides_nothing_and_adds_nothing() -> None:
    changes = ['data=[{path="a",foo=1},{path="b",bar=1}]', "cycle=['x']"]
    with pytest.raises(TrainingError) as caught:
        read_recipe("lite", changes)
    assert sorted(str(caught.value).splitlines()[1:]) == [
        "- data.0.foo is no setting",
        "- data.1.bar is no setting",
        "- the recipe: cycle names x, which crops does not describe",
    ]


def test_crops_are_checked_where_they_stand() -> None:
    with pytest.raises(
        TrainingError, match=r"- crops\.box: context must be a least and a greatest"
    ):
        read_recipe("lite", ["crops.box.context=[2.0, 1.0]"])


@pytest.mark.parametrize("change", ["data.0.share=inf", "crops.box.context=[0.5, inf]"])
def test_no_number_is_without_end(change: str) -> None:
    with pytest.raises(TrainingError, match="finite"):
        read_recipe("finetune", [change])


def test_lists_are_counted_from_their_beginning() -> None:
    with pytest.raises(TrainingError, match="lists are counted from 0"):
        read_recipe("finetune", ["data.-1.share=2"])


def test_a_cycle_of_kinds_that_are_not_described() -> None:
    with pytest.raises(TrainingError, match="cycle names far, which crops does not describe"):
        read_recipe("lite", ['cycle=["box", "far"]'])


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ('data.0.among=["lvis"]', "among of data names lvis, which name_loss.among does not"),
        ("name_loss.among={nowhere=1.0}", "among names nowhere, which is no built-in vocabulary"),
        ("name_loss={own=0.0,among={}}", "own is 0 and among is empty: no name would be learnt"),
    ],
)
def test_names_are_learnt_among_vocabularies_that_the_loss_has(change: str, wrong: str) -> None:
    with pytest.raises(TrainingError, match=wrong):
        read_recipe("lite-names", [change])


def test_no_such_recipe() -> None:
    with pytest.raises(TrainingError, match=r"There is no recipe 'nowhere'.*lite"):
        read_recipe("nowhere")


def test_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("stage = ")
    with pytest.raises(TrainingError, match=r"bad\.toml' is not TOML"):
        read_recipe(str(path))


def test_what_began_anew_has_nothing_to_keep() -> None:
    kept = read_recipe("finetune", ["start.keep=0.5"])
    assert kept.start.keep == 0.5
    with pytest.raises(TrainingError, match="keep needs a checkpoint of which no part is rein"):
        read_recipe("finetune", ["start.keep=0.5", "start.region_head=token"])


def test_only_a_new_region_head_has_another_width() -> None:
    with pytest.raises(TrainingError, match="fpn_dim is the width of a new region head"):
        read_recipe("finetune", ["start.fpn_dim=64"])


def test_squares_that_would_be_larger_at_least_than_at_most() -> None:
    with pytest.raises(TrainingError, match=r"box.*context must be a least and a greatest side"):
        read_recipe("lite", ["crops.box.context=[3.0, 2.0]"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('learn=["nam"]', ["- learn.0: input should be 'masks' or 'names', got 'nam'"]),
        (
            "learn=[]",
            ["- learn: tuple should have at least 1 item after validation, not 0, got []"],
        ),
    ],
)
def test_a_list_of_something_wrong_is_not_called_too_short(change: str, said: list[str]) -> None:
    with pytest.raises(TrainingError) as caught:
        read_recipe("finetune", [change])
    assert str(caught.value).splitlines()[1:] == said


RECOMPUTE = "recompute is no setting: it is checkpoint_activations"


@pytest.mark.parametrize(
    ("recipe", "change", "sentence"),
    [
        ("sam2clip-lite", 'start.anew=["adapter"]', "start.anew is no setting: it is reinitialise"),
        ("lite", "again=0.1", "again is no setting: it is refinement_weight"),
        ("clip2sam-coco", "recompute=true", RECOMPUTE),
        ("sam2clip-lite", "recompute=true", RECOMPUTE),
        ("lite", "looks.box.size=64", "looks is no setting: it is crops"),
    ],
)
def test_an_old_name_of_a_setting_is_refused_with_the_new_one(
    recipe: str, change: str, sentence: str
) -> None:
    with pytest.raises(SettingError) as caught:
        read_recipe(recipe, [change])
    assert str(caught.value).splitlines()[1:] == [f"- {sentence} now"]


def test_old_names_in_a_recipe_s_file_are_refused_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    text = shipped(RECIPES)["lite"].read_text().replace("[crops.", "[looks.")
    path.write_text(f"again = 0.2\n{text}")
    with pytest.raises(TrainingError) as caught:
        read_recipe(str(path))
    assert sorted(str(caught.value).splitlines()[1:]) == [
        "- again is no setting: it is refinement_weight now",
        "- looks is no setting: it is crops now",
    ]
