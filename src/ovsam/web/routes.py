"""The page's requests: open a photo, show it, answer prompts, change the vocabulary."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from PIL import Image

from ovsam.images.read import read_photo
from ovsam.vocabulary.builtin import builtin_vocabularies
from ovsam.web import guard
from ovsam.web.schemas import (
    ObjectReply,
    PhotoReply,
    PredictRequest,
    StateReply,
    VocabularyReply,
    VocabularyRequest,
)
from ovsam.web.sessions import HeldPhoto, parse_vocabulary
from ovsam.web.state import AppState

SHOWN_SIDE = 4096
"""The longest side of the copy that the browser shows; masks keep the photo's own pixels."""


def _state(request: Request) -> AppState:
    state: AppState = request.app.state.shared
    return state


State = Annotated[AppState, Depends(_state)]

router = APIRouter(prefix="/api")


@router.get("/state")
def read_state(state: State) -> StateReply:
    """What there is: model, vocabularies, the photo to begin with, the upload limit."""
    predictor = state.sessions.predictor
    return StateReply(
        model=predictor.model_name,
        vocabulary=VocabularyReply.of(predictor.vocabulary),
        vocabularies=list(builtin_vocabularies()),
        first_photo=state.first_path.name if state.first_path else None,
        max_upload_bytes=guard.MAX_UPLOAD_BYTES,
    )


@router.post(guard.UPLOAD_PATH.removeprefix("/api"), status_code=201)
async def open_photo(request: Request, state: State) -> PhotoReply:
    """Open the photo whose file is the request's body."""
    body = await request.body()

    def read_and_encode() -> HeldPhoto:
        return state.sessions.open(read_photo(body, max_pixels=state.max_pixels))

    return PhotoReply.of(await run_in_threadpool(read_and_encode))


@router.get("/photos/first")
def open_first_photo(state: State) -> PhotoReply:
    """The photo the server was started with."""
    photo = state.first()
    if photo is None:
        raise HTTPException(404, "The server was started without a photo: open one.")
    return PhotoReply.of(photo)


@router.get("/photos/{photo_id}/pixels")
def read_pixels(photo_id: str, state: State) -> Response:
    """The photo as the model sees it, as JPEG; a large one is reduced for showing."""
    image = state.sessions.get(photo_id).image
    return Response(
        _to_jpeg(image), media_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
    )


@router.post("/photos/{photo_id}/predict")
def predict(photo_id: str, wanted: PredictRequest, state: State) -> ObjectReply:
    """The mask and the ranked names of the object that the prompt points at."""
    spec = wanted.vocabulary
    prompt = wanted.to_prompt()
    prediction = state.sessions.predict(
        photo_id,
        prompt,
        vocabulary=None if spec is None else parse_vocabulary(spec),
        multimask=wanted.multimask,
        top=wanted.top,
        preview=wanted.preview,
    )
    return ObjectReply.of(prompt, prediction)


@router.post("/vocabulary")
def prepare_vocabulary(wanted: VocabularyRequest, state: State) -> VocabularyReply:
    """Check a vocabulary and make it ready, without touching any photo."""
    if wanted.vocabulary is None:
        return VocabularyReply.of(state.sessions.predictor.vocabulary)
    return VocabularyReply.of(state.sessions.prepare(parse_vocabulary(wanted.vocabulary)))


def _to_jpeg(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE), reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
