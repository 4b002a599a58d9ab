"""The backend that runs a model's four graphs with ONNX Runtime; see `model/onnx_graphs.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError, first_line
from ovsam.model.onnx_files import GraphName, OnnxModel
from ovsam.model.prompt_batch import NOT_A_POINT, PromptBatch
from ovsam.predictor.providers import providers, usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from ovsam.text.prototypes import ClassPrototypes

DECODED_AT_ONCE = 16  # prompts; bounds the memory of many
CORNERS = (2, 3)  # labels of a box's, beside those of points


@dataclass(frozen=True, eq=False)
class OnnxFeatures:
    """What the encoder made of B squares.

    Attributes:
        maps: its outputs by name, each `(B, ...)`.
        side: of the squares, model pixels.
        fingerprint: of the weights that made them.
    """

    maps: dict[str, NDArray[np.float32]]
    side: int
    fingerprint: str

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """`(B, embed_dim, S / 16, S / 16)`; None where no prompts are to be decoded."""
        return self.maps.get("embedding")

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        return sum(array.nbytes for array in self.maps.values())

    def split(self) -> list[OnnxFeatures]:
        """See `Features.split`."""
        count = len(next(iter(self.maps.values())))
        if count == 1:
            return [self]
        return [
            replace(self, maps={name: array[i : i + 1].copy() for name, array in self.maps.items()})
            for i in range(count)
        ]


class OnnxBackend:
    """See `Backend`. The graphs are prepared in threads of their own while other things go on.

    Args:
        model: its graphs and weights.
        device: one of `PROVIDERS`, "cuda" perhaps with its number.

    Raises:
        OvsamError: the device cannot be had.
    """

    def __init__(self, model: OnnxModel, device: str = "cpu") -> None:
        self._model, self._device = model, device
        self._config = model.config
        self._providers = providers(device)
        self._threads = usable_cores()
        self._begin()

    def _begin(self) -> None:
        pool = ThreadPoolExecutor(len(self._model.graphs), thread_name_prefix="onnx")
        self._sessions: dict[GraphName, Future[InferenceSession]] = {
            name: pool.submit(self._session, name) for name in self._model.graphs
        }
        pool.shutdown(wait=False)

    @property
    def engine(self) -> str:
        """See `Backend.engine`."""
        return "onnxruntime"

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._device

    @property
    def threads(self) -> int:
        """See `Backend.threads`."""
        return self._threads

    def use_threads(self, count: int) -> None:
        """See `Backend.use_threads`."""
        if count != self._threads:
            self._threads = count
            self._begin()

    @property
    def fingerprint(self) -> str:
        """That of the weights; ONNX Runtime's answers differ from torch's in the last digits."""
        return f"onnx {self._model.fingerprint}"

    def encode(
        self,
        contents: Sequence[NDArray[Any]],
        input_hw: tuple[int, int],
        *,
        masked: bool = True,
        named: bool = True,
    ) -> OnnxFeatures:
        """See `Backend.encode`."""
        height, width = input_hw
        pixels = np.zeros((len(contents), height, width, 3), np.uint8)
        for square, content in zip(pixels, contents, strict=True):
            rounded = content if content.dtype == np.uint8 else np.rint(content)
            square[: content.shape[0], : content.shape[1]] = rounded
        inputs: dict[str, NDArray[Any]] = {
            "pixels": pixels,
            "content_hw": np.array([content.shape[:2] for content in contents], np.int64),
        }
        wanted = [
            output.name
            for output in self._sessions["encoder"].result().get_outputs()
            if (masked if output.name in MASKED else named)
        ]
        maps = self._run("encoder", wanted, inputs)
        return OnnxFeatures(maps, height, self._model.fingerprint)

    def decode(
        self, features: OnnxFeatures, prompts: PromptBatch[NDArray[Any]], index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Backend.decode`.

        Raises:
            CheckpointError: the features were made by another model.
        """
        self._check(features)
        masks, scores = [], []
        for start in range(0, len(prompts), DECODED_AT_ONCE):
            some = slice(start, start + DECODED_AT_ONCE)
            inputs: dict[str, NDArray[Any]] = decoder_inputs(
                prompts.map(lambda array, some=some: array[some]),  # type: ignore[misc]
                self._config,
                features.side,
            )
            inputs |= {**features.maps, "index": index[some]}
            found = self._run("decoder", None, inputs)
            logits = found["mask_logits"]
            masks.append(logits)
            unknown = np.full(logits.shape[:2], np.nan, np.float32)
            scores.append(found.get("predicted_iou", unknown))
        return np.concatenate(masks), np.concatenate(scores)

    def score(
        self,
        features: OnnxFeatures,
        boxes_xyxy: NDArray[np.float64],
        mask_logits: NDArray[np.float32],
        index: NDArray[np.int64],
        prototypes: ClassPrototypes,
        photo: OnnxFeatures,
        photo_hw: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """See `Backend.score`."""
        self._check(features)
        count, dim = len(index), self._config.encoder.text_dim
        inputs: dict[str, NDArray[Any]] = {
            **features.maps,
            "index": index,
            "boxes_xyxy": boxes_xyxy.astype(np.float32),
            "mask_logits": mask_logits[:, None],
            "photo_hw": photo_hw.astype(np.float32),
            # A long vocabulary is scored below, as it lies on the disk; these are not read.
            "names": np.zeros((1, dim), np.float32),
            "class_of_name": np.zeros(1, np.int64),
            "seen": np.zeros(1, np.bool_),
            "frozen": np.zeros((count, dim), np.float32),
            "covered": np.zeros(count, np.bool_),
        }
        if "scenes" in photo.maps:
            inputs["scenes"] = photo.maps["scenes"][:1]
        learned = self._run("regions", ["embedding"], inputs)["embedding"]
        frozen = self._run("frozen", None, inputs)
        unit = np.concatenate([learned, frozen["embedding"]])
        products = prototypes.bank.best_products(np.float32(self._config.logit_scale) * unit)
        logits = np.pad(products, ((0, 0), (0, 1)))  # the background's vector is zero
        return fused(
            logits[:count],
            logits[count:],
            seen=prototypes.seen,
            answerable=prototypes.answerable,
            clip_valid=frozen["covered"],
            config=self._config,
        )

    def _run(
        self, graph: GraphName, outputs: list[str] | None, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        """The outputs of a graph by name, None = all; inputs that it does not take are left out."""
        from onnxruntime import RunOptions

        session = self._sessions[graph].result()
        taken = {each.name: inputs[each.name] for each in session.get_inputs()}
        names = outputs or [each.name for each in session.get_outputs()]
        options = RunOptions()
        options.only_execute_path_to_fetches = True
        return dict(zip(names, session.run(names, taken, options), strict=True))

    def _session(self, name: GraphName) -> InferenceSession:
        import onnxruntime

        graph = self._model.graphs[name]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: what it warns of is nobody's to mend here
        options.intra_op_num_threads = self._threads
        # Threads that wait busily between the parts of a graph take time from other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        weights = graph.weights
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        if weights:
            options.add_external_initializers(list(weights), values)
        try:
            return onnxruntime.InferenceSession(graph.content, options, providers=self._providers)
        except Exception as error:  # of many classes, which are named nowhere
            raise CheckpointError(
                f"The graph '{name}' of '{self._config.name}' cannot be run: {first_line(error)}."
            ) from error

    def _check(self, features: OnnxFeatures) -> None:
        made_by = getattr(features, "fingerprint", None)  # those of torch have none
        if made_by != self._model.fingerprint:
            raise CheckpointError(
                "These features were made by another model's encoder: encode the photo with the "
                f"predictor of '{self._config.name}' that is to decode it."
            )


MASKED = frozenset(("embedding", "high8", "high4"))
"""What the decoder reads of the encoder's outputs; all else is for names."""


def decoder_inputs(
    prompts: PromptBatch[NDArray[Any]], config: ModelConfig, side: int
) -> dict[str, NDArray[Any]]:
    """N prompts of one kind as the decoder's graph takes them, in a square of a side."""
    count = len(prompts)
    points = np.zeros((count, 0, 2), np.float32)
    labels = np.zeros((count, 0), np.int64)
    if prompts.points_xy is not None and prompts.point_labels is not None:
        points, labels = prompts.points_xy.astype(np.float32), prompts.point_labels
    if prompts.boxes_xyxy is not None:
        corners = prompts.boxes_xyxy.reshape(count, 2, 2).astype(np.float32)
        points = np.concatenate([points, corners], 1)
        labels = np.concatenate([labels, np.tile(np.array(CORNERS), (count, 1))], 1)
    elif points.shape[1]:
        points = np.pad(points, ((0, 0), (0, 1), (0, 0)))
        labels = np.pad(labels, ((0, 0), (0, 1)), constant_values=NOT_A_POINT)
    masks = prompts.dense_logits(config.decoder, (side, side))
    given = masks is not None
    return {
        "points_xy": points,
        "point_labels": labels.astype(np.int64),
        "mask_input": np.asarray(
            np.zeros((1, 1, side // 4, side // 4)) if masks is None else masks, np.float32
        ),
        "mask_of_prompt": np.arange(1, count + 1) * given,
    }


def fused(
    head_logits: NDArray[np.float32],
    clip_logits: NDArray[np.float32],
    *,
    seen: NDArray[np.bool_],
    answerable: NDArray[np.bool_],
    clip_valid: NDArray[np.bool_],
    config: ModelConfig,
) -> NDArray[np.float32]:
    """`model.region.fuse` in numpy, as log probabilities `(N, C + 1)`; see there."""
    head, clip = log_softmax(head_logits), log_softmax(clip_logits)
    alpha, beta = np.float32(config.fusion_alpha), np.float32(config.fusion_beta)
    weight = np.append(np.where(seen, alpha, beta), alpha)
    mixed = clip_valid[:, None] | (weight >= 1)
    scores = np.where(mixed, head + weight * (clip - head), head)
    scores[:, :-1][:, ~answerable] = -np.inf
    return log_softmax(scores)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row `(N, C)`."""
    shifted = logits - logits.max(1, keepdims=True)
    normalised: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normalised
