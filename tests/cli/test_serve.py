"""`ovsam demo` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.commands import Run, assert_error
from fakes import FakePredictor


def test_demo_hands_over_to_the_server(
    run: Run, fake: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def serve(*arguments: object, **options: object) -> None:
        calls.append((arguments, options))

    monkeypatch.setattr("ovsam.web.server.serve", serve)
    result = run("demo", "photo.jpg", "--port", "0", "--token", "secret", "--no-open")
    assert result.exit_code == 0, result.output
    [(arguments, options)] = calls
    assert arguments == (fake, Path("photo.jpg"), "127.0.0.1", 0, "secret", False)
    assert options == {"max_pixels": 128 * 2**20}
    assert_error(run("demo", "none.jpg"), "none.jpg")
