"""Models side by side, as the paper's Figure 4: photo, annotation, each model's mask and name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ovsam.errors import OvsamError
from ovsam.evaluate.instances import ask, check_photos, read_annotated_photo
from ovsam.evaluate.provenance import fingerprint
from ovsam.files import write_atomically
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.geometry import clip_box_xyxy, mask_iou
from ovsam.images.draw import draw_mask, draw_prompt, object_colour
from ovsam.paper.cases import Answers, Case
from ovsam.predictor.predictor import Predictor
from ovsam.structures import Prompt

CELL = 300  # pixels
CONTEXT = 2.0  # how much wider than its object a cell is
SMALLEST = 96  # photo pixels that a cell shows at least
SAME_IOU = 0.02  # so far apart, on average, may the same model be on another machine
_CAPTION, _HEADING, _GAP = 22, 30, 6
_GROUND, _INK, _RIGHT, _WRONG = (255, 255, 255), (28, 28, 31), (0, 110, 80), (190, 60, 0)
_REPORTS = "reports"  # the text of a PNG that holds their digests
_LINE = 2  # of outlines, in pixels


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model said of an object.

    Attributes:
        prompt: how it was asked, photo pixels.
        mask: `(H, W)`.
        iou: with the annotation.
        name: its first name.
        score: of that name.
        right: whether it is the annotation's.
    """

    prompt: Prompt
    mask: NDArray[np.bool_]
    iou: float
    name: str
    score: float
    right: bool


def check_shown(annotations: Annotations, chosen: Sequence[int], images_dir: Path) -> None:
    """Refuse to begin where a photo or a mask of some objects cannot be used.

    Raises:
        AnnotationError: a photo is missing or of another size, or a mask is malformed.
        PhotoError: a photo is none.
    """
    wanted = set(chosen)
    ids = {one.photo_id for one in annotations.instances if one.id in wanted}
    shown = [photo for photo in annotations.photos if photo.id in ids]
    check_photos(annotations.source, shown, images_dir)
    annotations.check_masks(shown)


def answer_again(
    predictor: Predictor,
    answers: Answers,
    annotations: Annotations,
    chosen: Sequence[int],
    images_dir: Path,
    *,
    progress: Callable[[], None],
) -> dict[int, Answer]:
    """Ask a model about some objects as its report did: answers by annotation id.

    Args:
        predictor: the report's model, with the report's vocabulary.
        answers: the report.
        annotations: what is right.
        chosen: annotation ids.
        images_dir: the folder of the photos.
        progress: called after each object.

    Raises:
        AnnotationError: a photo is missing or of another size.
        OvsamError: the masks are not those that the report is about.
    """
    photos = {photo.id: photo for photo in annotations.photos}
    instances = {one.id: one for one in annotations.instances if one.id in set(chosen)}
    shown = [photos[one.photo_id] for one in instances.values()]
    photos |= {photo.id: photo for photo in check_photos(annotations.source, shown, images_dir)}
    found = {}
    for key in chosen:
        instance = instances[key]
        photo = photos[instance.photo_id]
        mask = instance.mask(photo.size_hw)
        pixels = read_annotated_photo(photo, images_dir)
        kind, zoom = answers.content["prompts"], answers.content["zoom"]
        name = answers.outcomes[key]["category"]
        [(prompt, prediction)] = ask(predictor, pixels, [(instance, name)], [mask], kind, zoom)
        found[key] = Answer(
            prompt=prompt,
            mask=prediction.mask,
            iou=mask_iou(prediction.mask, mask),
            name=prediction.name,
            score=prediction.labels[0][0].score,
            right=prediction.name == name,
        )
        progress()
    apart = [abs(one.iou - answers.outcomes[key]["iou"]) for key, one in found.items()]
    if np.mean(apart) > SAME_IOU:
        model = answers.content["asked"]["model"]["name"]
        raise OvsamError(
            f"'{answers.path}' was not measured with '{model}' as it is now: the IoU of the "
            f"objects to draw differs by {np.mean(apart):.2f} on average. Make it again."
        )
    return found


