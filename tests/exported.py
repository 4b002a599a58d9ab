"""A tiny model of `lite`'s kind as ONNX files, made once for all tests; and how graphs are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from ovsam.config import RegionConfig
from ovsam.model import onnx_export
from ovsam.model.onnx_files import GRAPHS, SHIPPED_GRAPHS
from ovsam.model.ovsam import OVSAM
from tiny_model import TINY, tiny_model

CONTEXT = replace(
    TINY,
    name="tiny-context",
    adapter=replace(TINY.adapter, depth=1, global_blocks=()),
    region=RegionConfig(kind="context", fpn_dim=8, levels=(2, 3), roi_size=3),
)


def context_model() -> OVSAM:
    """The model that is exported."""
    return tiny_model(CONTEXT)


def exported_context(factory: pytest.TempPathFactory) -> Path:
    """Its folder, which takes half a minute: workers share it."""
    own = factory.getbasetemp()
    shared = own.parent if own.name.startswith("popen-") else own
    folder = shared / "exported-context"
    with FileLock(shared / "exported-context.lock"):
        if not folder.exists():
            onnx_export.export(context_model(), folder, text="hashed")
    return folder


def take_graphs_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter find its graphs made: those of a folder."""
    monkeypatch.setattr(onnx_export, "graphs", lambda _: {name: name for name in GRAPHS})
    monkeypatch.setattr(onnx_export, "onnx_model", lambda name: ir.load(folder / f"{name}.onnx"))


def take_shipped_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter find the graphs of `lite` made: those that ship, with a model's weights."""

    def graphs(model: OVSAM) -> dict[str, tuple[str, OVSAM]]:
        return {name: (name, model) for name in GRAPHS}

    def onnx_model(graph: tuple[str, OVSAM]) -> ir.Model:
        name, model = graph
        shipped, state = ir.load(SHIPPED_GRAPHS / f"{name}.onnx"), model.state_dict()
        for key, weight in shipped.graph.initializers.items():
            if key in state:
                weight.const_value = ir.tensor(state[key].numpy(), name=key)
        return shipped

    monkeypatch.setattr(onnx_export, "graphs", graphs)
    monkeypatch.setattr(onnx_export, "onnx_model", onnx_model)


def session(
    content: bytes, weights: Mapping[str, NDArray[Any]] | None = None
) -> onnxruntime.InferenceSession:
    """A graph, with weights that are not in it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(
    graph: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Its outputs by name; inputs that it does not take are left out."""
    names = [each.name for each in graph.get_outputs()]
    taken = {each.name: inputs[each.name] for each in graph.get_inputs()}
    return dict(zip(names, graph.run(names, taken), strict=True))
