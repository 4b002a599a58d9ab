"""The page's requests: open a photo, show it, answer prompts, change the vocabulary."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from PIL import Image

from ovsam.images.read import read_photo
from ovsam.vocabulary.builtin import builtin_vocabularies
from ovsam.web.guard import UPLOAD_PATH
from ovsam.web.schemas import (
    ObjectReply,
    PhotoReply,
    PredictRequest,
    StateReply,
    VocabularyReply,
    VocabularyRequest,
)
from ovsam.web.sessions import HeldPhoto, PhotoNotHeldError, Sessions, parse_vocabulary

SHOWN_SIDE = 4096
"""The longest side of the copy that the browser shows; masks keep the photo's own pixels."""


@dataclass
class Desk:
    """What the routes share: the held photos, the limits, and the photo the server began with."""

    sessions: Sessions
    max_upload_bytes: int
    max_pixels: int
    first_path: Path | None = None
    _first_id: str = ""
    _first_lock: Lock = field(default_factory=Lock)

    def first(self) -> HeldPhoto | None:
        """The photo the server was started with, read again if it was dropped meanwhile."""
        if self.first_path is None:
            return None
        with self._first_lock:
            try:
                return self.sessions.get(self._first_id)
            except PhotoNotHeldError:
                image = read_photo(self.first_path, max_pixels=self.max_pixels)
                photo = self.sessions.open(image)
                self._first_id = photo.id
                return photo


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(_desk)]

router = APIRouter(prefix="/api")


@router.get("/state")
def read_state(desk: TheDesk) -> StateReply:
    """What there is: model, vocabularies, the photo to begin with, the upload limit."""
    predictor = desk.sessions.predictor
    return StateReply(
        model=predictor.name,
        vocabulary=VocabularyReply.of(predictor.vocabulary),
        vocabularies=list(builtin_vocabularies()),
        first_photo=desk.first_path.name if desk.first_path else None,
        max_upload_bytes=desk.max_upload_bytes,
    )


@router.post(UPLOAD_PATH.removeprefix("/api"), status_code=201)
async def open_photo(request: Request, desk: TheDesk) -> PhotoReply:
    """Open the photo whose file is the request's body."""
    body = await request.body()

    def read_and_encode() -> HeldPhoto:
        return desk.sessions.open(read_photo(body, max_pixels=desk.max_pixels))

    return PhotoReply.of(await run_in_threadpool(read_and_encode))


@router.get("/photos/first")
def open_first_photo(desk: TheDesk) -> PhotoReply:
    """The photo the server was started with."""
    photo = desk.first()
    if photo is None:
        raise HTTPException(404, "The server was started without a photo: open one.")
    return PhotoReply.of(photo)


@router.get("/photos/{photo_id}/pixels")
def read_pixels(photo_id: str, desk: TheDesk) -> Response:
    """The photo as the model sees it, as JPEG; a large one is reduced for showing."""
    image = desk.sessions.get(photo_id).image
    return Response(
        _to_jpeg(image), media_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
    )


@router.post("/photos/{photo_id}/predict")
def predict(photo_id: str, question: PredictRequest, desk: TheDesk) -> ObjectReply:
    """The mask and the ranked names of the object that the prompt points at."""
    spec = question.vocabulary
    prompt = question.to_prompt()
    prediction = desk.sessions.predict(
        photo_id,
        prompt,
        vocabulary=None if spec is None else parse_vocabulary(spec),
        multimask=question.multimask,
        top=question.top,
        preview=question.preview,
    )
    return ObjectReply.of(prompt, prediction)


@router.post("/vocabulary")
def prepare_vocabulary(question: VocabularyRequest, desk: TheDesk) -> VocabularyReply:
    """Check a vocabulary and make it ready, without touching any photo."""
    if question.vocabulary is None:
        return VocabularyReply.of(desk.sessions.predictor.vocabulary)
    return VocabularyReply.of(desk.sessions.prepare(parse_vocabulary(question.vocabulary)))


def _to_jpeg(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE), reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
