"""Readers of annotations, results and names against files with anything wrong in them.

A reader refuses with one sentence that names the file, or it counts what it has left out. It never
raises anything else, hangs, or loses a row without a word.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fuzzing import examples
from made_run import SET
from ovsam.errors import OvsamError
from ovsam.evaluate.average_precision import ground_truth_rows
from ovsam.evaluate.metrics import Outcome
from ovsam.formats.coco import collect_annotations, read_annotations
from ovsam.formats.coco_results import MaskResult, read_detections
from ovsam.formats.ground_truth import parse_ground_truth, read_ground_truth
from ovsam.formats.json_rows import read_json
from ovsam.formats.layouts import list_photos
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.sa1b import parse_sa1b
from ovsam.geometry import Rle, rle_area
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.jobs.journal import Journal
from ovsam.paper.cases import check_sources, choose, read_answers
from ovsam.paper.order import pairs
from ovsam.paper.reports import Reports
from ovsam.paper.results import Results
from ovsam.paper.table_set import Folders, Row, read_table_set
from ovsam.vocabulary.load import load_vocabulary

SQUARE = [[1, 2, 4, 2, 4, 4, 1, 4]]
_png = io.BytesIO()
Image.fromarray(np.ones((3, 3), np.uint8)).save(_png, "png")
MASK = base64.b64encode(_png.getvalue()).decode()
RLE = {"size": [6, 8], "counts": [8, 2, 4, 2, 32]}
RLE_TEXT: Rle = {"size": [6, 8], "counts": "8240l0"}
COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 8, "height": 6},
        {"id": 2, "file_name": "b.png", "width": 4, "height": 4},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "coffee_mug"}],
    "annotations": [
        {
            "id": 10 + i,
            "image_id": 1,
            "category_id": 7,
            "bbox": [1, 2, 3, 2],
            "area": 6.0,
            "iscrowd": int(i == 2),
            "segmentation": shape,
        }
        for i, shape in enumerate((SQUARE, RLE, RLE))
    ],
}
LVIS: dict[str, Any] = {
    "images": [
        {**image, "neg_category_ids": [9], "not_exhaustive_category_ids": [7]}
        for image in COCO["images"]
    ],
    "categories": [{**c, "frequency": "r", "synonyms": ["puss"]} for c in COCO["categories"][:1]]
    + [{"id": 9, "name": "coffee_mug", "frequency": "f", "synonyms": []}],
    "annotations": COCO["annotations"][:2],
}
RESULTS: list[dict[str, Any]] = [
    {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 2], "score": 0.5},
    {"image_id": 2, "category_id": 9, "bbox": [0, 0, 3, 2], "score": 1, "file_name": "b.png"},
]
SA1B: dict[str, Any] = {
    "image": {"image_id": 1, "file_name": "sa_1.jpg", "width": 8, "height": 6},
    "annotations": [{"id": 3, "bbox": [1, 1, 2, 2], "area": 4, "segmentation": RLE}],
}
LABELME: dict[str, Any] = {
    "version": "5.5.0",
    "flags": {},
    "shapes": [
        {
            "label": label,
            "points": points,
            "group_id": group,
            "shape_type": kind,
            "flags": {},
            "mask": MASK if kind == "mask" else None,
        }
        for label, points, group, kind in (
            ("cat", [[1, 1], [5, 1], [5, 4]], None, "polygon"),
            ("cat", [[1, 1], [5, 4]], 1, "rectangle"),
            ("cat", [[3, 3], [3, 5]], 1, "circle"),
            ("dog", [[1, 1], [2, 2]], None, "line"),
            ("dog", [[1, 1], [3, 3]], None, "mask"),
        )
    ],
    "imagePath": "..\\file.jpg",
    "imageData": None,
    "imageHeight": 6,
    "imageWidth": 8,
}
TRUTH = parse_ground_truth(COCO, "truth.json")


def read_strictly(path: Path) -> None:
    """As `ovsam evaluate` does before its first photo."""
    annotations = read_annotations(path)
    annotations.check_masks(annotations.photos)
    content: Any = read_json(path)
    assert len(annotations.photos) == len(content["images"])
    classes = len(annotations.categories) + len(annotations.headings)
    assert classes == len(content["categories"])
    assert len(annotations.instances) + annotations.crowds == len(content["annotations"])
    for photo in annotations.photos:
        for instance in annotations.by_photo.get(photo.id, ()):
            assert instance.mask(photo.size_hw).shape == photo.size_hw
    assert annotations.fingerprint


def read_with_crowds_as_objects(path: Path) -> None:
    """As with `--crowds objects`."""
    annotations = read_annotations(path, "objects")
    content: Any = read_json(path)
    assert annotations.crowds == 0
    assert len(annotations.instances) == len(content["annotations"])


def read_rows(path: Path) -> None:
    """As `ovsam evaluate-detections` does before its first photo."""
    truth = read_ground_truth(path)
    content: Any = read_json(path)
    assert len(ground_truth_rows(truth, truth.photos)) == len(content["annotations"])


def read_leniently(path: Path) -> None:
    """As training and `ovsam data check` do: what is wrong is counted."""
    problems: list[OvsamError] = []
    content: Any = read_json(path)
    found = collect_annotations(content, str(path), problems.append)
    for error in problems:
        assert_one_sentence(error, path)
    rows = sum(len(content[key]) for key in ("images", "categories", "annotations"))
    kept = len(found.photos) + len(found.categories) + len(found.headings)
    kept += len(found.instances) + found.crowds
    lost = [error for error in problems if "repeats the name" not in str(error)]
    assert kept + len(lost) == rows


def read_results(path: Path) -> None:
    found = read_detections(path, TRUTH).by_photo
    content: Any = read_json(path)
    assert sum(map(len, found.values())) == len(content)


def read_sa1b(path: Path) -> None:
    listing = list_photos(path.parent, None, lambda error: assert_one_sentence(error, path))
    [photo] = listing.photos
    for problem in photo.problems:
        assert_one_sentence(OvsamError(problem), path)
    if len(photo.problems) == 1 and not photo.instances:
        return  # perhaps the whole file
    content: Any = read_json(path)
    assert len(photo.instances) + len(photo.problems) == len(content["annotations"])
    for instance in photo.instances:
        try:
            instance.mask(photo.size_hw or (6, 8))
        except OvsamError as error:
            assert f"Annotation {instance.id}: " in str(error)


def read_labelme_folder(path: Path) -> None:
    """What is wrong is told, and what is right is kept, or counted as ignored."""
    problems: list[OvsamError] = []
    listing = list_photos(path.parent, None, problems.append)
    for error in problems:
        assert_one_sentence(error, path)
    if listing.layout != "LabelMe":
        return  # the file does not say so any more, and its problems are those of SA-1B's
    content: Any = read_json(path)
    for photo in listing.photos:
        for instance in photo.instances:
            assert instance.mask(photo.size_hw or (6, 8)).shape == (photo.size_hw or (6, 8))
            assert instance.category in {category.name for category in listing.categories}
    if isinstance(content.get("shapes"), list) and len(listing.photos) and not problems:
        grouped = [s.get("group_id") for s in content["shapes"] if s.get("group_id") is not None]
        kept = sum(len(photo.instances) for photo in listing.photos) + len(grouped)
        left = sum(n for what, n in listing.ignored.items() if what.startswith("shapes"))
        assert kept + left >= len(content["shapes"])


def read_names(path: Path) -> None:
    vocabulary = load_vocabulary(path)
    content: Any = read_json(path)
    assert len(vocabulary) + len(vocabulary.notes) == len(content["categories"])
    assert vocabulary.fingerprint
    "".join(text for texts in vocabulary.synonyms for text in texts).encode()


def read_report(path: Path) -> None:
    """As `ovsam pictures` does."""
    answers = read_answers(path)
    check_sources(answers, path.parent / "none.json")
    assert answers.label
    found = choose([answers, answers], {1: 1, 2: 2, 10: 1, 11: 2}, 2)
    assert {key for case in found for key in case.annotation_ids} <= set(answers.outcomes)
    for one in answers.outcomes.values():
        assert 0 <= one["iou"] <= 1 and 0 <= one["score"] <= 1


OUTCOME = {"area": 9.5, "iou": 0.5, "boundary_iou": 0.25, "rank": 0, "score": 0.75}
NAMED = {"category": "cat", "name": "cat"}
REPORT: dict[str, Any] = {
    "iou": 0.5,
    "by_novelty": {"base": {"iou": 0.5, "instances": 2}},
    "by_class": {"cat": 0.5, "person": 0.25},
    "instances": 2,
    "novel": ["cat"],
    "not_counted": {"crowd_regions": 3},
    "prompts": "box",
    "zoom": False,
    "photos": 2,
    "outcomes": [{"annotation_id": number, **NAMED, **OUTCOME} for number in (10, 11)],
    "asked": {
        "annotations": {"name": "truth.json", "sha256": None},
        "model": {"name": "lite", "sha256": None},
        "vocabulary": {"name": "coco-ov", "sha256": None},
        "limit": None,
        "crowds": "left-out",
    },
}
READERS: dict[str, tuple[Callable[[Path], None], Any]] = {
    "report": (read_report, REPORT),
    "coco, with crowds": (read_with_crowds_as_objects, COCO),
    "coco": (read_strictly, COCO),
    "lvis": (read_strictly, LVIS),
    "coco, with ids": (read_rows, COCO),
    "lvis, with ids": (read_rows, LVIS),
    "coco, leniently": (read_leniently, COCO),
    "lvis, leniently": (read_leniently, LVIS),
    "results": (read_results, RESULTS),
    "sa-1b": (read_sa1b, SA1B),
    "labelme": (read_labelme_folder, LABELME),
    "names of coco": (read_names, COCO),
    "names of lvis": (read_names, LVIS),
}


VOCABULARIES = {
    "names.txt": "# kinds\ncat, puss\n!dog\na photo of a {}.\ncoffee mug\n",
    "names.csv": 'name,synonym\ncat,puss\n"mug, blue",cup\n',
    "names.json": json.dumps(["cat", {"name": "coffee_mug", "synonyms": ["mug"]}, "dog"]),
}


def assert_one_sentence(error: OvsamError, path: Path) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert path.name in text
    assert len(text.replace(str(path), "")) < 1000, "whatever the file holds"
    text.encode()  # can be shown


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file.json"
    path.write_bytes(content)
    (folder / "file.jpg").touch()  # the photo of SA-1B's layout
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


@pytest.mark.parametrize("reader", READERS)
def test_the_good_file_is_read(reader: str, folder: Path) -> None:
    read, good = READERS[reader]
    read(write(folder, json.dumps(good).encode()))


HUGE = 10**400
BAD_ANNOTATION: list[tuple[dict[str, Any], str]] = [
    ({"segmentation": [[1, 1, 5, 5]]}, r"at least 3 points \(6 numbers\), got \[1, 1, 5, 5\]"),
    ({"segmentation": [[1, 1, 5, 5, 2, float("nan")]]}, "polygon must lie on its photo"),
    ({"segmentation": [[1, 1, 5, 5, 2, HUGE]]}, "flat list of numbers"),
    ({"segmentation": [[0, 0, 10**6, 0, 0, 9]]}, "polygon must lie on its photo of 8 x 6 pixels"),
    ({"segmentation": []}, r"must be a list of polygons or an RLE, got (None|\[\])"),
    ({"segmentation": None}, "must be a list of polygons or an RLE, got None"),
    ({"segmentation": {"size": [8, 6], "counts": [48]}}, r"photo's size \[6, 8\].*got \[8, 6\]"),
    ({"segmentation": {"size": [6, 8], "counts": [40]}}, "which fill 40"),
    ({"segmentation": {"size": [6, 8], "counts": "\ud800"}}, "not COCO's compressed text"),
    ({"bbox": [1, 2, float("nan"), 4]}, r"four numbers .* got \[1, 2, nan, 4\]"),
    ({"bbox": [1, 2, HUGE, 4]}, "four numbers"),
    ({"bbox": [20, 2, 3, 4]}, r"bbox \[20, 2, 3, 4\] .* outside of its photo of 8 x 6 pixels"),
    ({"bbox": [-9, 2, 3, 4]}, "outside of its photo of 8 x 6 pixels"),
    ({"area": float("nan")}, "area of 0 or more, got nan"),
    ({"area": float("inf")}, "area of 0 or more, got inf"),
    ({"area": HUGE}, "area of 0 or more, got 1000"),
    ({"iscrowd": "no"}, "0 or 1 as 'iscrowd', got 'no'"),
    ({"iscrowd": float("nan")}, "0 or 1 as 'iscrowd', got nan"),
    ({"image_id": 5}, "of photo 5, which is not listed"),
    ({"category_id": 5}, "category 5, which is not listed"),
    ({"category_id": 2**63}, "whole number as 'category_id'"),
    ({"iscrowd": 1, "category_id": 5}, "category 5, which is not listed"),
    ({"iscrowd": 1, "area": "much"}, "area of 0 or more, got 'much'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ANNOTATION)
def test_a_bad_annotation_is_named(folder: Path, change: dict[str, Any], message: str) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"][1] |= change
    path = write(folder, json.dumps(content).encode())
    for read in (read_strictly, read_rows):
        with pytest.raises(OvsamError, match=message) as caught:
            read(path)
        assert_one_sentence(caught.value, path)
        assert "11" in str(caught.value) or "annotations[1]" in str(caught.value)


def test_repeated_ids_are_named(folder: Path) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"][1]["id"] = 10
    path = write(folder, json.dumps(content).encode())
    with pytest.raises(OvsamError, match=r"annotations\[1\] of .*file\.json' repeats the id 10"):
        read_strictly(path)
    problems: list[OvsamError] = []
    assert len(collect_annotations(content, "file.json", problems.append).instances) == 1
    assert [str(p) for p in problems] == ["annotations[1] of 'file.json' repeats the id 10."]


def test_repeated_ids_of_regions_are_named() -> None:
    rows = [{"id": 1, "bbox": [0, 0, 4, 4]}, {"id": 1, "bbox": [1, 0, 4, 4]}]
    problems: list[OvsamError] = []
    assert len(parse_sa1b({"annotations": rows}, "sa_1.json", problems.append)[1]) == 1
    assert [str(p) for p in problems] == ["annotations[1] of 'sa_1.json' repeats the id 1."]


def test_a_repeated_name_is_named_and_one_class(folder: Path) -> None:
    content = copy.deepcopy(COCO)
    content["categories"][1]["name"] = "cat"
    content["annotations"][1]["category_id"] = 9
    path = write(folder, json.dumps(content).encode())
    message = r"categories\[1\] \(id 9\) of .*file\.json' repeats the name 'cat' of the category 7"
    for read in (read_strictly, read_rows):
        with pytest.raises(OvsamError, match=message) as caught:
            read(path)
        assert_one_sentence(caught.value, path)
    problems: list[OvsamError] = []
    found = collect_annotations(content, "file.json", problems.append)
    assert [one.category for one in found.instances] == ["cat", "cat"]
    assert len(problems) == 1


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "val/../../a.png", "..\\a.png", "C:\\a.png", "%2e%2e/a.png"]
)
def test_a_photo_outside_of_the_folder_is_refused(folder: Path, name: str) -> None:
    content = copy.deepcopy(COCO)
    content["images"][1]["file_name"] = name
    path = write(folder, json.dumps(content).encode())
    message = r"images\[1\] \(id 2\) of .* within the folder .* got "
    with pytest.raises(OvsamError, match=message + re.escape(repr(name))):
        read_strictly(path)


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    path = write(folder, b"\xef\xbb\xbf" + json.dumps(COCO).encode())
    assert len(read_annotations(path).photos) == 2


def test_a_photo_too_large_to_be_drawn(folder: Path) -> None:
    content = copy.deepcopy(COCO)
    content["images"][0] |= {"width": DEFAULT_MAX_PIXELS, "height": 2}
    path = write(folder, json.dumps(content).encode())
    with pytest.raises(OvsamError, match=r"images\[0\] \(id 1\) of .* 134,217,728 pixels at most"):
        read_strictly(path)


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000, "\ud800.jpg"])
def test_a_photo_of_no_name_is_missing(folder: Path, name: str) -> None:
    from ovsam.evaluate.photos import chosen_photos

    content = copy.deepcopy(COCO)
    content["images"][0]["file_name"] = name
    annotations = read_annotations(write(folder, json.dumps(content).encode()))
    with pytest.raises(OvsamError, match="1 of 1 photos are missing"):
        chosen_photos(annotations, folder, None)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a JSON document."""
    if path:
        yield path
    children = content.items() if isinstance(content, dict) else enumerate(content)
    for key, child in children:
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))
        else:
            yield (*path, key)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), HUGE, 0.5, 1e308, -1e-320),
        *(
            float("nan"),
            float("inf"),
            -float("inf"),
            "",
            " ",
            "7",
            "nan",
            "a\0b",
            "\ud800",
            "é" * 99,
        ),
        *("x\ny", "_or_", ",", "!", [], {}, [[]], [{}], [None], {"": 0}, [0] * 6, [0.5] * 4),
        *([1e9] * 8, {"size": [6, 8], "counts": "o"}, {"size": [6, 8], "counts": [HUGE]}),
        *({"size": [2**31, 2**31], "counts": [2**62]}, {"size": HUGE, "counts": 0}, nested(90)),
        *({"size": [6, 8], "counts": [2**63, 2**63, 48]}, {"size": [6, 8], "counts": [0] * 999}),
        *({"size": [6, 8], "counts": "PPPPPPP8" * 999}, {"size": [6, 8], "counts": "0" * 10**5}),
        *([[0, 0, *[99, 99, 0, 0] * 9999]], [[0, 0, 1, 1, 1, 0]] * 10_001, nested(200)),
        *("x" * 10**5, ["x"] * 10**4, {"x" * 10**4: 1}, "left-out", "objects"),
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, good: Any) -> bytes:
    """A good file with up to three values changed, taken away or repeated, and perhaps cut."""
    # Through JSON nothing is the same object twice, of which one change would be thousands.
    content = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        *parents, key = draw(st.sampled_from(list(places(content)) or [()])) or [None]
        if key is None:
            break
        place = content
        for parent in parents:
            place = place[parent]
        match draw(st.sampled_from(["change", "take", "repeat"])):
            case "change":
                place[key] = json.loads(json.dumps(draw(ODD)))
            case "take":
                del place[key]
            case "repeat" if isinstance(place, list):
                place.insert(key, copy.deepcopy(place[key]))
    text = json.dumps(content).encode()
    if draw(st.integers(0, 9)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at + 1 :]
    return text


