"""Recipes carried out: from the command to a checkpoint that loads, and its report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import ovsam
from ovsam.cli.app import app
from ovsam.config import CalibrationConfig, CalibrationFit
from ovsam.errors import TrainingError, VocabularyError
from ovsam.model.restore import restore
from ovsam.model.torch_bank import TorchBank
from ovsam.text.cache import TextStore
from ovsam.train import run as running
from ovsam.train.initial import InitialModel, initial_model, prototypes_of
from ovsam.train.recipe import NameLossSettings, StartSettings
from ovsam.train.recipe_file import read_recipe
from ovsam.train.run import run_recipe
from photo_folder import write_coco, write_folder
from tiny_model import TINY, random_bank, tiny_model
from train.toy_stage import rows

DOCS = Path(__file__).parents[2] / "docs"
# A run of the tutorial that takes seconds.
SMALL = [
    "engine.steps=2",
    "engine.precision=32-true",
    "engine.workers=0",
    "engine.log_every=1",
    *(f"crops.{kind}.size=64" for kind in ("box", "click")),
    *(f"crops.{kind}.count=2" for kind in ("box", "click")),
]


def test_the_tutorial_from_ones_own_photos_to_a_model(
    tmp_path: Path, invoke: Callable[[str], str]
) -> None:
    """The commands of docs/train.md as they stand there, at a tiny size."""
    photos = tmp_path / "my-photos"
    write_coco(
        photos / "annotations.json", photos / "photos", ["mug", "lamp"], ["a.jpg", "b.jpg", "c.jpg"]
    )
    text = (DOCS / "train.md").read_text(encoding="utf-8").partition("## Your own photos")[2]
    block = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)[0]
    check, train, evaluate = (line.removeprefix("ovsam ") for line in block.splitlines())
    checked = invoke(check)
    assert "mug 3, lamp 3\n" in checked
    assert "\nnothing wrong\n" in checked, "but a note about regions with iscrowd 1"
    assert (tmp_path / "sheet.png").exists()
    invoke(" ".join([train, *(f"--set {change}" for change in SMALL)]))
    folder = tmp_path / "my-run"
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "curves.png",
        "lite.safetensors",
        "log.csv",
        "recipe.json",
        "report.md",
        "tensorboard",
        "text.sqlite",
    }
    recipe = json.loads((folder / "recipe.json").read_text())
    assert (recipe["engine"]["steps"], recipe["crops"]["click"]["size"]) == (2, 64)
    assert "2 steps" in (folder / "report.md").read_text()
    assert re.search(r"\b6\b", invoke(evaluate)), "two objects on each of three photos"
    predictor = ovsam.load(folder / "lite.safetensors", vocabulary="mug, lamp")
    assert {"mug", "lamp", "person"} <= set(predictor.config.seen_classes)
    before = initial_model("lite", recipe_start("lite")).model.state_dict()
    after = initial_model("lite", recipe_start(str(folder / "lite.safetensors"))).model
    changed = {n for n, v in after.state_dict().items() if not torch.equal(v, before[n])}
    assert any(name.startswith("mask_decoder") for name in changed)
    assert not any(name.startswith("encoder") for name in changed)


def test_names_alone_from_boxes_without_masks(tmp_path: Path, invoke: Callable[[str], str]) -> None:
    """With the settings that docs/train.md names."""
    photos = tmp_path / "my-photos"
    write_coco(photos / "annotations.json", photos / "photos", ["mug", "lamp"], ["a.jpg", "b.jpg"])
    content = json.loads((photos / "annotations.json").read_text())
    for row in content["annotations"]:
        del row["segmentation"]
    (photos / "annotations.json").write_text(json.dumps(content))
    text = (DOCS / "train.md").read_text(encoding="utf-8")
    settings = re.findall(r"`--set '(learn=.*?)' --set '(cycle=.*?)'`", text)[0]
    changes = " ".join(f"--set {change}" for change in (*settings, *SMALL))
    invoke(f"train finetune --data my-photos -o names {changes}")
    before = initial_model("lite", recipe_start("lite")).model.state_dict()
    trained = str(tmp_path / "names" / "lite.safetensors")
    after = initial_model("lite", recipe_start(trained)).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("region_head.") for name in changed)


def recipe_start(checkpoint: str):  # type: ignore[no-untyped-def]
    return read_recipe("finetune", [f"start.checkpoint={checkpoint}"]).start


# Both stages on a tiny model


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(name: str, settings: object) -> InitialModel:  # noqa: ARG001
        model = tiny_model(
            replace(TINY, calibration=CalibrationConfig(fits=(CalibrationFit(temperature=2),))),
            seed=5,
        )
        return InitialModel(model, {}, {"licence": "none"}, names_learnt=True)

    def prototypes(
        _start: InitialModel, _: str, classes: Sequence[Sequence[str]], *__: object
    ) -> TorchBank:
        return random_bank(len(classes))

    monkeypatch.setattr(running, "initial_model", start)
    monkeypatch.setattr(running, "prototypes_of", prototypes)


ENGINE = """
[engine]
steps = 2
precision = "32-true"
clip = 5.0
workers = 0
log_every = 1
schedule = { peak = 1e-3, warm_up = 1 }
"""
LABEL = """
stage = "label"
model = "tiny"
batch = 2
scene = { size = 64, min_area = 4 }
prompts = { count = 4 }

