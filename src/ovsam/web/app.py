"""`create_app`: the page and its requests as one FastAPI application over one predictor."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ovsam.errors import OvsamError, PhotoError
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.segmenter import Segmenter
from ovsam.web.guard import Guard
from ovsam.web.routes import router
from ovsam.web.sessions import BusyError, PhotoNotHeldError, Sessions
from ovsam.web.state import AppState

_STATIC = Path(__file__).parent / "static"


def create_app(
    predictor: Segmenter,
    *,
    token: str | None = None,
    photo: Path | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FastAPI:
    """The page over a predictor.

    Args:
        predictor: the model that answers.
        token: what every request must carry; without one only loopback host names are answered.
        photo: opened at once and shown when the page opens.
        max_pixels: a photo of more pixels is refused before it is decoded.

    Raises:
        PhotoError: `photo` cannot be read.
    """
    mimetypes.add_type("text/javascript", ".js")  # some Windows registries say text/plain
    app = FastAPI(title="ovsam", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.shared = AppState(Sessions(predictor), max_pixels, first_path=photo)
    app.state.shared.first()
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(OvsamError, _on_ovsam_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)
    app.include_router(router)
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC))
    return app


def _page() -> FileResponse:
    return FileResponse(_STATIC / "index.html")


def _on_ovsam_error(_request: Request, error: Exception) -> Response:
    status = 422
    if isinstance(error, PhotoError):
        status = 415
    elif isinstance(error, PhotoNotHeldError):
        status = 410
    elif isinstance(error, BusyError):
        status = 503
    return JSONResponse({"error": str(error)}, status)


def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body")
    where = f"field {field!r}: " if field else ""
    return JSONResponse({"error": f"The request is malformed: {where}{first['msg']}."}, 422)


def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is listening any more


def _on_bug(_request: Request, _error: Exception) -> Response:
    sentence = "The server failed at this request: its log says why."
    return JSONResponse({"error": sentence}, 500)
