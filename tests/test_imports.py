"""Who may import whom, read off the source; and that light things stay light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "ovsam"

# Everything may import what stands left of it, and its own group.
GROUND = (
    "errors",
    "bounded_json",
    "extras",
    "structures",
    "candidates",
    "files",
    "hub_file",
    "shipped",
    "geometry",
    "config",
    "segmenter",
    "encoded_photo_cache",
    "images",
    "vocabulary",
    "formats",
)
LAYERS: tuple[tuple[str, ...], ...] = (
    GROUND,
    ("text",),
    ("model",),
    ("hub",),
    ("predictor",),
    ("sam", ""),  # "" is the package itself: its __init__ offers load()
    ("jobs",),
    ("data",),
    ("train", "evaluate", "benchmark"),
    ("paper",),
    ("web",),
    ("cli", "__main__"),
)
# The steps of the figure meet in model/ovsam.py only, through tensors.
STEPS = ("pixels", "features", "adapter", "prompt", "mask", "region")
APART = (
    ("train", "evaluate"),
    ("train", "benchmark"),
    ("evaluate", "benchmark"),
    ("train", "paper"),
    ("train", "web"),
    ("evaluate", "web"),
    ("paper", "web"),
)
HEAVY = ("torch", "torchvision", "timm", "open_clip", "transformers", "sentence_transformers")


# Where torch may come in: the engine itself, and what makes or fetches a model for it.
DOORS = {
    *("predictor.torch_backend", "predictor.load_torch", "predictor.export", "hub"),
    "model.tensors",  # imported where somebody gives a tensor, who has torch
    "text.encoder",  # where a vocabulary asks for the templates of CLIP
    "evaluate.detector",
}
ABOVE_THE_BACKEND = ("predictor", "jobs", "evaluate", "benchmark", "web")


def module_name(path: Path) -> str:
    """`model/prompt.py` -> `model.prompt`; a package's `__init__` has the package's name."""
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imported_modules(path: Path, *, typing: bool = True) -> set[str]:
    """Full names of what a file imports, inside functions too; without `typing` none of those that
    only type checkers see."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing:
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
MODULES = {module: imported_modules(path) for module, path in FILES.items()}
AT_RUN_TIME = {module: imported_modules(path, typing=False) for module, path in FILES.items()}


def own_imports(module: str) -> set[str]:
    """What a module imports of ovsam, without the leading `ovsam.`; names that are modules."""
    own = {name.removeprefix("ovsam").removeprefix(".") for name in MODULES[module] if is_own(name)}
    return {name for name in own if name in MODULES} - {module} - parents_of(own)


def is_own(name: str) -> bool:
    return name == "ovsam" or name.startswith("ovsam.")


def stands_above_the_backend(module: str) -> bool:
    return module.partition(".")[0] in (*GROUND, *ABOVE_THE_BACKEND) and module not in DOORS


def parents_of(names: set[str]) -> set[str]:
    """Packages named only because `from package import module` names both."""
    return {name.rpartition(".")[0] for name in names if name in MODULES and name}


def layer_of(module: str) -> int:
    top = module.partition(".")[0]
    for index, layer in enumerate(LAYERS):
        if top in layer:
            return index
    raise AssertionError(f"{module} has no place in LAYERS: add it to {__file__}")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_left(module: str) -> None:
    for imported in own_imports(module):
        assert layer_of(imported) <= layer_of(module), f"{module} must not import {imported}"


@pytest.mark.parametrize("pair", APART, ids=" and ".join)
def test_stay_apart(pair: tuple[str, str]) -> None:
    for module in MODULES:
        for one, other in (pair, pair[::-1]):
            if module.partition(".")[0] == one:
                tops = {imported.partition(".")[0] for imported in own_imports(module)}
                assert other not in tops, f"{module} must not import {other}"


def test_steps_of_the_model_meet_in_one_place() -> None:
    steps = {f"model.{step}" for step in STEPS}
    for step in steps & MODULES.keys():
        assert not own_imports(step) & steps, f"{step} must not import another step"


def test_web_knows_only_the_ground() -> None:
    for module in MODULES:
        if module.partition(".")[0] == "web":
            tops = {imported.partition(".")[0] for imported in own_imports(module)}
            assert tops <= {*GROUND, "web"}, module


