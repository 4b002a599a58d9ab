"""The data sets of a recipe: their classes, their names, and what is held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovsam.data.dataset import DataSet
from ovsam.errors import TrainingError
from ovsam.train.recipe import SourceSettings
from ovsam.train.sources import read_source, united
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.wordnet import hierarchy
from photo_folder import write_coco, write_folder


def test_the_union_of_names(tmp_path: Path) -> None:
    """A class keeps its place whoever writes it; two of one name in one data set stay two."""
    sets = {"a": ["cat", "bow_(weapon)", "bow_(ribbons)"], "b": ["Bow", "dog", "cat"]}
    for name, classes in sets.items():
        write_coco(tmp_path / f"{name}.json", tmp_path / "photos", classes, [f"{name}.jpg"])
    sources = [
        read_source(SourceSettings(path=f"{name}.json", images="photos"), tmp_path) for name in sets
    ]
    firsts = [[names[0] for names in source.synonyms] for source in sources]
    a, b = united(sources)
    assert a.synonyms == b.synonyms
    assert len(a.data_set.classes) == len(a.synonyms)
    for source, own in zip((a, b), firsts, strict=True):
        for name, first in zip(sets[source.settings.path[0]], own, strict=True):
            assert first in source.synonyms[source.data_set.class_index(name)]
    assert a.data_set.class_index("cat") == b.data_set.class_index("cat")
    indices = [a.data_set.class_index(name) for name in sets["a"]]
    assert len(set(indices)) == 3
    assert b.data_set.class_index("dog") not in indices
    assert a.synsets[b.data_set.class_index("dog")] == hierarchy().find("dog")
    assert a.data_set.class_index("dog") == -1
    nameless = replace(sources[0].data_set, categories=())
    bare = replace(sources[0], synonyms=(), synsets=(), data_set=nameless)
    assert united([bare, sources[1]])[0] is bare


def test_codes_are_known_by_their_place_whatever_they_are_called(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "imagenet_sample/words.txt").write_text("n01\tcrane\nn02\tdog, hound\n")
    settings = SourceSettings(path="imagenet_sample", vocabulary="heron, dog/puppy")
    assert read_source(settings, tmp_path).synonyms == (("heron",), ("dog", "puppy"))
    other = replace(settings, vocabulary="heron, dog, cat")
    with pytest.raises(TrainingError, match=r"2 classes, 'n01' among them, and the .* 3 others"):
        read_source(other, tmp_path)


def test_what_classes_mean(tmp_path: Path) -> None:
    """By ImageNet's code, by the vocabulary, by name, or as a kind of an everyday thing."""
    names = ["n02012849", "children's chair with armrests", "cooking wok", "tie", "blorb for two"]
    write_coco(tmp_path / "a.json", tmp_path / "photos", names, ["a.jpg"])
    found = read_source(SourceSettings(path="a.json", images="photos"), tmp_path).synsets
    find = hierarchy().find
    assert found == ("n02012849", find("chair"), find("wok"), find("necktie"), None)
    write_coco(tmp_path / "b.json", tmp_path / "photos", ["n02012849", "n03126707"], ["a.jpg"])
    settings = SourceSettings(path="b.json", images="photos", vocabulary="imagenet1k")
    source = read_source(settings, tmp_path)
    assert source.synsets == ("n02012849", "n03126707")  # a bird and a machine, both called crane
    classes = load_vocabulary("imagenet1k")
    by_synset = dict(zip(classes.synsets, classes.synonyms, strict=True))
    assert source.synonyms == tuple(by_synset[synset] for synset in source.synsets)


def coco(root: Path, **settings: object) -> DataSet:
    path = "coco_sample/annotations/instances_train2017.json"
    images = "coco_sample/train2017"
    return read_source(SourceSettings(path=path, images=images, **settings), root).data_set  # type: ignore[arg-type]


def test_novel_classes_are_left_out(root: Path) -> None:
    assert len(coco(root).classes) == 80
    base = coco(root, only="coco-base")
    assert len(base.classes) == 48
    names = {instance.category for photo in base.photos for instance in photo.instances}
    assert names == {"person", "bicycle"} & set(base.classes)


def test_a_vocabulary_is_looked_up_by_name_not_by_place(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", tmp_path / "photos", ["dog", "cat"], ["a.jpg"])
    settings = SourceSettings(path="a.json", images="photos", vocabulary="coco")
    source = read_source(settings, tmp_path)
    assert source.data_set.classes == ("dog", "cat")
    assert [synonyms[0] for synonyms in source.synonyms] == ["dog", "cat"]
    assert min(len(synonyms) for synonyms in source.synonyms) > 1


def test_photos_after_the_last_are_held_out(root: Path) -> None:
    assert [photo.path.stem for photo in coco(root, until="1").photos.listed] == ["1"]
