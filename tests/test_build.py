"""The build hook: kernels where a C compiler is, a wheel without them where not."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import build_kernels
import pytest

from corom.engines.native_engine import LIBRARY

FOLDER = Path(__file__).parents[1] / build_kernels.FOLDER


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(FOLDER, tmp_path / build_kernels.FOLDER)
    (tmp_path / build_kernels.FOLDER / build_kernels.LIBRARY).unlink(missing_ok=True)
    return tmp_path


def build(root: Path) -> tuple[dict, list[str]]:
    """Run the hook; what it says of the wheel, and what it warns of."""
    warnings: list[str] = []
    app = SimpleNamespace(display_warning=warnings.append)
    hook = build_kernels.KernelsHook(str(root), {}, None, None, str(root), "wheel", app)
    data: dict = {"force_include": {}}
    hook.initialize("standard", data)
    return data, warnings


def test_a_build_that_failed_here_does_not_go_unseen() -> None:
    """For who installs it is only a warning."""
    assert build_kernels.obstacle() or LIBRARY.exists()


@pytest.mark.skipif(build_kernels.obstacle() is not None, reason="no C compiler")
def test_a_wheel_with_kernels_is_for_this_platform(root: Path) -> None:
    data, warnings = build(root)
    assert not warnings
    assert not data["pure_python"]
    assert data["tag"].startswith("py3-none-linux")
    (made, where), *_ = data["force_include"].items()
    assert Path(made).stat().st_size > 10_000
    assert where == "corom/engines/native/encoder.so"
    assert [path.name for path in (root / build_kernels.FOLDER).glob("*.so*")] == ["encoder.so"]


@pytest.mark.parametrize(
    ("compiler", "reason"), [("no-such-cc", "no C compiler"), ("false", "false failed")]
)
def test_without_a_compiler_the_wheel_is_for_all(root, monkeypatch, compiler, reason) -> None:
    monkeypatch.setenv("CC", compiler)
    stale = root / build_kernels.FOLDER / build_kernels.LIBRARY
    stale.write_bytes(b"of an earlier build")
    data, (warning,) = build(root)
    assert reason in warning
    assert data == {"force_include": {}}
    assert not stale.exists()


def test_other_systems_get_none(root, monkeypatch) -> None:
    monkeypatch.setattr(build_kernels.platform, "machine", lambda: "aarch64")
    _, (warning,) = build(root)
    assert "aarch64" in warning
