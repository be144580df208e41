from __future__ import annotations

from pathlib import Path

import pytest

from corom.errors import ArtifactError, DownloadError, InputError
from corom.models import EMBEDDED, hub, lasting_name, names
from corom.models.names import resolve


@pytest.fixture
def asked(monkeypatch):
    """What the hubs are asked for; they answer with a folder of their name."""
    asked = []
    for function in ("from_modelscope", "from_hugging_face"):

        def answer(name, *, function=function, **options):
            asked.append((function, name, options))
            return Path(function)

        monkeypatch.setattr(hub, function, answer)
    return asked


def test_a_folder_is_itself(tmp_path, asked, monkeypatch):
    folder = tmp_path / "damo" / "model"
    folder.mkdir(parents=True)
    assert resolve(str(folder)) == folder
    assert resolve(folder) == folder
    monkeypatch.chdir(tmp_path)
    assert resolve("damo/model") == Path("damo/model")  # a folder comes before a hub
    assert resolve(".") == Path()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/damo") == tmp_path / "damo"
    assert asked == []


def test_the_embedded_model_is_in_the_package(asked):
    assert resolve(EMBEDDED) == Path(names.__file__).parent / "embedded" / EMBEDDED
    assert asked == []


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("damo/nlp_corom_sentence-embedding_chinese-base-medical", "from_modelscope"),
        ("iic/nlp_corom_sentence-embedding_chinese-tiny-medical", "from_modelscope"),
        ("BAAI/bge-small-zh-v1.5", "from_hugging_face"),
        ("a/b", "from_hugging_face"),
    ],
)
def test_hubs_are_told_by_the_owner(asked, name, function):
    options = {"revision": "v1", "download": False, "progress": print}
    assert resolve(name, **options) == Path(function)
    assert asked == [(function, name, options)]


@pytest.mark.parametrize(
    "name",
    ["", "corom", "medical", "a/b/c", "damo/", "模型/医疗", "a b/c", "-x/y", "a/..", "x\n"],
)
def test_what_names_no_model_is_refused_with_what_would(asked, name):
    with pytest.raises(InputError, match=r"corom-medical, damo/… or iic/… .* and owner/name"):
        resolve(name)
    assert asked == []


@pytest.mark.parametrize(
    "name", ["./absent", "../absent", "/absent/model", "~/absent", "~nobody-here/absent", "a\\b"]
)
def test_a_path_that_is_not_there_is_not_looked_up(asked, name):
    with pytest.raises(ArtifactError, match="there is no such folder"):
        resolve(name)
    with pytest.raises(ArtifactError, match="there is no such folder"):
        resolve(Path("owner/name"))
    assert asked == []


def test_a_folder_that_lacks_the_model_is_no_owner_of_a_hub(asked, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ArtifactError, match="runs is a folder here and holds no model folder runs/a"
    ):
        resolve("runs/a")
    assert asked == []


def test_what_a_hub_lacks_is_no_folder_here_either(monkeypatch):
    def refuse(name, **options):
        raise DownloadError(f"{name} could not be fetched")

    monkeypatch.setattr(hub, "from_hugging_face", refuse)
    with pytest.raises(DownloadError, match=r"^there is no folder a/b here, and a/b could not be"):
        resolve("a/b")


def test_what_is_here_has_no_revision(tmp_path):
    for name in (str(tmp_path), EMBEDDED):
        with pytest.raises(InputError, match="has no revision 'v1'; leave it out"):
            resolve(name, revision="v1")


def test_a_name_that_lasts_is_a_folder_s_path(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert lasting_name("mine") == str(tmp_path.resolve() / "mine")
    assert lasting_name(EMBEDDED) == EMBEDDED
    assert lasting_name("damo/nlp_corom") == "damo/nlp_corom"