def fuzzed(function: Callable[..., None]) -> Any:
    """Every day the same files; how fast a machine is does not matter."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    limits = settings(
        max_examples=examples(75),
        derandomize=True,
        deadline=None,
        suppress_health_check=checks,
    )
    return pytest.mark.fuzz(limits(function))


@pytest.mark.parametrize("reader", READERS)
@fuzzed
@given(data=st.data())
def test_any_file_is_read_whole_or_refused(reader: str, folder: Path, data: st.DataObject) -> None:
    read, good = READERS[reader]
    path = write(folder, data.draw(spoilt(good)))
    try:
        read(path)
    except OvsamError as error:
        assert_one_sentence(error, path)


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """A good file with some of its bytes replaced, taken away or added, once or twice."""
    place = st.integers(0, len(good))

    def spoil(cuts: list[tuple[int, int, bytes]]) -> bytes:
        content = good
        for start, length, new in cuts:
            content = content[:start] + new + content[start + length :]
        return content

    cut = st.tuples(place, st.sampled_from([0, 1, 2, len(good)]), st.binary(max_size=3))
    return st.lists(cut, min_size=1, max_size=2).map(spoil)


@pytest.mark.parametrize("name", VOCABULARIES)
@fuzzed
@given(data=st.data())
def test_any_list_of_names_is_read_or_refused(name: str, folder: Path, data: st.DataObject) -> None:
    path = folder / "names" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(damaged(VOCABULARIES[name].encode())))
    try:
        vocabulary = load_vocabulary(path)
    except OvsamError as error:
        assert_one_sentence(error, path)
    else:
        assert len(vocabulary) and all(map(str.strip, vocabulary.classes))


@pytest.fixture(scope="session")
def good_label_map() -> bytes:
    good = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) // 16).save(good, "png")
    return good.getvalue()


def listed_with_mask(folder: Path, mask: bytes) -> ListedPhoto:
    """A photo of 8 x 6 pixels beside a mask; all problems are sentences about the mask."""
    root = folder / "label maps"
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(root / "images/a.png")
    path = root / "masks/a.png"
    path.write_bytes(mask)
    [photo] = list_photos(root, None, lambda error: pytest.fail(str(error))).photos
    for problem in photo.problems:
        assert_one_sentence(OvsamError(problem), path)
    return photo


def test_a_label_map_with_any_byte_missing_is_a_problem(
    folder: Path, good_label_map: bytes
) -> None:
    for place in range(len(good_label_map)):
        spoilt = good_label_map[:place] + good_label_map[place + 1 :]
        assert len(listed_with_mask(folder, spoilt).problems) == 1, place


@fuzzed
@given(data=st.data())
def test_any_label_map_is_read_or_is_a_problem(
    folder: Path, good_label_map: bytes, data: st.DataObject
) -> None:
    photo = listed_with_mask(folder, data.draw(damaged(good_label_map)))
    assert photo.problems or [one.mask((6, 8)).sum() for one in photo.instances] == [16, 16]


def assert_told(errors: list[OvsamError], folder: Path) -> None:
    for error in errors:
        text = str(error)
        assert "\n" not in text and text.endswith(".") and str(folder) in text
        text.encode()


DATA_YAML = b"path: .\ntrain: images\nval: [../images, list.txt]\nnc: 2\nnames: {0: cat, 1: mug}\n"
LABELS = b"0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.9 0.1 0.9 0.9\n\n1 0 0 1 0 1 1 0 1\n"


@pytest.mark.parametrize("file", ["data.yaml", "labels/a.txt", "list.txt"])
@fuzzed
@given(data=st.data())
def test_any_file_of_yolo_is_read_or_told(folder: Path, file: str, data: st.DataObject) -> None:
    root = folder.with_name("yolo")
    for inner in ("images", "labels"):
        (root / inner).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(root / "images/a.png")
    good = {"data.yaml": DATA_YAML, "labels/a.txt": LABELS, "list.txt": b"./images/a.png\n"}
    for name, content in good.items():
        (root / name).write_bytes(content)
    (root / file).write_bytes(data.draw(damaged(good[file])))
    errors: list[OvsamError] = []
    try:
        listing = list_photos(root / "data.yaml", None, errors.append)
        vocabulary = load_vocabulary(root / "data.yaml")
    except OvsamError as error:
        assert_told([error], root)
        return
    assert_told(errors, root)
    assert len(vocabulary) == len(listing.categories)
    assert all(photo.path.resolve().is_relative_to(folder.parent) for photo in listing.photos)
    for photo in listing.photos:
        for one in photo.instances:
            if one.segmentation is not None:
                assert one.mask((6, 8)).shape == (6, 8)
    if file == "labels/a.txt" and len(listing.photos):
        text = (root / file).read_bytes()
        if not any("cannot be read" in str(error) for error in errors):
            lines = [line for line in text.decode("utf-8-sig").splitlines() if line.strip()]
            assert len(listing.photos[0].instances) + len(errors) == len(lines)


NAMES = st.lists(
    st.sampled_from(
        ["a", ".png", "..", ".", "/", "\\", "%2e", "%5c", "%", "C:", "\0", "\ud800", "é"]
    ),
    max_size=6,
).map("".join)


@fuzzed
@given(name=NAMES)
def test_any_name_of_a_photo_is_within_its_folder_or_refused(folder: Path, name: str) -> None:
    inner = folder.with_name("outer") / "inner"
    inner.mkdir(parents=True, exist_ok=True)
    for place in (inner, inner.parent):
        Image.new("RGB", (8, 6)).save(place / "a.png")
    content = copy.deepcopy(COCO)
    content["images"][0]["file_name"] = name
    path = write(folder, json.dumps(content).encode())
    errors: list[OvsamError] = []
    listing = list_photos(path, inner, errors.append)
    for error in errors:
        assert_one_sentence(error, path)
    for photo in listing.photos.listed:
        if "\0" not in str(photo.path) and "\ud800" not in str(photo.path):
            assert photo.path.resolve().is_relative_to(inner.resolve())
    labelme = folder.with_name("shapes") / "b.json"
    labelme.parent.mkdir(exist_ok=True)
    labelme.write_text(json.dumps(LABELME | {"imagePath": name}))
    for photo in list_photos(labelme.parent, inner, errors.append).photos.listed:
        if "\0" not in str(photo.path) and "\ud800" not in str(photo.path):
            places = (inner.resolve(), labelme.parent.resolve())
            assert any(photo.path.resolve().is_relative_to(place) for place in places)


@fuzzed
@given(data=st.data())
def test_any_report_is_a_row_of_tables_or_a_gap(folder: Path, data: st.DataObject) -> None:
    where = Folders(folder / "run", folder / "data")
    path = where.report("plain/box")
    path.parent.mkdir(parents=True, exist_ok=True)
    where.data.mkdir(exist_ok=True)
    (folder / "set.toml").write_text(SET)
    path.write_bytes(data.draw(spoilt(REPORT)))
    tables = read_table_set(str(folder / "set.toml"))
    results = Results(Reports(tables, where))
    [table] = tables.tables
    filled = results.fill(replace(table, columns=table.columns[:2], rows=ROWS, plot=()))
    for cell in filled.rows[0].cells:
        assert cell.value is None or math.isfinite(cell.value)
        assert (cell.value is None) == (cell.gap is not None)
    for text in (*filled.rows[0].gaps, *filled.rows[0].sources):
        assert "\n" not in text and len(text.replace(str(path), "")) < 2000
    for column in table.columns[:2]:
        pairs(results, replace(table, rows=ROWS, columns=table.columns[:2], plot=()), column)
    results.reports.unusable()


ROWS = (
    Row(method="one", reports={"coco": "plain/box"}, paper=(50.0, 40.0)),
    Row(method="other", reports={"coco": "plain/box"}, paper=(60.0, 30.0)),
)


SETTINGS = {"prompts": "box", "zoom": False}


@pytest.fixture(scope="session")
def good_journal(folder: Path) -> bytes:
    with Journal(folder / "good.jsonl", SETTINGS, Outcome) as journal:
        for photo in range(3):
            journal.add(photo, [Outcome("cat", 9.5, 0.5, 0.25, 0, 0.75, "cat", 10)], 0.5)
    return journal.path.read_bytes()


@fuzzed
@given(data=st.data())
def test_any_journal_is_read_whole_or_refused_and_left_alone(
    folder: Path, good_journal: bytes, data: st.DataObject
) -> None:
    path = folder / "run.jsonl"
    spoilt_bytes = data.draw(damaged(good_journal))
    path.write_bytes(spoilt_bytes)
    try:
        with Journal(path, SETTINGS, Outcome) as journal:
            found = journal.rows
    except OvsamError as error:
        assert_one_sentence(error, path)
        assert path.read_bytes() == spoilt_bytes
    else:
        assert spoilt_bytes.startswith(path.read_bytes())
        assert len(found) >= spoilt_bytes.count(b"\n") - 2, "all but the last line"
        for row in (row for kept in found.values() for row in kept):
            assert 0 <= row.iou <= 1 and 0 <= row.score <= 1 and row.rank >= -1


@pytest.fixture(scope="session")
def good_masks(folder: Path) -> bytes:
    with Journal(folder / "masks.jsonl", SETTINGS, MaskResult) as journal:
        for photo in range(3):
            journal.add(photo, [{**MASK_RESULT, "image_id": photo}], 0.5)
    return journal.path.read_bytes()


MASK_RESULT: MaskResult = {"image_id": 1, "category_id": 7, "segmentation": RLE_TEXT, "score": 0.5}


@fuzzed
@given(data=st.data())
def test_any_journal_of_masks_is_read_whole_or_refused(
    folder: Path, good_masks: bytes, data: st.DataObject
) -> None:
    lines = good_masks.splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = data.draw(spoilt(json.loads(lines[number]))).replace(b"\n", b"") + b"\n"
    path = folder / "run.jsonl"
    path.write_bytes(b"".join(lines))
    try:
        with Journal(path, SETTINGS, MaskResult) as journal:
            found = journal.rows
    except OvsamError as error:
        assert_one_sentence(error, path)
        assert path.read_bytes() == b"".join(lines)
    else:
        for row in (row for kept in found.values() for row in kept):
            assert 0 <= row["score"] <= 1
            height, width = row["segmentation"]["size"]
            assert 0 <= rle_area(row["segmentation"]) <= height * width


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"null", b"[" * 10**5, b"9" * 5000, b'"\\ud800"', b"\0" * 9]
)
def test_a_file_that_is_none_of_it(reader: str, folder: Path, content: bytes) -> None:
    path = write(folder, content)
    if reader in ("sa-1b", "labelme"):
        [photo] = list_photos(folder, None, print).photos
        assert len(photo.problems) == 1
        assert_one_sentence(OvsamError(photo.problems[0]), path)
        return
    with pytest.raises(OvsamError) as caught:
        READERS[reader][0](path)
    assert_one_sentence(caught.value, path)
