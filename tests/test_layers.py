"""Six layers, imports only downward; the lower ones stay free of torch, gradio and each other's business."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FACTS, NETWORKS, TASKS, VERBS, RUNS, FACES = range(1, 7)
LAYERS = {
    FACTS: "__init__ types registry config messages text workspace overlay overlay_labels overlay_tags predictions slicing datasets metrics augment",
    NETWORKS: "models losses weights bare_weights weights_reading machine memory sam2 class_heads hub",
    TASKS: "tasks recipe settings stages",
    VERBS: "train fetching schedule clock ema checkpoint distributed keeping restart measuring opening session advising evaluate predict explain "
           "export exported share video predict_video weights_mending suggesting ranking label_errors label_errors_areas folds held_out "
           "cross_checking",
    RUNS: "runs jobs worker history suggest_jobs",
    FACES: "__main__ commands",
}
READS_RUN_FOLDERS = {"engine.workspace"}


def modules() -> dict[str, Path]:
    files = [ROOT / "app.py", *(ROOT / "ui").rglob("*.py"), *(ROOT / "engine").rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in sorted(files)}


def layer_of(module: str) -> int | None:
    """None for modules of others, and for a part of the engine that no layer names yet."""
    top, _, rest = module.partition(".")
    if top in ("ui", "app"):
        return FACES
    part = rest.partition(".")[0] or "__init__"
    return next((layer for layer, parts in LAYERS.items() if part in parts.split()), None) if top == "engine" else None


def imports(file: Path, *, whole_file: bool = True) -> Iterator[tuple[str, int]]:
    """(module, line); not `whole_file`: only what runs when the module is imported."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if whole_file else at_import_time(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in KNOWN else node.module, node.lineno) for name in names)


def at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            continue
        yield node
        yield from at_import_time(node)


KNOWN = modules()


@pytest.mark.parametrize("module", KNOWN)
def test_imports_go_only_downward(module):
    mine = layer_of(module)
    assert mine is not None, f"{module} stands in no layer: name it in LAYERS"
    upward = []
    for name, line in imports(KNOWN[module]):
        allowed = RUNS if module in READS_RUN_FOLDERS else mine
        if (layer_of(name) or 0) > allowed:
            upward.append(f"line {line}: {name}")
    assert not upward


@pytest.mark.parametrize("module", [name for name in KNOWN if name == "app" or name.split(".")[0] == "ui"])
def test_pages_never_import_torch_or_opencv(module):
    heavy = {"torch", "torchvision", "timm", "cv2", "accelerate"}
    assert [f"line {line}: {name}" for name, line in imports(KNOWN[module]) if name.split(".")[0] in heavy] == []


@pytest.mark.parametrize("module", [name for name in KNOWN if layer_of(name) == FACTS])
def test_facts_never_import_torch_or_gradio(module):
    wrong = {"torch", "torchvision", "timm", "gradio", "accelerate"}
    assert [f"line {line}: {name}" for name, line in imports(KNOWN[module]) if name.split(".")[0] in wrong] == []


@pytest.mark.parametrize("module", [name for name in KNOWN if name.startswith("engine")])
def test_the_engine_never_imports_the_page(module):
    assert [name for name, _ in imports(KNOWN[module]) if name.split(".")[0] in ("ui", "app", "gradio")] == []


def test_building_the_page_does_not_load_torch():
    """What `import ui` and its pages pull in at import time, followed through this repository."""
    seen, waiting, heavy = set(), [name for name in KNOWN if name.split(".")[0] in ("ui", "app")], []
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name, line in imports(KNOWN[module], whole_file=False):
            if name.split(".")[0] in ("torch", "torchvision", "timm"):
                heavy.append(f"{module} line {line}: {name}")
            waiting += [known for known in (name, name.rpartition(".")[0]) if known in KNOWN]
    assert not heavy