[[data]]
path = "coco_sample/annotations/instances_train2017.json"
images = "coco_sample/train2017"
vocabulary = "coco"
only = ["person", "bicycle"]

[[data]]
path = "imagenet_sample"
seen = false

[watch]
path = "ecssd"
until = "0900"
"""


@pytest.mark.usefixtures("tiny")
def test_stage_two_on_a_mixture(tmp_path: Path, invoke: Callable[[str], str]) -> None:
    write_folder(tmp_path)
    (tmp_path / "mine.toml").write_text(LABEL + ENGINE)
    invoke("train mine.toml --data . -o run")
    metadata = ovsam_metadata(tmp_path / "run" / "tiny.safetensors")
    config = json.loads(metadata["config"])
    assert config["seen_classes"] == ["person", "bicycle"]
    assert metadata["licence"] == "none"
    assert "label" in metadata["source"]
    assert "pictures/00000002.png" in (tmp_path / "run" / "report.md").read_text()
    assert (tmp_path / "run" / "pictures" / "00000002.png").exists()


DISTILL = """
stage = "distill"
model = "tiny"
teacher = "lite"
image_size = 64
batch = 2

[[data]]
path = "bsds500/train.txt"
"""


def ovsam_metadata(path: Path) -> dict[str, str]:
    from ovsam.model.safetensors_file import read_metadata

    return read_metadata(path)


@pytest.mark.usefixtures("tiny")
def test_stage_one_with_a_teacher_that_does_not_fit(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "mine.toml").write_text(DISTILL + ENGINE)
    arguments = ["distill", str(tmp_path / "mine.toml"), "--data", str(tmp_path), "-o", "run"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "128 channels" in result.output + str(result.exception)


def test_stage_one_from_a_cache(tmp_path: Path, invoke: Callable[[str], str]) -> None:
    """`lite` with a new adapter learns `lite`'s embedding, from a cache or computed: the same."""
    write_folder(tmp_path)
    start = '[start]\ncheckpoint = "lite"\nreinitialise = ["adapter"]\n'
    recipe = DISTILL.replace('"tiny"', '"lite"').replace("batch = 2", "batch = 1")
    (tmp_path / "mine.toml").write_text(recipe + start + ENGINE)
    invoke("cache-features bsds500/train.txt --teacher lite --size 64 -o cached --yes")
    invoke("distill mine.toml --data . -o computed")
    invoke('distill mine.toml --data . -o cached-run --set caches=["cached"]')
    computed, cached, lite = (
        initial_model("lite", recipe_start(path)).model.state_dict()
        for path in ("computed/lite.safetensors", "cached-run/lite.safetensors", "lite")
    )
    for name, weights in computed.items():
        if name.startswith("adapter."):
            # Of two steps of 1e-3. The cache rounds to halves, so a gradient of nearly zero may
            # change its sign, and that one weight moves the other way: the mean says more.
            assert float((weights - cached[name]).abs().mean()) < 1e-5, name
        else:
            assert torch.equal(weights, lite[name]), name
    for run in ("computed", "cached-run"):
        first, last = (float(row["embedding"]) for row in rows(tmp_path / run))
        assert last < first / 2