def draw_side_by_side(
    cases: Sequence[Case],
    annotations: Annotations,
    images_dir: Path,
    answers: Sequence[tuple[str, Mapping[int, Answer]]],
    names: Mapping[int, str],
) -> NDArray[np.uint8]:
    """Draw a row for each object: the annotation, then each model's mask and name.

    Args:
        cases: what to draw, under a heading each.
        annotations: what is right.
        images_dir: the folder of the photos.
        answers: each model's label and its answers by annotation id.
        names: the right names by annotation id.

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
            row = _Row(photos[instance.photo_id], instance, images_dir)
            cells = [(row.draw(row.mask, None), names[key], _INK)]
            for _, found in answers:
                one = found[key]
                said = f"{one.name} {one.score:.2f}   IoU {one.iou:.2f}"
                colour = _RIGHT if one.right else _WRONG
                cells.append((row.draw(one.mask, one.prompt), said, colour))
            for column, (picture, said, colour) in enumerate(cells):
                x = column * (CELL + _GAP)
                sheet.paste(Image.fromarray(picture), (x, y))
                _write(draw, (x, y + CELL + 3), said, colour, 13)
            y += CELL + _CAPTION
    return np.asarray(sheet).copy()


class _Row:
    """The square around an object, seen at the size of a cell."""

    def __init__(self, photo: Photo, instance: Instance, images_dir: Path) -> None:
        self.pixels = read_annotated_photo(photo, images_dir)
        self.mask = instance.mask(photo.size_hw)
        x0, y0, x1, y1 = clip_box_xyxy(instance.box_xyxy, photo.size_hw).tolist()
        height, width = photo.size_hw
        side = max(SMALLEST, CONTEXT * max(x1 - x0, y1 - y0))
        side = min(side, max(height, width))
        # Inside the photo as far as it is large enough.
        self.x = _start((x0 + x1) / 2, side, width)
        self.y = _start((y0 + y1) / 2, side, height)
        self.scale = CELL / side

    def draw(self, mask: NDArray[np.bool_], prompt: Prompt | None) -> NDArray[np.uint8]:
        """The cell `(CELL, CELL, 3)` with a mask `(H, W)` and a prompt, both in photo pixels."""
        # Pixel centres: where the cell's centre of pixel 0 lies in the photo, and so on.
        matrix = np.array(
            [
                [self.scale, 0, (0.5 - self.x) * self.scale - 0.5],
                [0, self.scale, (0.5 - self.y) * self.scale - 0.5],
            ]
        )
        pixels, soft = self.pixels, mask.astype(np.float32)
        if self.scale < 1:  # else what is thin falls between the samples
            blur = 0.4 / self.scale
            pixels = cv2.GaussianBlur(pixels, (0, 0), blur).astype(np.uint8)
            soft = cv2.GaussianBlur(soft, (0, 0), blur).astype(np.float32)
        canvas = cv2.warpAffine(
            pixels, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR, borderValue=(235, 235, 235)
        ).astype(np.uint8)
        shown = cv2.warpAffine(soft, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR) > 0.5
        draw_mask(canvas, shown, object_colour(0), _LINE)
        if prompt is not None:
            draw_prompt(canvas, self._moved(prompt), object_colour(1), _LINE)
        return canvas

    def _moved(self, prompt: Prompt) -> Prompt:
        """A prompt in the cell's pixels, of its box what lies in the photo."""
        prompt = prompt.clipped((self.pixels.shape[0], self.pixels.shape[1]))
        corner = np.array([self.x, self.y])
        box = prompt.box_xyxy
        return Prompt(
            points_xy=(prompt.points_xy - corner) * self.scale,
            point_labels=prompt.point_labels,
            box_xyxy=None if box is None else (box - np.tile(corner, 2)) * self.scale,
        )


def _start(centre: float, side: float, length: int) -> float:
    """Where a window begins along one axis: in the photo, or around all of it."""
    if side >= length:
        return (length - side) / 2
    return min(max(centre - side / 2, 0.0), length - side)


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
    said = PngInfo()
    said.add_text(_REPORTS, _digests(reports))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=said)
    write_atomically(path, buffer.getvalue())


def read_picture(path: Path, reports: Sequence[Path]) -> tuple[bytes | None, str]:
    """What `write_picture` wrote for these very reports; None and the reason where it did not."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            said = picture.info.get(_REPORTS)
    except FileNotFoundError:
        return None, f"{path} is missing"
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return None, f"{path} cannot be read ({error})"
    if said != _digests(reports):
        return None, f"{path} was drawn from other reports; make it again"
    return content, ""


def _digests(reports: Sequence[Path]) -> str:
    return " ".join(fingerprint(path) or "-" for path in reports)
