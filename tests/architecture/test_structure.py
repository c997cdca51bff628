"""The shape of the code: floors, sizes, cycles, purity of import, and calls that are banned."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "onelook"
FILES = sorted(PACKAGE.rglob("*.py"))
BESIDE = [path for folder in ("benchmarks", "scripts", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
CODE = [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]

FLOORS = {
    "errors": 0, "geometry": 0, "files": 0,
    "structures": 1, "settings": 1,
    "models": 2, "data": 2, "losses": 2, "metrics": 2, "interop": 2, "drawing": 2, "runs": 2,
    "processes": 3, "inference": 4, "training": 5,
    "callbacks": 6, "search": 6, "exports": 6, "doctor": 6,
    "reports": 7, "service": 7,
    "recipes": 8,
    "api": 9, "cli": 9, "__init__": 10, "__main__": 10,
}  # fmt: skip
SIBLINGS_APART = 2
MAY_USE_ITS_SIBLING = {("losses", "models"), ("interop", "models")}

# package -> the only places in src/onelook that may import it
RIM = {
    "cv2": ("files/images.py", "data/", "drawing/", "reports/plots/"),
    "triton": ("data/augment/render_triton.py",),
    "matplotlib": ("reports/plots/", "drawing/lettering.py"),
    "hotcoco": ("metrics/",),
    "rich": ("callbacks/", "cli/"),
    "jinja2": ("reports/html.py",),
    "albumentations": ("data/augment/transforms.py",),
    "argparse": ("cli/", "settings/command_line.py"),
    "yaml": ("files/yaml.py",),
    "safetensors": ("runs/checkpoint.py",),
    "optuna": ("search/",),
    "pyarrow": ("data/formats/parquet_file.py",),
    "fsspec": ("search/remote_history.py",),
    "google_crc32c": ("callbacks/trackers/event_file.py",),
    "tensorboard": ("callbacks/trackers/tensorboard.py",),
    "mlflow": ("callbacks/trackers/mlflow.py",),
    "sqlalchemy": ("callbacks/trackers/mlflow.py",),
    "alembic": ("callbacks/trackers/mlflow.py",),
    "filelock": ("files/lock.py",),
    "wandb": ("callbacks/trackers/wandb.py",),
    "clearml": ("callbacks/trackers/clearml.py",),
    "comet_ml": ("callbacks/trackers/comet.py",),
    "simplejpeg": ("files/jpeg.py",),
    "PIL": ("files/jpeg.py", "callbacks/trackers/clearml.py", "inference/image_inputs.py"),
    "pandas": ("inference/image_result.py",),
    "supervision": ("inference/image_result.py",),
    "onnx": ("exports/onnx",),
    "onnxruntime": ("exports/onnx",),
    "openvino": ("exports/openvino.py",),
    "nncf": ("exports/int8.py",),
    "ncnn": ("exports/ncnn.py",),
    "pnnx": ("exports/ncnn.py",),
    "executorch": ("exports/executorch.py",),
    "coremltools": ("exports/coreml.py",),
    "litert_torch": ("exports/litert.py",),
    "ai_edge_litert": ("exports/litert.py",),
    "fastapi": ("service/app.py",),
    "starlette": ("service/",),
    "uvicorn": ("service/server.py",),
    "tensorrt": ("exports/tensorrt.py",),
    "mss": ("inference/sources/screen.py",),
}
BANNED_IMPORTS = {
    "pickle", "dill", "joblib", "shelve", "marshal", "random", "torchvision", "subprocess", "tarfile", "requests",
    "urllib.request", "socket",
}  # fmt: skip
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "print", "torch.load", "torch.save", "torch.jit.load", "torch.hub.load",
    "import_module", "os.system", "yaml.load", "yaml.unsafe_load", "tempfile.mktemp", "np.random.seed",
    "np.random.rand", "np.random.randint", "np.random.uniform", "np.random.beta", "np.random.permutation",
    "importlib.import_module", "time.time",
}  # fmt: skip
# Calls that run a file as code, and the one place for them: the user named the file on the command line.
RUN_A_FILE = {"spec_from_file_location", "module_from_spec", "exec_module", "run_path", "run_module"}
RUNS_A_USERS_FILE = "callbacks/user_file.py"
# A table of names of ours and one line, so that nothing is imported before it is used.
IMPORT_BY_NAME = ("__init__.py", "cli/main.py", "callbacks/trackers/registry.py")
# The service listens, and decodes images in processes of its own program, which can be killed.
ALLOWED_HERE = {
    "service/server.py": {"socket"},
    "service/decoding.py": {"subprocess"},
    "callbacks/report_process.py": {"subprocess", "socket"},  # starts `onelook report --watch` at a free port
}
RUNS_OUR_OWN_PROGRAMS = "exports/torchscript.py"  # those whose SHA-256 `exports/trusted_programs.py` knows
BANNED_FOLDERS = {"utils", "common", "misc", "helpers", "core", "base", "engine"}


def for_each(paths: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Make one test of a rule for files, which names all that break it: a test per file would be thousands."""

    def all_files(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            problems = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as problem:
                    problems.append(str(problem).partition("\n")[0])
            assert not problems, "\n".join(problems)

        return test

    return all_files


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@dataclass(frozen=True)
class Facts:
    """What the rules ask about a file, which is parsed once.

    Attributes:
        imports: all that it imports, inside functions too.
        top_level: what it imports when it is imported.
        classes: their names.
        functions: their names and lines.
        running: what it does when it is imported, besides.
        banned: calls and imports that no file of the package may have.
    """

    imports: tuple[str, ...]
    top_level: tuple[str, ...]
    classes: tuple[str, ...]
    functions: tuple[tuple[str, int], ...]
    running: tuple[str, ...]
    banned: tuple[str, ...]


@cache
def facts_of(path: Path) -> Facts:
    tree = tree_of(path)
    nodes = list(statements_in(tree))
    top_level = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    name = name_of(path) if path.is_relative_to(PACKAGE) else ""
    return Facts(
        tuple(imported for node in nodes for imported in imports_in(node)),
        tuple(imported for node in top_level for imported in imports_in(node)),
        tuple(node.name for node in nodes if isinstance(node, ast.ClassDef)),
        tuple((node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions),
        tuple(f"line {node.lineno}" for node in tree.body if runs_at_import(node)),
        tuple(problem for node in ast.walk(tree) for problem in banned_in(node, name)) if name else (),
    )


def statements_in(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements, imports, classes and functions among them, however deep; not the expressions, which are many."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        left += [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case)
        ]


def floor_of(module: str) -> tuple[str, int]:
    part = module.split(".")[1] if "." in module else "__init__"
    return part, FLOORS.get(part, 7)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


# Sizes are a reason to look, not a law: path, or path:function -> why it is better whole.
BETTER_WHOLE: dict[str, str] = {}


@for_each(CODE)
def test_long_files_functions_and_argument_lists_say_why(path: Path) -> None:
    """A file above 400 lines, a function above 60 or one with more than 7 parameters has its reason above."""
    text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    assert text.count("\n") <= 400 or name in BETTER_WHOLE, f"{name} has {text.count(chr(10))} lines"
    for function, length in facts_of(path).functions:
        assert length <= 60 or f"{name}:{function}" in BETTER_WHOLE, f"{name}: `{function}` has {length} lines"


@for_each(BESIDE)
def test_programs_beside_the_package_import_what_is_there(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "onelook":
            continue
        place = PACKAGE.parent.joinpath(*(node.module or "").split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        there = {name for top in tree_of(file).body for name in names_bound(top)}
        missing = [one.name for one in node.names if one.name not in there and not list(place.glob(f"{one.name}*"))]
        assert not missing, f"{path.name} imports {missing} from {node.module}"


def names_bound(node: ast.stmt) -> list[str]:
    """By a statement at the top of a file."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
    names = [name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)]
    return names + [alias.asname or alias.name for alias in getattr(node, "names", [])]


def test_reasons_for_long_code_are_still_needed() -> None:
    for place in BETTER_WHOLE:
        file, _, function = place.partition(":")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, f"{place} is gone"


def test_no_class_name_stands_twice() -> None:
    seen: dict[str, str] = {}
    for path in FILES:
        for name in facts_of(path).classes:
            assert name not in seen, f"class {name} is in {seen[name]} and {name_of(path)}"
            seen[name] = name_of(path)


@for_each(FILES)
def test_imports_go_down_only(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in FLOORS, f"`{part}` has no floor"
    for module in facts_of(path).imports:
        if module.split(".")[0] != "onelook":
            continue
        other, floor = floor_of(module)
        if other == part:
            continue
        limit = FLOORS[part]
        assert floor <= limit, f"{name_of(path)} (floor {limit}) imports {module} (floor {floor})"
        is_apart = floor == limit == SIBLINGS_APART and (part, other) not in MAY_USE_ITS_SIBLING
        assert not is_apart, f"{name_of(path)} imports its sibling {module}"


@for_each(FILES)
def test_third_parties_stay_at_the_rim(path: Path) -> None:
    for module in facts_of(path).imports:
        allowed = RIM.get(module.split(".")[0])
        assert allowed is None or name_of(path).startswith(allowed), f"{name_of(path)} imports {module}"


@for_each(FILES)
def test_no_banned_import_or_call(path: Path) -> None:
    banned = BANNED_IMPORTS - ALLOWED_HERE.get(name_of(path), set())
    assert not banned & set(facts_of(path).imports), name_of(path)
    assert not facts_of(path).banned, f"{name_of(path)}: {facts_of(path).banned}"


def banned_in(node: ast.AST, name: str) -> list[str]:
    """What is wrong with a star import, a call or an `except` in the file of this name."""
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        return ["star import"]
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return [f"line {node.lineno}: bare except"]
    return [f"line {node.lineno}: {what}" for what in wrong_with(node, name)] if isinstance(node, ast.Call) else []


def wrong_with(call: ast.Call, name: str) -> Iterator[str]:
    called = dotted(call.func)
    is_allowed = (
        (called == "print" and name.startswith("cli/"))
        or (called == "import_module" and name in IMPORT_BY_NAME)  # its names stand in a dict literal beside the call
        or (called == "torch.jit.load" and name == RUNS_OUR_OWN_PROGRAMS)
    )
    if called in BANNED_CALLS and not is_allowed:
        yield f"calls {called}"
    if called.split(".")[-1] in RUN_A_FILE and name != RUNS_A_USERS_FILE:
        yield f"calls {called}"
    if called in {"np.load", "numpy.load"}:
        keywords = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
        if keywords.get("allow_pickle") is not False:
            yield "may unpickle"
    if called in {"open", "io.open"} and "w" in (call.args[1].value if len(call.args) > 1 else "r"):  # type: ignore[attr-defined]
        yield "writes in place"
    if isinstance(call.func, ast.Attribute) and call.func.attr in {"write_text", "write_bytes"}:
        yield "writes in place"


@for_each(FILES)
def test_nothing_happens_at_import(path: Path) -> None:
    assert not facts_of(path).running, f"{name_of(path)} runs code at import: {facts_of(path).running}"


def runs_at_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    return isinstance(node, (ast.For, ast.While, ast.With, ast.Try))


@for_each([path for path in FILES if "formats" in path.relative_to(PACKAGE).parts])
def test_formats_know_nothing_of_the_scan(path: Path) -> None:
    found = [name for name in facts_of(path).imports if name.startswith("onelook.data.scan")]
    assert not found, f"{name_of(path)} imports {found}"


def test_no_folder_without_a_subject() -> None:
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(PACKAGE).parts}
    assert not names & BANNED_FOLDERS


def test_no_import_cycle() -> None:
    graph = {}
    for path in FILES:
        module = ".".join(["onelook", *path.relative_to(PACKAGE).with_suffix("").parts])
        module = module.removesuffix(".__init__")
        graph[module] = set(facts_of(path).top_level) - {module}
    visiting: set[str] = set()
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in visiting, f"import cycle: {' -> '.join([*trail, module])}"
        if module in done or module not in graph:
            return
        visiting.add(module)
        for other in graph[module]:
            visit(other, (*trail, module))
        visiting.remove(module)
        done.add(module)

    for module in graph:
        visit(module, ())


def test_import_is_pure() -> None:
    """The package, `onelook report` and the help of a command load no torch, use no socket, start and write nothing."""
    program = (
        "import contextlib, io, sys, threading\n"
        "seen = []\n"
        "watched = ('socket.', 'subprocess.', 'os.system', 'os.posix_spawn', 'os.fork')\n"
        "sys.addaudithook(lambda event, args: seen.append((event, args)) if event.startswith(watched)"
        " or (event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wxa')) else None)\n"
        "import onelook, onelook.cli.main, onelook.cli.report\n"
        "for words in ['train', '--help'], ['val', '--nosuch'], ['convert', '--help']:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        onelook.cli.main.main(words)\n"
        "bad = [str(e) for e in seen if '/dev/null' not in str(e) and '__pycache__' not in str(e)]\n"
        "assert 'matplotlib' not in sys.modules, 'matplotlib was imported'\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "print('\\n'.join(bad))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    onelook_only = [line for line in result.stdout.splitlines() if "onelook" in line]
    assert not onelook_only
