"""What the page's requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from ovsam.images.read import read_photo
from ovsam.web.sessions import HeldPhoto, PhotoNotHeldError, Sessions


@dataclass
class AppState:
    """The held photos, and the photo that the server began with.

    Attributes:
        sessions: the held photos, and the model.
        max_pixels: a photo of more pixels is refused before it is decoded.
        first_path: of the photo that is shown when the page opens, if there is one.
    """

    sessions: Sessions
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
                photo = self.sessions.open(read_photo(self.first_path, max_pixels=self.max_pixels))
                self._first_id = photo.id
                return photo
