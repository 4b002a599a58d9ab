from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ovsam
from ovsam.config import DecoderConfig, TinyViTConfig
from ovsam.errors import CheckpointError
from ovsam.model import presets
from ovsam.model.build import build, expected_state
from ovsam.model.convert import (
    KEY_MAP,
    KEY_MAP_SAM_DECODER,
    convert,
    released_config,
    rename,
    seen_classes_of,
)
from ovsam.model.presets import named_config
from ovsam.model.restore import restore
from ovsam.model.safetensors_file import read_metadata
from ovsam.model.weights_file import read_tensors
from ovsam.vocabulary.builtin import COCO_BASE
from released import KEYS
from small_model import NAME, SMALL, clip_state, offer, write_released

FILE_OF_PART = {
    "backbone": "sam2clip",
    "neck": "sam2clip",
    "fpn_neck": "clip2sam",
    "mask_decoder": "clip2sam",
    "pe": "clip2sam",
    "sam": "sam",
}
UNUSED = {
    False: {"clip2sam": "mask_decoder.label_mlp.", "sam": "mask_decoder."},
    True: {"clip2sam": "mask_decoder.", "sam": "-"},
}


@pytest.mark.parametrize("sam_decoder", [False, True])
def test_every_released_name_is_accounted_for(sam_decoder: bool) -> None:
    """Forth: each name has a place with its shape, or is known to be unused."""
    table = KEY_MAP_SAM_DECODER if sam_decoder else KEY_MAP
    expected = expected_state(released_config("rn50x16", sam_decoder=sam_decoder))
    for part, shapes in KEYS.items():
        file = FILE_OF_PART[part]
        for name, shape in shapes.items():
            renamed, is_known = rename(name, table[file])
            assert is_known, name
            if renamed is None:
                assert name.startswith(UNUSED[sam_decoder][file]), name
            else:
                assert tuple(expected[renamed].shape) == tuple(shape), name


@pytest.mark.parametrize("sam_decoder", [False, True])
def test_every_tensor_of_the_model_has_a_released_name(sam_decoder: bool) -> None:
    """Back: each tensor but the text tower's is named by exactly one released tensor of a part."""
    table = KEY_MAP_SAM_DECODER if sam_decoder else KEY_MAP
    renamed = [
        (part, rename(name, table[FILE_OF_PART[part]])[0])
        for part, shapes in KEYS.items()
        for name in shapes
    ]
    assert len({pair for pair in renamed if pair[1]}) == sum(1 for pair in renamed if pair[1])
    expected = expected_state(released_config("rn50x16", sam_decoder=sam_decoder))
    wanted = {name for name in expected if not name.startswith("text.")}
    assert wanted == {name for _, name in renamed if name}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    offer(monkeypatch)
    return write_released(tmp_path)


def run(files: dict[str, Path], sam_decoder: bool = False) -> Path:
    output = files["sam"].parent / "small.safetensors"
    convert(
        output,
        sam2clip=files["sam2clip"],
        clip2sam=files["clip2sam"],
        sam=files["sam"],
        clip=files["clip"],
        model=NAME,
        sam_decoder=sam_decoder,
    )
    return output


def test_one_file_from_four(files: dict[str, Path]) -> None:
    output = run(files)
    metadata = read_metadata(output)
    assert json.loads(metadata["lacks"]) == ["multimask", "predicted IoU"]
    assert "non-commercial" in metadata["licence"] and "sam2clip.pth" in metadata["source"]
    restored = restore(output)
    model, text = restored.model, restored.text_tower
    assert model.config.seen_classes == COCO_BASE
    assert model.config.decoder == SMALL.decoder
    assert text is not None
    state, clip = model.state_dict(), clip_state()
    assert torch.equal(state["encoder.visual.conv1.weight"], clip["visual.conv1.weight"])
    assert torch.equal(text.tower.text_projection, clip["text_projection"])
    released = read_tensors(files["clip2sam"])
    token = released["mask_decoder.label_token.weight"]
    assert torch.equal(state["mask_decoder.label_token.weight"], token)


def test_sams_decoder_restores_multimask_and_quality(files: dict[str, Path]) -> None:
    output = run(files, sam_decoder=True)
    assert json.loads(read_metadata(output)["lacks"]) == []
    model = restore(output).model
    assert model.config.decoder == DecoderConfig()
    tokens = read_tensors(files["sam"])["mask_decoder.mask_tokens.weight"]
    assert torch.equal(model.state_dict()["mask_decoder.mask_tokens.weight"], tokens)