@pytest.mark.usefixtures("tiny")
def test_a_run_of_other_data_is_not_gone_on_with(
    tmp_path: Path, invoke: Callable[[str], str]
) -> None:
    write_folder(tmp_path)
    (tmp_path / "mine.toml").write_text(LABEL + ENGINE)
    invoke("train mine.toml --data . -o run")
    line = "train mine.toml --data . -o run --set"
    changed = CliRunner().invoke(app, [*line.split(), "prompts.count=5"])
    assert changed.exit_code != 0
    assert "a run with another prompts" in changed.output
    narrowed = CliRunner().invoke(app, [*line.split(), 'data.0.only=["person"]'])
    assert "another content of data.0, data" in narrowed.output
    invoke(f"{line} engine.log_every=2")


@pytest.mark.usefixtures("tiny")
def test_a_share_of_the_start_is_kept(tmp_path: Path, invoke: Callable[[str], str]) -> None:
    """A quarter of the start, and three quarters of what a run without it ends with."""
    write_folder(tmp_path)
    (tmp_path / "mine.toml").write_text(LABEL + '[start]\ncheckpoint = "lite"\n' + ENGINE)
    invoke("train mine.toml --data . -o all")
    invoke("train mine.toml --data . -o most --set start.keep=0.25")
    name = "region_head.roi_conv.weight"
    begun = tiny_model(seed=5).state_dict()[name]  # as the fixture's
    whole, part = (
        load_file(tmp_path / run / "tiny.safetensors")[name].float() - begun
        for run in ("all", "most")
    )
    assert whole.abs().mean() > 5e-4, "a step moves a weight by 1e-3"
    # Along the way of the whole run: stored in halves, single weights say less.
    assert float((part * whole).sum() / (whole * whole).sum()) == pytest.approx(0.75, abs=0.02)


def test_stage_one_with_an_adapter_of_one_scale(
    tmp_path: Path, invoke: Callable[[str], str]
) -> None:
    """Table 5: all but the adapter comes from the model of the same name."""
    write_folder(tmp_path)
    start = 'checkpoint = "lite"\nreinitialise = ["adapter"]'
    (tmp_path / "one.toml").write_text(lite_recipe("distill", start))
    invoke("distill one.toml --data . -o one --set model=lite-single")
    model = restore(tmp_path / "one" / "lite-single.safetensors").model
    assert (model.config.name, model.config.adapter.multi_scale) == ("lite-single", False)
    lite = initial_model("lite", recipe_start("lite")).model.state_dict()
    for name, weights in model.state_dict().items():
        assert name.startswith("adapter.") or torch.equal(weights, lite[name]), name


# What is told of names


def lite_recipe(stage: str, start: str) -> str:
    text = LABEL if stage == "label" else DISTILL.replace("batch = 2", "batch = 1")
    kept = text.partition("[watch]")[0].replace('"tiny"', '"lite"')
    return f"{kept}\n[start]\n{start}\n{ENGINE}"


def test_a_new_region_head_has_the_width_of_the_recipe() -> None:
    start = StartSettings(checkpoint="lite", region_head="pyramid", fpn_dim=32)
    state = initial_model("lite", start).model.state_dict()
    assert state["region_head.roi_conv.weight"].shape == (384, 32, 1, 1)


