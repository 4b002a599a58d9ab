"""SAM's familiar interface, so that code written for `segment_anything` runs after one change.

    from segment_anything import SamPredictor, sam_model_registry    # before
    from ovsam.sam import SamPredictor, sam_model_registry           # after

It keeps state, as SAM's does; for servers and threads use `ovsam.load` and its predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ovsam.candidates import Candidates
from ovsam.errors import OvsamError, PhotoError, PromptError, quoted
from ovsam.images.frame import Frame
from ovsam.model.prompt_batch import NOT_A_POINT
from ovsam.predictor.checks import check_memory, checked_resized, warn_of_normalised
from ovsam.predictor.load import load
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage
from ovsam.structures import Names, Prompt, point_outside

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAM_SIDE = 256  # of SAM's low-resolution masks


def __getattr__(name: str) -> Any:
    if name == "SamAutomaticMaskGenerator":
        raise AttributeError(
            "ovsam.sam has no SamAutomaticMaskGenerator, only SamPredictor, which answers prompts."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _ImageEncoder(NamedTuple):
    img_size: int  # longest side of a photo as the model sees it, in pixels


class Sam:
    """What `sam_model_registry` gives: a model that `SamPredictor` wraps, with `to` and `eval`.

    Args:
        checkpoint: a model's name or the path of an ovsam checkpoint; None = `lite`.
        device: "cpu", "cuda", "mps".
    """

    mask_threshold: float = 0.0
    image_format: str = "RGB"

    def __init__(self, checkpoint: str | Path | None = None, device: str = "cpu") -> None:
        self._checkpoint = checkpoint if checkpoint is not None else "lite"
        self._device = device
        self._predictor: Predictor | None = None

    @classmethod
    def of(cls, predictor: Predictor) -> Sam:
        """Around a predictor of `ovsam.load`."""
        sam = cls(predictor.model_name, predictor.device)
        sam._predictor = predictor
        return sam

    def to(self, device: Any = "cpu") -> Sam:
        """Choose the device; the model is loaded there when it is next used."""
        if str(device) != self._device:
            self._device, self._predictor = str(device), None
        return self

    def eval(self) -> Sam:
        """Do nothing: the model never trains here."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        import torch

        return torch.device(self._device)

    @property
    def image_encoder(self) -> _ImageEncoder:
        """Its `img_size` is the longest side of a photo as the model sees it, in pixels."""
        return _ImageEncoder(self.predictor.config.image_size)

    @property
    def predictor(self) -> Predictor:
        """The predictor behind it."""
        if self._predictor is None:
            self._predictor = load(self._checkpoint, device=self._device, clean=False)
        return self._predictor


build_sam = build_sam_vit_h = build_sam_vit_l = build_sam_vit_b = Sam
sam_model_registry: Mapping[str, Any] = {
    # SAM's own names load the checkpoint they are given, or `lite` without one.
    **dict.fromkeys(("default", "vit_h", "vit_l", "vit_b", "lite"), Sam),
    "rn50x16-coco": partial(Sam, "rn50x16-coco"),
    "rn50x16-lvis": partial(Sam, "rn50x16-lvis"),
}


