"""What the base install can do: everything here runs with every optional package out of reach."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# The modules that only an extra brings (tokenizers itself brings huggingface_hub and filelock).
OPTIONAL = (
    *("torch", "sklearn", "tantivy", "rjieba", "faiss", "ir_measures", "matplotlib", "accelerate"),
    *("tensorboard", "zstandard", "fastapi", "prometheus_client", "uvicorn", "scipy", "pytest"),
)
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", BLOCK + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)


def test_the_base_is_light() -> None:
    names = {line.split(">")[0] for line in PROJECT["dependencies"]}
    assert names == {"numpy", "openvino", "rich", "safetensors", "tokenizers", "typer"}


def test_demo_runs() -> None:
    done = bare("sys.argv = ['demo.py']; exec(open('examples/demo.py', encoding='utf-8').read())")
    assert done.returncode == 0, done.stderr
    assert "上消化道出血内镜止血" in done.stdout


def test_the_pipeline_and_the_command_line_run() -> None:
    done = bare(
        "from corom.modelscope import pipeline\n"
        "result = pipeline()({'source_sentence': ['头痛', '头疼', '肾结石']})\n"
        "assert result['scores'][0] > result['scores'][1]\n"
        "from corom.cli import main\n"
        "sys.exit(main(['rank', '头痛', '头疼', '肾结石']))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("头疼")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["cluster", "src/corom/bundled/medical.jsonl", "-n", "3"], "cluster"),
        (["rank", "头痛", "头疼", "--device", "cuda"], ""),
    ],
)
def test_what_needs_an_extra_names_it(arguments: list[str], extra: str) -> None:
    done = bare(f"from corom.cli import main; sys.exit(main({arguments!r}))")
    assert done.returncode in (1, 2)
    assert f"corom[{extra}]" in done.stderr or not extra
    assert "Traceback" not in done.stderr


def test_nothing_optional_is_imported_by_any_module_on_its_own() -> None:
    modules = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in (ROOT / "src" / "corom").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    ]
    code = (
        "import importlib\n"
        f"for name in {modules!r}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError:\n"
        "        print(name)\n"
    )
    done = bare(code)
    assert done.returncode == 0, done.stderr
    # Torch or server code from end to end, imported by what asked for the extra before.
    parts = ("corom.training.", "corom.serving.", "corom.engines.torch_", "corom.engines.packing")
    # Subclasses of a framework's own classes, for those who have it.
    parts += tuple(f"corom.adapters.{name}" for name in ("haystack", "langchain", "llamaindex"))
    assert [name for name in done.stdout.split() if not name.startswith(parts)] == []
