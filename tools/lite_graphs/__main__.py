"""Write the graphs of `lite` that ship: `python -m tools.lite_graphs`.

To be run again when the network changes, or what it is traced with; its weights may change without.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ovsam.hub import SHIPPED
from ovsam.model.onnx_export import export_without_weights
from ovsam.model.onnx_files import SHIPPED_GRAPHS
from ovsam.model.restore import restore
from ovsam.text.minilm import MiniLM


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=SHIPPED_GRAPHS)
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    export_without_weights(restore(SHIPPED).model, folder, MiniLM.identity)
    for path in sorted(folder.iterdir()):
        print(f"{path.name} {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