def test_train_does_without_the_predictor() -> None:
    for module in MODULES:
        if module.partition(".")[0] == "train":
            tops = {imported.partition(".")[0] for imported in own_imports(module)}
            assert not tops & {"predictor", "sam"}, module


def test_data_does_without_the_model() -> None:
    for module in MODULES:
        if module.partition(".")[0] == "data":
            assert not {name for name in own_imports(module) if name.startswith("model")}, module


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circle: {' -> '.join((*path, module))}"
        if module not in done:
            for imported in sorted(own_imports(module)):
                visit(imported, (*path, module))
            done.add(module)

    for module in MODULES:
        if module:  # the package itself imports lazily, inside load()
            visit(module, ())


@pytest.mark.parametrize("module", [name for name in MODULES if name.partition(".")[0] in GROUND])
def test_ground_modules_do_without_heavy_libraries(module: str) -> None:
    tops = {name.partition(".")[0] for name in MODULES[module]}
    assert not tops & set(HEAVY)


@pytest.mark.parametrize("module", [name for name in MODULES if stands_above_the_backend(name)])
def test_above_the_backend_nothing_leads_to_torch(module: str) -> None:
    """Another engine can take torch's place: no path of imports leads there but by the doors."""
    paths: list[tuple[str, ...]] = [(module,)]
    known = {module}
    for path in paths:  # grows while it is walked through
        tops = {name.partition(".")[0] for name in AT_RUN_TIME[path[-1]]}
        assert not tops & set(HEAVY), " -> ".join(path)
        own = {name.removeprefix("ovsam.") for name in AT_RUN_TIME[path[-1]] if is_own(name)}
        further = own & MODULES.keys() - known - DOORS
        known |= further
        paths += [(*path, each) for each in sorted(further)]


def test_above_the_backend_runs_without_torch() -> None:
    """The same of what is really loaded."""
    above = [f"ovsam.{module}" for module in MODULES if stands_above_the_backend(module)]
    assert_loads_nothing_heavy(f"import {', '.join(above)}")


def test_the_text_side_runs_without_torch(tmp_path: Path) -> None:
    """All of it, new names embedded by `lite`'s text model, a short and a long vocabulary."""
    modules = [f"ovsam.{module}" for module in MODULES if module.partition(".")[0] == "text"]
    assert_loads_nothing_heavy(f"""
import {", ".join(modules)}
from pathlib import Path
import numpy as np
from ovsam.text import prototypes
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.minilm import MiniLM
from ovsam.vocabulary.load import load_vocabulary
for prototypes.LARGE in (4096, 2):
    for _ in range(2):  # computed, then from the file
        store = TextStore(Path({str(tmp_path)!r}) / "text.sqlite")
        text = ClassEmbedder(MiniLM(), ("{{}}",), store)
        made = text.prototypes(text.readable(load_vocabulary("quokka, kettle/teapot")))
        assert made.bank.best_products(np.ones((2, 384), np.float32)).shape == (2, 2)
""")


def test_starting_the_command_loads_nothing_heavy() -> None:
    """`ovsam --help` answers at once."""
    assert_loads_nothing_heavy("from ovsam.cli.app import app; import ovsam.evaluate.metrics")


def assert_loads_nothing_heavy(statement: str) -> None:
    code = (
        f"import sys\n{statement}\n"
        f"sys.exit(' '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr


def test_names_that_packages_offer() -> None:
    """As code of users has them."""
    import ovsam
    from ovsam.predictor import EncodedImage, Predictor
    from ovsam.vocabulary import Vocabulary, load_vocabulary

    assert (EncodedImage, Predictor) == (ovsam.EncodedImage, ovsam.Predictor)
    assert (Vocabulary, load_vocabulary) == (ovsam.Vocabulary, ovsam.load_vocabulary)
    for package in ("vocabulary", "predictor"):
        with pytest.raises(AttributeError, match=f"'ovsam.{package}' has no attribute 'cat'"):
            getattr(import_module(f"ovsam.{package}"), "cat")  # noqa: B009 - mypy knows there is none
