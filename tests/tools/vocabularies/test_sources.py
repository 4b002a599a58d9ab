"""Reading the names out of packages, on packages as small as can be."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.vocabularies import sources

CATEGORIES = """
import other
LVIS_CATEGORIES = [{"frequency": "c", "synset": "mouse.n.02", "synonyms": ["mouse"], "id": 7,
                    "name": "mouse_(computer)"}]
"""
OBJECTS365 = """
class Objects365V1Dataset(CocoDataset):
    METAINFO = {'classes': ('old',)}

class Objects365V2Dataset(CocoDataset):
    METAINFO = {'classes': ('Person', 'Moniter/TV'), 'palette': None}
"""


def test_lvis_is_in_a_source_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "detectron2_cdo-0.5.tar.gz", "w:gz") as tar:
        for name, text in (("lvis_v0_5_categories", "x = 1"), ("lvis_v1_categories", CATEGORIES)):
            member = tarfile.TarInfo(f"detectron2_cdo-0.5/detectron2/data/datasets/{name}.py")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    [category] = sources.lvis_categories(tmp_path)
    assert category == {
        "id": 7,
        "name": "mouse_(computer)",
        "synonyms": ["mouse"],
        "synset": "mouse.n.02",
        "frequency": "c",
    }


def test_objects365_is_in_a_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mmdet-3.3.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mmdet/datasets/objects365.py", OBJECTS365)
    assert sources.objects365_names(tmp_path) == ["Person", "Moniter/TV"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_wordnet_is_in_a_debian_package(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = root / "usr/share/wordnet"
    folder.mkdir(parents=True)
    (folder / "index.noun").write_text("dog n 1 1 @ 1 0 02084071\n")
    (folder / "data.noun").write_text("02084071 05 n 01 dog 0 001 @ 02083346 n 0000 | barks\n")
    (folder / "noun.exc").write_text("mice mouse\n")
    (folder / "cntlist.rev").write_text("dog%1:05:00:: 1 42\n")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: wordnet-base\nVersion: 3.0-37\nArchitecture: all\nMaintainer: A <a@b.c>\n"
        "Description: nouns\n"
    )
    file = tmp_path / "wordnet-base_3.0-37_all.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", root, file], check=True, capture_output=True
    )
    wordnet = sources.wordnet(tmp_path)
    assert wordnet.find("dog.n.01") == "n02084071"
    assert wordnet.synsets["n02084071"].hypernyms == ("n02083346",)
    assert wordnet.singulars == {"mice": "mouse"}
    assert wordnet.counts == {"n02084071": 42}


def test_a_package_that_is_not_there_or_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        sources.PackageError, match=r"must have one mmdet-3\.3\.0-\*\.whl, found 0\. Download it\."
    ):
        sources.objects365_names(tmp_path)
    for tag in ("py2", "py3"):
        (tmp_path / f"mmdet-3.3.0-{tag}-none-any.whl").touch()
    with pytest.raises(sources.PackageError, match="found 2"):
        sources.objects365_names(tmp_path)


def test_imagenet_comes_with_timm() -> None:
    names = sources.imagenet_names("imagenet-1k")
    assert len(names) == 1000
    assert next(iter(names.items())) == ("n01440764", "tench, Tinca tinca")
