"""`python -m tools.lite_graphs`: writes the graphs of `lite` that ship, when its steps change.

They hold no weights, so that any checkpoint of `lite` fits them; see `ovsam/model/onnx_files.py`.
"""

from __future__ import annotations

from ovsam.model.build import build
from ovsam.model.onnx_export import export_without_weights
from ovsam.model.onnx_files import SHIPPED_GRAPHS
from ovsam.model.presets import MODELS
from ovsam.text.minilm import MiniLM


def main() -> None:
    """Write them in the place of those that are there."""
    export_without_weights(build(MODELS["lite"]), SHIPPED_GRAPHS, MiniLM.identity)
    print(f"wrote {SHIPPED_GRAPHS}")


if __name__ == "__main__":
    main()
