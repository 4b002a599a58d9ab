"""The command as a process: streams that fail, signals, an environment that lacks things."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SOURCE = Path(__file__).parent.parent / "src"
EXAMPLE = SOURCE.parent / "examples" / "chelsea.png"
# The command with a predictor that needs no model.
FAKE = """
import sys
import ovsam
from fakes import FakePredictor
from ovsam.__main__ import main
from ovsam.vocabulary.load import load_vocabulary
def load(name, *, vocabulary, **_):
    return FakePredictor(vocabulary=vocabulary)
ovsam.load = load
main()
"""


def start(*arguments: str | bytes, fake: bool = False, **options: Any) -> subprocess.Popen[bytes]:
    what = ["-c", FAKE] if fake else ["-m", "ovsam"]
    changed = {"PYTHONPATH": f"{SOURCE}{os.pathsep}{Path(__file__).parent}", "PYTHONUNBUFFERED": ""}
    environment = {**os.environ, **changed, **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, *what, *arguments], env=environment, **options)


def run(*arguments: str | bytes, **options: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = start(*arguments, **options)
    out, err = process.communicate()
    assert b"Traceback" not in err, err.decode(errors="replace")
    return process.returncode, (out or b"").decode("latin-1"), err.decode("latin-1")


SEGMENT = ("segment", "--box", "10,20,200,180", "-o", "o.png", "--json", "o.json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Image.new("RGB", (300, 200), (90, 120, 60)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_console_that_cannot_show_a_name(encoding: str) -> None:
    names = "ko\u010dka, pies"  # the letter is in none of the three
    code, out, _ = run(
        *SEGMENT, "photo.jpg", "--vocabulary", names, fake=True, env={"PYTHONIOENCODING": encoding}
    )
    assert code == 0
    assert "ko?ka" in out
    labels = json.loads(Path("o.json").read_bytes())["objects"][0]["labels"]
    assert labels[0]["name"] == "ko\u010dka"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are letters, not bytes")
@pytest.mark.usefixtures("here")
def test_a_name_of_bytes_that_are_no_utf_8() -> None:
    os.rename("photo.jpg", b"caf\xe9.jpg")
    code, _, _ = run(*SEGMENT, b"caf\xe9.jpg", fake=True)
    assert code == 0
    written = Path("o.json").read_bytes().decode("utf-8")
    assert '"photo": "caf\\udce9.jpg"' in written
    assert os.fsencode(json.loads(written)["photo"]) == b"caf\xe9.jpg"
    assert run("segment", b"caf\xe9.jpg", "--box", "10,20,200,180", fake=True)[0] == 0
    assert os.path.exists(b"caf\xe9_ovsam.png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.usefixtures("here")
def test_an_output_that_takes_nothing() -> None:
    """The files are there all the same."""
    with open("/dev/full", "wb") as full:
        code, _, err = run(*SEGMENT, "photo.jpg", fake=True, stdout=full)
        assert (code, err) == (1, "error: Cannot write the output: No space left on device.\n")
        assert Path("o.png").exists() and Path("o.json").exists()
        assert run("-h", stdout=full)[0] == 1
        process = start(*SEGMENT, "none.jpg", fake=True, stderr=full)
        assert (process.communicate()[0], process.returncode) == (b"", 1)


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a child")
@pytest.mark.usefixtures("here")
def test_closed_streams() -> None:
    code, _, err = run(*SEGMENT, "photo.jpg", fake=True, preexec_fn=lambda: os.close(1))
    assert (code, err) == (1, "error: Cannot write the output: Bad file descriptor.\n")
    with Image.open("o.png") as picture:
        assert picture.size == (300, 200)
    process = start(*SEGMENT, "photo.jpg", fake=True, preexec_fn=lambda: os.closerange(0, 3))
    process.communicate()
    assert process.returncode == 1
    process = start(*SEGMENT, "photo.jpg", fake=True, preexec_fn=lambda: os.close(2))
    process.communicate()
    assert process.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="has no such pipes")
def test_a_reader_that_goes_away() -> None:
    process = start("vocabulary", "show", "22k")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith(b"# 22k")
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 1)
    process.stderr.close()


def test_a_vocabulary_goes_to_a_file_in_utf_8(here: Path) -> None:
    (here / "mine.txt").write_text("ko\u010dka\n", encoding="utf-8")
    with open("again.txt", "wb") as file:
        environment = {"PYTHONIOENCODING": "cp437"}
        run("vocabulary", "show", "mine.txt", stdout=file, env=environment)
    assert "ko\u010dka\n" in (here / "again.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the locale is not so poor")
@pytest.mark.usefixtures("here")
def test_names_that_an_ascii_terminal_hands_over_as_bytes() -> None:
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    names = "ko\u010dka, pies".encode()
    assert run(*SEGMENT, "photo.jpg", "--vocabulary", names, fake=True, env=poor)[0] == 0
    labels = json.loads(Path("o.json").read_bytes())["objects"][0]["labels"]
    assert labels[0]["name"] == "ko\u010dka"


@pytest.mark.usefixtures("here")
def test_pictures_without_a_name_replace_none() -> None:
    """Also where several processes choose one at the same time."""
    words = ("segment", "photo.jpg", "--box", "10,20,200,180")
    for process in [start(*words, fake=True) for _ in range(3)]:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert b"wrote photo_ovsam" in out
    made = sorted(path.name for path in Path().glob("*_ovsam*"))
    assert made == ["photo_ovsam-2.png", "photo_ovsam-3.png", "photo_ovsam.png"]


INTERRUPTING = """
import signal, sys
import ovsam
from ovsam.__main__ import main
from ovsam.cli.signals import end_quietly_on_signals
name, moment = sys.argv[1:3]
end_quietly_on_signals()
if moment == "importing":
    import interrupting_module
