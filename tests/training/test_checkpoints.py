from __future__ import annotations

import errno
import resource

import pytest

torch = pytest.importorskip("torch")

from corom.errors import ArtifactError  # noqa: E402
from corom.training.checkpoints import (  # noqa: E402
    Progressed,
    checkpoint_folder,
    checkpoints,
    load_state,
    prune,
    save_state,
)

pytestmark = pytest.mark.torch


def make(*, steps=3, size=4):
    torch.manual_seed(0)
    model = torch.nn.Linear(size, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(steps):
        model(torch.randn(3, size)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def test_a_state_comes_back_whole(tmp_path):
    model, optimizer = make()
    progressed = Progressed(step=3, best_dev=0.1 + 0.2, loss_sum=1 / 3, dev={"3": 0.1 + 0.2})
    saved = save_state(tmp_path, model, optimizer=optimizer, progressed=progressed)
    other, fresh = make(steps=0)
    assert load_state(saved, other, optimizer=fresh) == progressed
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        for key, value in optimizer.state[ours].items():
            assert torch.equal(value, fresh.state[theirs][key])
    for one, its in ((model, optimizer), (other, fresh)):
        one(torch.ones(3, 4)).sum().backward()
        its.step()
    assert torch.equal(model.weight, other.weight)


def test_before_the_first_step_there_are_no_moments(tmp_path):
    model, optimizer = make(steps=0)
    saved = save_state(tmp_path, model, optimizer=optimizer, progressed=Progressed())
    assert load_state(saved, model, optimizer=optimizer) == Progressed()


def test_damage_and_other_models_are_refused(tmp_path):
    model, optimizer = make()
    saved = save_state(tmp_path, model, optimizer=optimizer, progressed=Progressed(step=3))
    other, fresh = make(steps=0, size=5)
    with pytest.raises(ArtifactError, match="weights of another model"):
        load_state(saved, other, optimizer=fresh)
    path = saved / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ArtifactError, match=r"optimizer\.safetensors is corrupt.*; remove .*00003: "
    ):
        load_state(saved, model, optimizer=optimizer)


def test_the_newest_and_the_best_are_kept_and_drafts_are_none(tmp_path):
    model, optimizer = make()
    for step in (1, 2, 3, 4, 10):
        save_state(tmp_path, model, optimizer=optimizer, progressed=Progressed(step=step))
    half_removed = tmp_path / "checkpoints" / "step-00000099"
    half_removed.mkdir()
    (half_removed / "weights.safetensors").write_bytes(b"")
    prune(tmp_path, keep=2, best_step=2)
    assert not half_removed.exists()
    expected = [checkpoint_folder(tmp_path, step) for step in (2, 4, 10)]
    assert checkpoints(tmp_path) == expected
    assert checkpoints(tmp_path / "elsewhere") == []


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path):
    model, optimizer = make(size=4096)
    older = save_state(tmp_path, model, optimizer=optimizer, progressed=Progressed(step=1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"weights\.safetensors") as caught:
            save_state(tmp_path, model, optimizer=optimizer, progressed=Progressed(step=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert list((tmp_path / "checkpoints").iterdir()) == [older]
