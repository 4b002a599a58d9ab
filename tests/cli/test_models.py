"""Which models there are, and getting them ahead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import Run, assert_error
from ovsam import hub
from ovsam.cli import models


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    folder = tmp_path / "cache" / "models"
    folder.mkdir(parents=True)
    return folder


def test_each_model_with_what_it_can_do_and_where_it_is(run: Run, own_cache: Path) -> None:
    (own_cache / "sam-b.safetensors").write_bytes(b"weights")
    found = {model["name"]: model for model in json.loads(run("models", "--json").stdout)}
    assert tuple(found) == hub.NAMES
    assert found["sam-b"] == {
        "name": "sam-b",
        "what": "SAM ViT-B",
        "megabytes": 375,
        "terms": "Apache-2.0",
        "can": ["points", "boxes", "masks", "multimask", "zoom"],
        "here": "cached",
        "path": str(own_cache / "sam-b.safetensors"),
    }
    both = found["sam-h+rn50x16"]
    assert both["what"] == "SAM ViT-H, names by CLIP RN50x16"
    assert (both["megabytes"], both["terms"]) == (2565 + 1164, "Apache-2.0; MIT")
    assert both["can"] == ["points", "boxes", "masks", "multimask", "names", "zoom"]
    assert both["here"] == "to fetch"
    lite = found["lite"]
    assert (lite["here"], lite["megabytes"]) == ("shipped", 0)
    assert "non-commercial" in lite["terms"]
    release = found["rn50x16-lvis"]
    assert release["can"] == ["points", "boxes", "masks", "names", "zoom"]
    assert "S-Lab 1.0: non-commercial only" in release["terms"]


def test_the_table_has_a_line_for_each(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    for model in models.listed():
        [line] = [line for line in lines if line.split()[:1] == [model["name"]]]
        assert model["what"] in line and model["terms"] in line and model["here"] in line
    assert "'to fetch': at first use, or by 'ovsam models fetch'" in lines[-1]


def test_fetched_ahead(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch_model(name: str) -> hub.ModelFile:
        asked.append(name)
        return hub.find_model(name)

    monkeypatch.setattr(hub, "fetch_model", fetch_model)
    result = run("models", "fetch", "sam-b", "lite")
    assert result.exit_code == 0, result.output
    assert asked == ["sam-b", "lite"]
    assert result.stdout.splitlines()[1] == f"lite: {hub.SHIPPED}"


def test_without_a_hub_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = run("models", "fetch", "sam-b")
    last = result.stderr.splitlines()[-1]
    assert result.exit_code == 1
    assert last.startswith("error: 'checkpoints/sam_vit_b_01ec64.pth' is not here, and HF_HUB_OFF")
    assert "--sam sam_vit_b_01ec64.pth --model sam-b'" in last and "Traceback" not in result.stderr


def test_no_such_model(run: Run) -> None:
    assert_error(run("models", "fetch", "sam-x"), "Unknown model 'sam-x'", code=2)