ovsam.load = lambda *_, **__: signal.raise_signal(getattr(signal, name))
sys.argv = ["ovsam", "segment", "photo.jpg", "--point", "5,5"]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="has no such signals")
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("SIGINT", 130, b"interrupted\n"), ("SIGTERM", 143, b"terminated\n")],
)
@pytest.mark.parametrize("moment", ["working", "importing"])
def test_signals_leave_no_traceback(
    here: Path, name: str, code: int, said: bytes, moment: str
) -> None:
    (here / "interrupting_module.py").write_text(
        f"import signal\nsignal.raise_signal(signal.{name})\n"
    )
    path = f"{SOURCE}{os.pathsep}{here}"
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, name, moment],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (code, said)


STOPS = 10  # for each signal; each run takes some seconds


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="has no such signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stop_at_any_moment_leaves_the_files_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("segment", str(EXAMPLE), "--box", "0,0,395,300", "-o", "o.png", "--json", "o.json")
    began = time.monotonic()
    assert run(*words)[0] == 0
    whole = time.monotonic() - began
    before = {name: Path(name).read_bytes() for name in ("o.png", "o.json")}
    moments = random.Random(0)
    for _ in range(STOPS):
        process = start(*words)
        time.sleep(moments.uniform(0, 1.1) * whole)
        process.send_signal(number)
        process.communicate()
        assert {name: Path(name).read_bytes() for name in before} == before
    assert run(*words)[0] == 0
    assert sorted(os.listdir()) == ["o.json", "o.png"], "what was left over is gone"


LACKING = """
import sys
for name in ("lightning_fabric", "matplotlib", "tensorboard"):
    sys.modules[name] = None
from ovsam.__main__ import main
main()
"""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "words", ["train finetune --data .", "distill sam2clip-lite --data .", "train none --data none"]
)
def test_training_says_what_is_missing_before_all_else(words: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LACKING, *words.split()],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    start = "error: Training needs lightning-fabric, matplotlib and tensorboard, which are not inst"
    assert result.stderr.startswith(start)
    assert f"{sys.executable} -m " in result.stderr and "[train]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_completion_knows_names_and_starts_without_torch(here: Path) -> None:
    def completed(words: str) -> list[str]:
        environment = {
            "_OVSAM_COMPLETE": "complete_bash",
            "COMP_WORDS": f"ovsam {words}",
            "COMP_CWORD": str(len(words.split(" "))),
        }
        code = (
            "import sys; sys.argv[0] = 'ovsam'\nfrom ovsam.__main__ import main\n"
            "try: main()\nfinally: assert 'torch' not in sys.modules"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
            capture_output=True,
            text=True,
            check=False,
            cwd=here,
        )
        return result.stdout.split()

    assert "segment" in completed("se")
    assert completed("segment a.jpg --model rn") == ["rn50x16-coco", "rn50x16-lvis"]
    assert completed("segment a.jpg --vocabulary lv") == ["lvis"]
    assert "animal" in completed("segment a.jpg --only anim")
    assert "finetune" in completed("train fine")


def test_arrays_are_not_needed_to_begin() -> None:
    """The command handles Ctrl-C before it imports what takes long."""
    code = "import sys, ovsam, ovsam.cli.signals; sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