def test_it_names_what_does_not_fit(files: dict[str, Path]) -> None:
    # Copies: what is read stays mapped to the file, which is written anew below.
    state = {n: t.clone() for n, t in read_tensors(files["clip2sam"]).items()}
    state["mask_decoder.extra.weight"] = torch.zeros(2, 3)
    state["mask_decoder.label_token.weight"] = torch.zeros(1, 255)
    del state["fpn_neck.fpn_convs.3.conv.bias"]
    torch.save(state, files["clip2sam"])
    with pytest.raises(CheckpointError) as caught:
        run(files)
    message = str(caught.value)
    assert "1 unknown: clip2sam: mask_decoder.extra.weight (2, 3)" in message
    assert "1 missing: region_head.fpn.fpn_convs.3.bias (256,)" in message
    assert "mask_decoder.label_token.weight (1, 255) instead of (1, 256)" in message
    assert not (files["sam"].parent / "small.safetensors").exists()


def test_files_in_each_others_place(files: dict[str, Path]) -> None:
    files["sam2clip"], files["clip2sam"] = files["clip2sam"], files["sam2clip"]
    with pytest.raises(CheckpointError, match=r"\d+ unknown: sam2clip: fpn_neck.*in its place"):
        run(files)


def test_counters_of_training_may_be_absent(files: dict[str, Path]) -> None:
    state = {n: t.clone() for n, t in load_file(files["clip"]).items()}
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert counters
    save_file({n: t for n, t in state.items() if n not in counters}, files["clip"])
    restore(run(files))


def test_only_models_of_released_files() -> None:
    with pytest.raises(CheckpointError, match="Unknown model"):
        released_config("nothing")
    assert released_config("rn50x16", seen_classes=["cat"]).seen_classes == ("cat",)
    assert named_config("rn50x16").decoder.mask_tokens == 1


def test_seen_classes_of_lvis_are_those_not_rare(tmp_path: Path) -> None:
    names = {3: ("cup_(drinking)", "f"), 1: ("aerosol_can", "c"), 2: ("yoke_(animal)", "r")}
    categories = [{"id": i, "name": n, "frequency": f} for i, (n, f) in names.items()]
    (tmp_path / "lvis.json").write_text(json.dumps({"categories": categories}))
    assert seen_classes_of(tmp_path / "lvis.json") == ("aerosol can", "cup (drinking)")
    (tmp_path / "names.txt").write_text("# mine\nCat, kitten\nDog\n")
    assert seen_classes_of(tmp_path / "names.txt") == ("cat", "dog")
    (tmp_path / "list.json").write_text('["cat", {"name": "Dog", "synonyms": ["puppy"]}]')
    assert seen_classes_of(tmp_path / "list.json") == ("cat", "dog")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_converting_takes_the_memory_of_the_model_once(tmp_path: Path) -> None:
    """SAM ViT-B at its true size, in a process of its own: 375 MB of weights."""
    parts = {"sam.": "image_encoder."}
    state = {}
    for name, tensor in expected_state(named_config("sam-b")).items():
        part = next((part for part in parts if name.startswith(part)), "")
        state[parts.get(part, "") + name.removeprefix(part)] = torch.zeros(tensor.shape)
    torch.save(state, tmp_path / "sam.pth")
    size = sum(tensor.nbytes for tensor in state.values())
    assert size > 370e6
    code = (
        "import re, sys, pathlib, ovsam.model.convert as c;"
        "status = pathlib.Path('/proc/self/status');"
        "peak = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1]);"
        "before = peak(); c.convert(sys.argv[1], sam=sys.argv[2], model='sam-b');"
        "print(peak() - before)"
    )
    paths = [str(tmp_path / "out.safetensors"), str(tmp_path / "sam.pth")]
    line = [sys.executable, "-c", code, *paths]
    environment = {**os.environ, "PYTHONPATH": str(Path(ovsam.__file__).parents[1])}
    result = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    assert int(result.stdout) < 1.9 * size, "less than two copies; torch itself takes some"


def test_mobile_sam_is_its_file_under_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trunk's own classifier is of no use; everything else is, and nothing changes."""
    small = TinyViTConfig(dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), heads=(1, 2, 2))
    monkeypatch.setitem(presets.SAMS, "mobile-sam", small)
    model = build(named_config("mobile-sam"))
    theirs = {
        key.replace("sam.", "image_encoder.", 1) if key.startswith("sam.") else key: tensor
        for key, tensor in model.state_dict().items()
    }
    head = {"norm_head.weight": (8,), "norm_head.bias": (8,), "head.weight": (1000, 8)}
    unused = {f"image_encoder.{key}": torch.zeros(shape) for key, shape in head.items()}
    torch.save({**theirs, **unused}, tmp_path / "mobile_sam.pt")
    output = tmp_path / "mobile-sam.safetensors"
    config = convert(output, sam=tmp_path / "mobile_sam.pt", model="mobile-sam")
    assert (config.sam, config.names_objects) == (small, False)
    assert "SAM: Apache-2.0." in read_metadata(output)["licence"]
    restored = restore(output).model
    torch.testing.assert_close(dict(restored.state_dict()), dict(model.state_dict()))