class ResizeLongestSide:
    """A predictor's `transform`: photos and coordinates as the model sees them.

    Args:
        target_length: the longest side of a photo afterwards, in pixels.
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A photo `(H, W, 3)`, uint8, as the predictor resizes it."""
        return self._frame(image.shape[:2]).cut(image)

    def apply_coords(self, coords: ArrayLike, original_size: Sequence[int]) -> NDArray[np.float64]:
        """Pixels `(..., 2)` of a photo of `original_size` (height, width) -> those of the model."""
        return np.asarray(coords, np.float64) * self._frame(original_size).scale_xy

    def apply_boxes(self, boxes: ArrayLike, original_size: Sequence[int]) -> NDArray[np.float64]:
        """The same for boxes `(B, 4)`."""
        corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        return self.apply_coords(corners, original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Photos `(B, 3, H, W)` of one size, float, resized by torch: not to the same digits."""
        import torch.nn.functional as F

        size = self._frame(tuple(image.shape[-2:])).content_hw
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: Sequence[int]) -> Tensor:
        """See `apply_coords`."""
        import torch

        scale = self._frame(original_size).scale_xy
        return coords.to(torch.float) * torch.tensor(scale, dtype=torch.float, device=coords.device)

    def apply_boxes_torch(self, boxes: Tensor, original_size: Sequence[int]) -> Tensor:
        """See `apply_boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Height and width of a photo whose longest side is brought to `long_side_length`."""
        return Frame.whole_photo((oldh, oldw), long_side_length).content_hw

    def _frame(self, size_hw: Sequence[int]) -> Frame:
        height, width = size_hw
        return Frame.whole_photo((height, width), self.target_length)


class _SamPrompt(Prompt):
    """A prompt as SAM's model takes it, whose points may be none.

    Whether they look like pixels of a photo was asked before they were moved.
    """

    known_labels = (NOT_A_POINT, 0, 1)

    def looks_normalised(self, size_hw: tuple[int, int]) -> bool:  # noqa: ARG002
        return False


class SamPredictor:
    """`segment_anything.SamPredictor` on an ovsam model; names come on top in `labels`.

    Attributes:
        model: what it was made of, or around the predictor that it was made of.
        transform: brings photos and coordinates to the model's size, for `set_torch_image` and
            `predict_torch`.

    Args:
        sam_model: what `sam_model_registry` gave, or a predictor of `ovsam.load`.
    """

    def __init__(self, sam_model: Sam | Predictor) -> None:
        if not isinstance(sam_model, Sam | Predictor):
            raise OvsamError(
                "SamPredictor takes what sam_model_registry or ovsam.load gave, got "
                f"{quoted(sam_model)}."
            )
        self.model = sam_model if isinstance(sam_model, Sam) else Sam.of(sam_model)
        self.transform = ResizeLongestSide(self.model.image_encoder.img_size)
        self._encoded: EncodedImage | None = None
        self._found: list[Candidates] | None = None
        self._names: list[Names] | None = None

    def set_image(self, image: NDArray[np.uint8] | Image.Image, image_format: str = "RGB") -> None:
        """Encode a photo: `(H, W, 3)`, uint8, "RGB" or "BGR", or a Pillow image as it lies."""
        if image_format not in ("RGB", "BGR"):
            raise OvsamError(f"image_format must be 'RGB' or 'BGR', got {quoted(image_format)}.")
        pixels = _photo(image)
        self.reset_image()
        self._encoded = self.model.predictor.encode(
            pixels[..., ::-1] if image_format == "BGR" and pixels.ndim == 3 else pixels
        )

    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: Sequence[int]
    ) -> None:
        """Encode a photo that `transform` has resized.

        Where the model zooms, it sees no more than was left of the photo.

        Args:
            transformed_image: `(1, 3, h, w)` RGB, 0 to 255, its longest side the model's.
            original_image_size: the photo's height and width before.
        """
        if transformed_image.ndim != 4 or len(transformed_image) != 1:
            raise PhotoError(
                "set_torch_image takes one photo of shape (1, 3, h, w), got "
                f"{tuple(transformed_image.shape)}."
            )
        height, width = original_image_size[:2]
        self.reset_image()
        pixels = transformed_image[0].detach().cpu().float().numpy()
        photo, content = checked_resized(
            pixels, (int(height), int(width)), self.model.predictor.config
        )
        self._encoded = self.model.predictor.encode(photo, content)

    def predict(
        self,
        point_coords: ArrayLike | Tensor | None = None,
        point_labels: ArrayLike | Tensor | None = None,
        box: ArrayLike | Tensor | None = None,
        mask_input: ArrayLike | Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Predict masks for one object, as SAM does, or for B at once, as SAM 2 does.

        Args:
            point_coords: `(N, 2)` or `(B, N, 2)` pixels, x and y counted from 0, as SAM has it:
                (3, 5) is the centre of the fourth pixel of the sixth row.
            point_labels: `(N,)` or `(B, N)` 1, 0, or -1 for a point that is none.
            box: `(4,)` or `(B, 4)` xyxy.
            mask_input: `(1, L, L)` or `(B, 1, L, L)` low-resolution logits of a prediction before,
                or such as SAM's, 256 x 256.
            multimask_output: three masks instead of one.
            return_logits: masks are float32 logits, positive = object, instead of bool.

        Returns:
            Masks `(M, H, W)`, scores `(M,)`, low-resolution logits `(M, L, L)`; with a B before
            each for B prompts, unless B is 1. Unlike SAM's, the three masks come best first; their
            names are in `labels`.
        """
        encoded = self._require_image()
        given = _prompts(
            points=_items(point_coords, 2),
            labels=_items(point_labels, 1),
            boxes=_items(box, 1),
            masks=_masks(mask_input),
        )
        found = self._segment(encoded, given, multimask_output)
        stacks = self._stacked(encoded, found, multimask_output, return_logits)
        if len(found) == 1:
            return stacks[0][0], stacks[1][0], stacks[2][0]
        return stacks

    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict masks for B objects, pointed at in the pixels that `transform` gives.

        Args:
            point_coords: `(B, N, 2)`.
            point_labels: `(B, N)` 1, 0, or -1 for a point that is none.
            boxes: `(B, 4)` xyxy.
            mask_input: `(B, 1, L, L)`, see `predict`.
            multimask_output: three masks instead of one, best first.
            return_logits: masks are float32 logits instead of bool.

        Returns:
            Masks `(B, M, H, W)` in the photo's own pixels, scores `(B, M)`, low-resolution logits
            `(B, M, L, L)`, on the model's device.
        """
        import torch

        encoded = self._require_image()
        for name, value, ndim in (
            ("point_coords", point_coords, 3),
            ("point_labels", point_labels, 2),
            ("boxes", boxes, 2),
            ("mask_input", mask_input, 4),
        ):
            if value is not None and value.ndim != ndim:
                raise PromptError(
                    f"predict_torch takes {name} of {ndim} dimensions, the first for the prompts, "
                    f"got shape {tuple(value.shape)}."
                )
        scale = encoded.frame.scale_xy
        points, corners = _numpy(point_coords), _numpy(boxes)
        given = _prompts(
            points=_items(points if points is None else _divided(points, scale), 2),
            labels=_items(point_labels, 1),
            boxes=_items(corners if corners is None else _divided(corners, np.tile(scale, 2)), 1),
            masks=_masks(mask_input),
        )
        found = self._segment(encoded, given, multimask_output)
        masks, scores, low_res = (
            torch.from_numpy(stack).to(self.device)
            for stack in self._stacked(encoded, found, multimask_output, return_logits)
        )
        return masks, scores, low_res

    @property
    def labels(self) -> tuple[Any, ...]:
        """For each mask of the last `predict` its names, best first: what SAM does not have.

        After several prompts at once there is such a tuple for each prompt.
        """
        if self._found is None:
            raise PromptError("There are no labels before predict(...) was called.")
        if self._names is None:  # SAM's users may never look at them
            self._names = self.model.predictor.name(self._require_image(), self._found)
        if len(self._names) == 1:
            return self._names[0].labels
        return tuple(names.labels for names in self._names)

    @property
    def features(self) -> Tensor | None:
        """The embedding `(1, C, h, w)` of the photo; None without one."""
        return None if self._encoded is None else self.get_image_embedding()

    def get_image_embedding(self) -> Tensor:
        """The embedding `(1, C, h, w)` of the photo."""
        import torch

        embedding = self._require_image().features.embedding
        return torch.as_tensor(embedding, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    @property
    def is_image_set(self) -> bool:
        """Whether `set_image` was called."""
        return self._encoded is not None

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self._require_image().size_hw

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the photo as the model sees it, without padding."""
        return self._require_image().frame.content_hw

    def reset_image(self) -> None:
        """Forget the photo."""
        self._encoded = self._found = self._names = None

    def _require_image(self) -> EncodedImage:
        if self._encoded is None:
            raise PromptError("An image must be set with .set_image(...) before mask prediction.")
        return self._encoded

    def _segment(
        self, encoded: EncodedImage, given: Sequence[tuple[Prompt, int]], multimask: bool
    ) -> list[Candidates]:
        warn_of_normalised([prompt for prompt, _ in given], encoded.size_hw)
        check_memory(encoded, len(given), multimask=multimask, paints=True)
        prompts = [self._moved(prompt, padding, encoded) for prompt, padding in given]
        self._found = self.model.predictor.segment(encoded, prompts, multimask=multimask)
        self._names = None
        return self._found

    def _moved(self, given: Prompt, padding: int, encoded: EncodedImage) -> Prompt:
        """SAM's points, which name a pixel by its index -> ours, which are distances.

        The half pixel between them is one of the model's, as SAM has it, or one of the photo's
        where the model zooms. The last pixels stay on the photo. To SAM's model points that are
        none are not nothing; a model that zooms is spared them.
        """
        zooms = self.model.predictor.zoom
        edge = np.array(encoded.size_hw[::-1], float)
        half = 0.5 if zooms else 0.5 / encoded.frame.scale_xy
        outside = np.any((given.points_xy < -0.5) | (given.points_xy > edge), axis=1)
        for x, y in given.points_xy[outside]:
            raise point_outside(x, y, encoded.size_hw)
        mask, side = given.mask_logits, encoded.frame.low_res_hw[0]
        if mask is not None and mask.shape == (SAM_SIDE, SAM_SIDE) and side != SAM_SIDE:
            shrinks = cv2.INTER_AREA if side < SAM_SIDE else cv2.INTER_LINEAR
            mask = np.asarray(cv2.resize(mask, (side, side), interpolation=shrinks), np.float32)
        points = np.clip(given.points_xy + half, 0, edge)
        added = 0 if zooms else padding
        return _SamPrompt(
            points_xy=np.concatenate([points, np.zeros((added, 2))]),
            point_labels=np.concatenate([given.point_labels, np.full(added, NOT_A_POINT)]),
            box_xyxy=given.box_xyxy,
            mask_logits=mask,
        )

    def _stacked(
        self, encoded: EncodedImage, found: Sequence[Candidates], multimask: bool, logits: bool
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        if not found:
            count, side = 3 if multimask else 1, encoded.frame.low_res_hw[0]
            return (
                np.zeros((0, count, *encoded.size_hw), np.float32 if logits else np.bool_),
                np.zeros((0, count), np.float32),
                np.zeros((0, count, side, side), np.float32),
            )
        return (
            np.stack([each.logits if logits else each.masks for each in found]),
            np.stack([each.predicted_iou for each in found]),
            np.stack([each.low_res_logits for each in found]),
        )


def _photo(image: Any) -> NDArray[Any]:
    if not isinstance(image, Image.Image):
        pixels: NDArray[Any] = _numpy(image)
        return pixels
    if image.mode.startswith(("I", "F")):  # whose range Pillow does not bring to 0 to 255
        raise PhotoError(
            f"A photo must have 8 bits for each channel, got a Pillow image of mode {image.mode!r}."
            " Read files with ovsam.read_photo."
        )
    return np.asarray(image.convert("RGB"))


def _numpy(value: Any) -> Any:
    """Tensors as arrays; None and what else there is as it is."""
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
        return (value.double() if value.is_floating_point() else value).numpy()
    try:
        return value if value is None else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of several lengths
        raise PromptError(f"Give arrays of numbers, got {quoted(value)}.") from error


def _divided(array: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[Any]:
    """Model pixels -> photo pixels; what has another shape is left for `Prompt` to refuse."""
    if array.shape[-1:] != scale.shape or array.dtype.kind not in "iuf":
        return array
    divided: NDArray[Any] = array / scale
    return divided


def _items(value: Any, ndim: int) -> list[Any] | None:
    """One array of `ndim` dimensions for each prompt; what is none, `Prompt` refuses."""
    array = _numpy(value)
    if array is None:
        return None
    return list(array) if array.ndim == ndim + 1 else [array]


def _masks(value: Any) -> list[Any] | None:
    array = _numpy(value)
    if array is None:
        return None
    items = list(array) if array.ndim == 4 else [array]
    return [item[0] if item.ndim == 3 and len(item) == 1 else item for item in items]


def _prompts(
    points: list[Any] | None,
    labels: list[Any] | None,
    boxes: list[Any] | None,
    masks: list[Any] | None,
) -> list[tuple[Prompt, int]]:
    """A prompt with each of the points, boxes and masks, as they were given.

    Points that are none are left out, and counted beside it.
    """
    if points is None:
        labels = None
    elif labels is None:
        raise PromptError("point_labels must be given with point_coords, got none.")
    counts = {len(part) for part in (points, labels, boxes, masks) if part is not None}
    if len(counts) > 1:
        raise PromptError(
            "Points, labels, boxes and masks must be for as many prompts each, got "
            f"{' and '.join(map(str, sorted(counts)))}."
        )
    prompts = []
    for i in range(counts.pop() if counts else 1):
        points_xy, point_labels, padding = np.zeros((0, 2)), np.zeros(0), 0
        if points is not None and labels is not None:
            points_xy, point_labels = points[i], labels[i]
            # What does not go together, `Prompt` refuses.
            fit = points_xy.ndim == 2 and point_labels.shape == points_xy.shape[:1]
            if fit and point_labels.dtype.kind in "iuf":
                known = point_labels != NOT_A_POINT
                points_xy, point_labels = points_xy[known], point_labels[known]
                padding = len(known) - len(point_labels)
        prompt = Prompt(
            points_xy=points_xy,
            point_labels=point_labels,
            box_xyxy=None if boxes is None else boxes[i],
            mask_logits=None if masks is None else masks[i],
        )
        prompts.append((prompt, padding))
    return prompts