@pytest.mark.long
def test_until_a_region_head_has_learnt_the_frozen_encoder_names_alone(
    tmp_path: Path, invoke: Callable[[str], str]
) -> None:
    """Table 4: what SAM2CLIP gives, what CLIP2SAM adds, and with another head (Table 6)."""
    write_folder(tmp_path)
    start = 'checkpoint = "lite"\nreinitialise = ["adapter", "region_head"]'
    (tmp_path / "one.toml").write_text(lite_recipe("distill", start))
    invoke("distill one.toml --data . -o one")
    config = json.loads(ovsam_metadata(tmp_path / "one" / "lite.safetensors")["config"])
    assert (config["fusion_alpha"], config["fusion_beta"], config["seen_classes"]) == (1, 1, [])

    start = 'checkpoint = "one/lite.safetensors"\nregion_head = "token"'
    (tmp_path / "two.toml").write_text(lite_recipe("label", start))
    invoke('train two.toml --data . -o masks --set learn=["mask_decoder"]')
    config = json.loads(ovsam_metadata(tmp_path / "masks" / "lite.safetensors")["config"])
    assert (config["fusion_alpha"], config["seen_classes"]) == (1, [])
    invoke("train two.toml --data . -o two")
    config = json.loads(ovsam_metadata(tmp_path / "two" / "lite.safetensors")["config"])
    assert (config["fusion_alpha"], config["fusion_beta"]) == (0.15, 0.5)
    assert config["seen_classes"] == ["person", "bicycle"]
    assert config["region"]["kind"] == "token"
    predictor = ovsam.load(tmp_path / "two" / "lite.safetensors", vocabulary="person, bicycle")
    photo = predictor.encode(np.zeros((60, 80, 3), np.uint8))
    [found] = predictor.predict(photo, ovsam.Prompt(box_xyxy=[10, 10, 50, 40]))
    assert {label.name for label in found.labels[0]} == {"person", "bicycle"}


# What a recipe asks of its data


@pytest.mark.usefixtures("tiny")
def test_a_mixture_under_the_union_of_its_names(
    tmp_path: Path, invoke: Callable[[str], str]
) -> None:
    write_folder(tmp_path)
    (tmp_path / "mine.toml").write_text(LABEL + ENGINE)
    invoke("train mine.toml --data . -o run --set names=union")
    config = json.loads(ovsam_metadata(tmp_path / "run" / "tiny.safetensors")["config"])
    assert config["seen_classes"] == ["person", "bicycle"], "not those that are not to be trusted"
    assert not config["calibration"]["fits"], "the weights are others now"


def test_a_batch_that_cannot_be_spread(tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(LABEL + ENGINE)
    recipe = read_recipe(str(path), ["engine.accumulate=4", "model=lite", "start.checkpoint=lite"])
    with pytest.raises(TrainingError, match=r"batch of 2 .* 4 micro-batches.*multiple of 4"):
        running.run_recipe(recipe, tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("distill finetune --data .", "use 'ovsam train finetune'"),
        ("train sam2clip-rn50x16 --data .", "use 'ovsam distill sam2clip-rn50x16'"),
        ("train finetune --data nowhere", "There is no data folder 'nowhere'"),
        ("train finetune --data .", "annotations.json"),
        ("train sam2clip --data .", "There is no recipe 'sam2clip'"),
    ],
)
def test_commands_that_cannot_be_carried_out(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code != 0
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_all_data_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        run_recipe(read_recipe("lite"), tmp_path, tmp_path / "run")
    lines = str(caught.value).splitlines()
    assert lines[0] == "6 data sets cannot be used:"
    assert len(lines) == 7
    assert "'bsds500" in lines[4].replace(str(tmp_path) + "/", "")


def test_names_that_the_text_model_cannot_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = InitialModel(tiny_model(), {}, {}, names_learnt=True)
    device, store = torch.device("cpu"), TextStore(tmp_path / "text.sqlite")
    bank = prototypes_of(begun, "animals", [("dog",), ("猫",), ("cup", "🥤")], device, store)
    assert len(bank) == 3
    [line] = caplog.messages
    assert line.startswith("Of vocabulary 'animals' the text model cannot read '猫', '🥤'")
    with pytest.raises(VocabularyError, match="cannot read any name of vocabulary 'animals'"):
        prototypes_of(begun, "animals", [("猫",), ("狗",)], device, store)


def test_settings_that_older_runs_do_not_have() -> None:
    """They tell runs apart only where they change something."""
    parts: dict[str, Any] = {"a": {"share": 1.0}, "b": [{"share": 0.0}]}
    newer: dict[str, Any] = {
        "a": {"share": 1.0, "balance": 0.0},
        "b": [{"share": 0.0, "cutouts": False}],
    }
    assert running._without_added(newer | {"name_loss": asdict(NameLossSettings())}) == parts
    newer["b"][0]["cutouts"] = True
    assert running._without_added(newer)["b"] == [{"share": 0.0, "cutouts": True}]
