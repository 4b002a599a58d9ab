"""Models side by side, as the paper's Figure 4: photo, annotation, each model's mask and name."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ovsam.errors import OvsamError
from ovsam.evaluate.answers import answer_instances
from ovsam.evaluate.objects import NamedInstance
from ovsam.evaluate.photos import check_photos, read_annotated_photo
from ovsam.files import sha256_of, write_atomically
from ovsam.formats.annotations import Annotations, Photo
from ovsam.geometry import mask_iou
from ovsam.jobs.run import Job, Progress, photo_by_photo
from ovsam.paper.cases import Answers, Case
from ovsam.paper.close_up import CELL, CloseUp
from ovsam.segmenter import Segmenter
from ovsam.structures import Prompt

SAME_IOU = 0.02  # so far apart, on average, may the same model be on another machine
_CAPTION, _HEADING, _GAP = 22, 30, 6
_GROUND, _INK, _CORRECT, _WRONG = (255, 255, 255), (28, 28, 31), (0, 110, 80), (190, 60, 0)
_REPORTS = "reports"  # the text of a PNG that holds their digests


@dataclass(frozen=True, eq=False)
class DrawnAnswer:
    """A model's mask and name for an object.

    Attributes:
        annotation_id: the object.
        prompt: how it was pointed at, photo pixels.
        mask: `(H, W)`.
        iou: with the annotation.
        name: its first name.
        score: of that name.
        correct: whether it is the annotation's.
    """

    annotation_id: int
    prompt: Prompt
    mask: NDArray[np.bool_]
    iou: float
    name: str
    score: float
    correct: bool


def check_shown(annotations: Annotations, chosen: Sequence[int], images_dir: Path) -> None:
    """Refuse to begin where a photo or a mask of some objects cannot be used.

    Raises:
        AnnotationError: a photo is missing or of another size, or a mask is malformed.
        PhotoError: a photo is none.
    """
    ids = {one.photo_id for one in annotations.instances if one.id in set(chosen)}
    shown = [photo for photo in annotations.photos if photo.id in ids]
    check_photos(annotations.source, shown, images_dir)
    annotations.check_masks(shown)


def answer_again(
    predictor: Segmenter,
    answers: Answers,
    annotations: Annotations,
    chosen: Sequence[int],
    images_dir: Path,
    *,
    progress: Progress | None = None,
) -> dict[int, DrawnAnswer]:
    """Answer some objects as a report's model did: answers by annotation id.

    Args:
        predictor: the report's model, with the report's vocabulary.
        answers: the report.
        annotations: the ground truth.
        chosen: annotation ids.
        images_dir: the folder of the photos.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size.
        OvsamError: the masks are not those that the report is about.
    """
    by_photo: dict[int, list[NamedInstance]] = {}
    for instance in annotations.instances:
        if instance.id in set(chosen):
            name = answers.outcomes[instance.id]["category"]
            by_photo.setdefault(instance.photo_id, []).append((instance, name))
    shown = [photo for photo in annotations.photos if photo.id in by_photo]
    done = photo_by_photo(
        predictor,
        partial(_answer_photo, answers=answers, images_dir=images_dir),
        {
            photo.id: (photo, by_photo[photo.id])
            for photo in check_photos(annotations.source, shown, images_dir)
        },
        job=Job(progress=progress),
    )
    found = {one.annotation_id: one for one in done.rows}
    apart = [abs(one.iou - answers.outcomes[key]["iou"]) for key, one in found.items()]
    if np.mean(apart) > SAME_IOU:
        model = answers.content["provenance"]["model"]["name"]
        raise OvsamError(
            f"'{answers.path}' was not measured with '{model}' as it is now: the IoU of the "
            f"objects to draw differs by {np.mean(apart):.2f} on average. Make it again."
        )
    return found


def _answer_photo(
    predictor: Segmenter,
    item: tuple[Photo, Sequence[NamedInstance]],
    answers: Answers,
    images_dir: Path,
) -> list[DrawnAnswer]:
    photo, instances = item
    found = answer_instances(
        predictor,
        read_annotated_photo(photo, images_dir),
        instances,
        answers.content["prompts"],
        oracle_names=answers.oracle_names,
    )
    drawn = []
    for (instance, name), answer in zip(instances, found, strict=True):
        mask, first = answer.mask, answer.labels[0]
        drawn.append(
            DrawnAnswer(
                annotation_id=instance.id,
                prompt=answer.prompt,
                mask=mask,
                iou=mask_iou(mask, instance.mask(photo.size_hw)),
                name=first.name,
                score=first.score,
                correct=first.name == name,
            )
        )
    return drawn


def draw_side_by_side(
    cases: Sequence[Case],
    annotations: Annotations,
    images_dir: Path,
    answers: Sequence[tuple[str, Mapping[int, DrawnAnswer]]],
    names: Mapping[int, str],
) -> NDArray[np.uint8]:
    """Draw a row for each object: the annotation, then each model's mask and name.

    Args:
        cases: what to draw, under a heading each.
        annotations: the ground truth.
        images_dir: the folder of the photos.
        answers: each model's label and its answers by annotation id.
        names: the annotated names by annotation id.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    instances = {instance.id: instance for instance in annotations.instances}
    drawn = {instances[key].photo_id for case in cases for key in case.annotation_ids}
    named = [photo for photo in annotations.photos if photo.id in drawn]
    photos = {photo.id: photo for photo in check_photos(annotations.source, named, images_dir)}
    columns = 1 + len(answers)
    rows = sum(len(case.annotation_ids) for case in cases)
    height = _HEADING + len(cases) * _HEADING + rows * (CELL + _CAPTION)
    sheet = Image.new("RGB", (columns * (CELL + _GAP) - _GAP, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(["annotated", *(label for label, _ in answers)]):
        _write(draw, (column * (CELL + _GAP), 7), label, _INK, 14)
    y = _HEADING
    for case in cases:
        _write(draw, (0, y + 7), case.title, _INK, 16)
        y += _HEADING
        for key in case.annotation_ids:
            instance = instances[key]
            row = CloseUp(photos[instance.photo_id], instance, images_dir)
            cells = [(row.draw(row.mask, None), names[key], _INK)]
            for _, found in answers:
                one = found[key]
                text = f"{one.name} {one.score:.2f}   IoU {one.iou:.2f}"
                colour = _CORRECT if one.correct else _WRONG
                cells.append((row.draw(one.mask, one.prompt), text, colour))
            for column, (picture, text, colour) in enumerate(cells):
                x = column * (CELL + _GAP)
                sheet.paste(Image.fromarray(picture), (x, y))
                _write(draw, (x, y + CELL + 3), text, colour, 13)
            y += CELL + _CAPTION
    return np.asarray(sheet).copy()


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    size: int,
) -> None:
    font = ImageFont.load_default(size)
    while len(text) > 1 and font.getlength(text) > CELL:
        text = f"{text[:-2]}…"
    draw.text(at, text, fill=colour, font=font)


def write_picture(path: Path, pixels: NDArray[np.uint8], reports: Sequence[Path]) -> None:
    """Write `(H, W, 3)` RGB as PNG, with the digests of the reports that chose what is drawn.

    Raises:
        OutputError: it cannot be written.
    """
    info = PngInfo()
    info.add_text(_REPORTS, _digests(reports))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    write_atomically(path, buffer.getvalue())


def read_picture(path: Path, reports: Sequence[Path]) -> tuple[bytes | None, str]:
    """What `write_picture` wrote for these very reports; None and the reason where it did not."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            drawn_from = picture.info.get(_REPORTS)
    except FileNotFoundError:
        return None, f"{path} is missing"
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return None, f"{path} cannot be read ({error})"
    if drawn_from != _digests(reports):
        return None, f"{path} was drawn from other reports; make it again"
    return content, ""


def _digests(reports: Sequence[Path]) -> str:
    return " ".join(sha256_of(path) or "-" for path in reports)
