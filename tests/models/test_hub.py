"""corom.models.hub against local servers that speak like ModelScope and Hugging Face."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from huggingface_hub import constants

from corom import downloads
from corom.errors import DownloadError, InputError, MissingExtraError
from corom.hubs import DownloadProgress
from corom.models.checkpoint import load_checkpoint
from corom.models.hub import from_hugging_face, from_modelscope
from local_server import Handler, serving

NAME = "damo/nlp_corom_sentence-embedding_chinese-tiny-medical"
API = f"/api/v1/models/{NAME}/repo"


class ModelScope(Handler):
    def answer(self):
        server, parts = self.server, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        server.seen.append((parts.path, query, dict(self.headers)))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
        elif query.get("Revision") not in ("master", "v1.0"):
            self.send_error(404)
        elif parts.path == f"{API}/files":
            self.send_body(json.dumps(server.listing()).encode())
        elif parts.path == API and query.get("FilePath") in server.files:
            path = query["FilePath"]
            self.send_body(server.files[path], upto=server.cuts.pop(path, None))
        else:
            self.send_error(404)


@pytest.fixture
def files(tiny_checkpoint):
    folder = tiny_checkpoint().folder
    extra = {"README.md": "卡片".encode(), "modeling.py": b"evil()", "onnx/config.json": b"{}"}
    return {path.name: path.read_bytes() for path in folder.iterdir()} | extra


@pytest.fixture
def modelscope(files, monkeypatch, tmp_path):
    with serving(ModelScope) as server:
        server.files, server.statuses, server.cuts, server.wrong = dict(files), [], {}, {}
        server.listing = lambda: listing(server)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
        yield server


def listing(server):
    entries = [
        {
            "Path": path,
            "Type": "blob",
            "Size": len(body),
            "Sha256": server.wrong.get(path, hashlib.sha256(body).hexdigest()),
        }
        for path, body in server.files.items()
    ]
    return {"Data": {"Files": [*entries, {"Path": "onnx", "Type": "tree"}]}, "Success": True}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    for name in ("COROM_OFFLINE", "HF_HUB_OFFLINE", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def fetched(server):
    return [query["FilePath"] for _, query, _ in server.seen if "FilePath" in query]


# --- ModelScope


def test_a_model_is_fetched_once_without_code(modelscope, tmp_path, files):
    told = []
    folder = from_modelscope(NAME, progress=told.append)
    assert folder == tmp_path / "cache" / "models" / NAME
    wanted = set(files) - {"modeling.py", "onnx/config.json"}
    assert set(fetched(modelscope)) == wanted
    assert {path.name for path in folder.iterdir()} == wanted | {".corom.json"}
    assert load_checkpoint(folder).load_weights()
    size = len(files["model.safetensors"])
    assert DownloadProgress("model.safetensors", size, size) in told
    modelscope.seen.clear()
    assert from_modelscope(NAME) == folder
    assert modelscope.seen == []


def test_an_interrupted_download_goes_on_where_it_stopped(modelscope, monkeypatch, tmp_path):
    modelscope.cuts = {"model.safetensors": 10_000}
    go_on = downloads._continue

    def killed(source, part, **options):
        if part.name == "model.safetensors.part" and part.exists():
            raise KeyboardInterrupt
        go_on(source, part, **options)

    monkeypatch.setattr(downloads, "_continue", killed)
    with pytest.raises(KeyboardInterrupt):
        from_modelscope(NAME)
    monkeypatch.setattr(downloads, "_continue", go_on)
    folder = tmp_path / "cache" / "models" / NAME
    assert (folder / "model.safetensors.part").stat().st_size == 10_000
    with pytest.raises(DownloadError, match="was not allowed"):
        from_modelscope(NAME, download=False)  # half a model is none
    there = {path.name for path in folder.iterdir()}
    modelscope.seen.clear()
    assert load_checkpoint(from_modelscope(NAME)).load_weights()
    assert not there & set(fetched(modelscope))
    ranges = {query.get("FilePath"): headers.get("Range") for _, query, headers in modelscope.seen}
    assert ranges["model.safetensors"] == "bytes=10000-"


def test_only_pickled_weights_are_fetched_when_there_are_no_others(modelscope):
    modelscope.files["pytorch_model.bin"] = b"pickle"
    from_modelscope(NAME)
    assert "pytorch_model.bin" not in fetched(modelscope)
    del modelscope.files["model.safetensors"]
    folder = from_modelscope(NAME, revision="v1.0")
    assert (folder / "pytorch_model.bin").read_bytes() == b"pickle"


def test_a_dense_comes_along_and_its_safetensors_are_not_the_models(modelscope):
    dense = {"2_Dense/config.json": b"{}", "2_Dense/model.safetensors": b"dense"}
    modelscope.files |= dense
    folder = from_modelscope(NAME)
    assert {name: (folder / name).read_bytes() for name in dense} == dense
    modelscope.files["pytorch_model.bin"] = b"pickle"
    del modelscope.files["model.safetensors"]
    assert (from_modelscope(NAME, revision="v1.0") / "pytorch_model.bin").is_file()


def test_a_pinned_revision_has_a_folder_of_its_own(modelscope, tmp_path):
    folder = from_modelscope(NAME, revision="v1.0")
    assert folder == tmp_path / "cache" / "models" / f"{NAME}@v1.0"
    assert {query["Revision"] for _, query, _ in modelscope.seen} == {"v1.0"}
    assert json.loads((folder / ".corom.json").read_text())["revision"] == "v1.0"
    modelscope.seen.clear()
    assert from_modelscope(NAME, revision="v1.0") == folder
    assert modelscope.seen == []


def test_dots_in_names_become_modelscopes_underscores(modelscope, tmp_path):
    folder = tmp_path / "cache" / "models" / "iic" / "bge-v1___5"
    folder.mkdir(parents=True)
    for name, body in modelscope.files.items():
        if "/" not in name:
            (folder / name).write_bytes(body)
    assert from_modelscope("iic/bge-v1.5") == folder  # modelscope itself fetched it before
    assert modelscope.seen == []


def test_the_token_is_sent_and_never_told(modelscope, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "sesame")
    from_modelscope(NAME)
    headers = modelscope.seen[0][2]
    assert headers["Authorization"] == "Bearer sesame"
    assert headers["Cookie"] == "m_session_id=sesame"
    with pytest.raises(DownloadError) as error:
        from_modelscope(NAME, revision="absent")
    assert "sesame" not in str(error.value)


def test_a_server_that_stumbles_is_asked_again(modelscope):
    modelscope.statuses = [500, 503, 429]
    assert load_checkpoint(from_modelscope(NAME))


def test_a_server_that_stays_down_is_named(modelscope):
    modelscope.statuses = [500] * 50
    with pytest.raises(
        DownloadError, match=rf"{modelscope.url}.*could not be fetched \(HTTP 500\)"
    ):
        from_modelscope(NAME)


def test_an_unknown_model_or_revision_is_refused(modelscope, monkeypatch):
    with pytest.raises(DownloadError, match=r"absent/repo/files answered HTTP 404"):
        from_modelscope("damo/absent")
    modelscope.listing = lambda: {"Code": 10010205001, "Success": False, "Data": None}
    with pytest.raises(DownloadError, match=f"lists no files for {NAME} at revision master"):
        from_modelscope(NAME)
    modelscope.listing = list  # an empty one
    with pytest.raises(DownloadError, match="lists no files"):
        from_modelscope(NAME)
    monkeypatch.setattr(json, "dumps", lambda _: "<html>log in to this network</html>")
    with pytest.raises(DownloadError, match="lists no files"):
        from_modelscope(NAME)


def test_a_wrong_checksum_is_refused_and_not_kept(modelscope, tmp_path):
    modelscope.wrong = {"model.safetensors": "0" * 64}
    with pytest.raises(DownloadError, match=r"has SHA-256 .*, expected 0000"):
        from_modelscope(NAME)
    folder = tmp_path / "cache" / "models" / NAME
    assert not (folder / "model.safetensors").exists()
    modelscope.wrong = {}
    assert load_checkpoint(from_modelscope(NAME)).load_weights()


def test_a_repository_without_weights_is_refused(modelscope):
    del modelscope.files["model.safetensors"]
    with pytest.raises(DownloadError, match=r"has neither model\.safetensors nor pytorch_model"):
        from_modelscope(NAME)


@pytest.mark.parametrize(
    "path", ["../model-x.safetensors", "model-/../../x.safetensors", "/a_Pooling/config.json"]
)
def test_the_server_cannot_write_elsewhere(modelscope, tmp_path, path):
    modelscope.files[path] = b"x"
    from_modelscope(NAME)
    assert path not in fetched(modelscope)


def test_the_server_cannot_write_through_a_link(modelscope, tmp_path):
    folder = tmp_path / "cache" / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "1_Pooling").symlink_to(tmp_path)
    modelscope.files["1_Pooling/config.json"] = b"{}"
    with pytest.raises(DownloadError, match="outside of its folder"):
        from_modelscope(NAME)
    assert not (tmp_path / "config.json").exists()
    assert fetched(modelscope) == []


@pytest.mark.parametrize("variable", ["COROM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_means_no_connection(modelscope, monkeypatch, variable, tmp_path):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match=f"{variable} forbids a download") as error:
        from_modelscope(NAME)
    assert str(tmp_path / "cache" / "models" / NAME) in str(error.value)
    monkeypatch.delenv(variable)
    with pytest.raises(DownloadError, match="downloading was not allowed"):
        from_modelscope(NAME, download=False)
    assert modelscope.seen == []
    folder = from_modelscope(NAME)
    monkeypatch.setenv(variable, "1")
    assert from_modelscope(NAME, download=False) == folder


def test_two_at_once_fetch_once(modelscope):
    threads = [threading.Thread(target=from_modelscope, args=(NAME,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched(modelscope).count("model.safetensors") == 1


@pytest.mark.parametrize("revision", ["", "../x", "a b", "-x", "v\n", "版本"])
def test_impossible_revisions_are_refused(revision):
    for fetch in (from_modelscope, from_hugging_face):
        with pytest.raises(InputError, match="cannot be a tag, branch or commit"):
            fetch(NAME, revision=revision)


def test_the_extra_is_named_when_it_is_missing(modelscope, monkeypatch):
    for module in ("filelock", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, module, None)
    for fetch in (from_modelscope, from_hugging_face):
        with pytest.raises(MissingExtraError, match=r"pip install 'corom\[hub\]'"):
            fetch(NAME)


# --- Hugging Face

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "BAAI/bge-small-zh-v1.5"


class HuggingFace(Handler):
    def answer(self):
        server, path = self.server, urlsplit(self.path).path
        server.seen.append((self.command, path))
        known = path.startswith((f"/api/models/{OTHER}", f"/{OTHER}/resolve/{SHA}/"))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
        elif not known or "absent" in path:
            self.send_error(404)
        elif "/tree/" in path:
            sizes = [{"path": name, "size": len(body)} for name, body in server.files.items()]
            self.send_json([{"type": "file", "oid": etag(e["path"]), **e} for e in sizes])
        elif path.startswith("/api"):
            files = [{"rfilename": name} for name in server.files]
            self.send_json({"id": OTHER, "sha": SHA, "siblings": files})
        else:
            name = path.partition(f"/{SHA}/")[2]
            self.send_json(server.files[name], name=name)

    def send_json(self, body, name=""):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{etag(name)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def etag(name):
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def hugging_face(files, monkeypatch, tmp_path):
    with serving(HuggingFace) as server:
        server.files, server.statuses = dict(files), []
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def test_hugging_face_fetches_once_without_code_or_a_word(hugging_face, files, capfd):
    told = []
    folder = from_hugging_face(OTHER, progress=told.append)
    assert {path.name for path in folder.iterdir()} == set(files) - {
        "modeling.py",
        "onnx/config.json",
    }
    assert load_checkpoint(folder).load_weights()
    total = sum(len(body) for name, body in files.items() if (folder / name).exists())
    assert max(told) == DownloadProgress(OTHER, total, total)
    assert capfd.readouterr() == ("", "")
    hugging_face.seen.clear()
    assert from_hugging_face(OTHER) == folder
    assert from_hugging_face(OTHER, revision=SHA) == folder
    assert hugging_face.seen == []


def test_hugging_face_fetches_pickled_weights_if_there_are_no_others(
    hugging_face, monkeypatch, tmp_path
):
    hugging_face.files["pytorch_model.bin"] = b"pickle"
    folder = from_hugging_face(OTHER)
    assert not (folder / "pytorch_model.bin").exists()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    del hugging_face.files["model.safetensors"]
    folder = from_hugging_face(OTHER)
    assert (folder / "pytorch_model.bin").read_bytes() == b"pickle"
    hugging_face.seen.clear()
    assert from_hugging_face(OTHER) == folder
    assert hugging_face.seen == []


def test_hugging_face_fetches_a_dense_whatever_its_form(hugging_face):
    dense = {"2_Dense/config.json": b"{}", "2_Dense/pytorch_model.bin": b"pickle"}
    hugging_face.files |= dense
    folder = from_hugging_face(OTHER)
    assert {name: (folder / name).read_bytes() for name in dense} == dense


def test_hugging_face_refusals_name_model_and_status(hugging_face, monkeypatch):
    monkeypatch.setattr(constants, "HF_TOKEN", "sesame", raising=False)
    with pytest.raises(DownloadError, match=r"BAAI/absent could not be fetched .*HTTP 404"):
        from_hugging_face("BAAI/absent")
    with pytest.raises(DownloadError, match=r"could not be fetched .*HTTP 404"):
        from_hugging_face(OTHER, revision="absent")
    del hugging_face.files["model.safetensors"]
    with pytest.raises(DownloadError, match=r"has neither model\.safetensors nor pytorch_model"):
        from_hugging_face(OTHER)


@pytest.mark.parametrize("variable", ["COROM_OFFLINE", "HF_HUB_OFFLINE"])
def test_hugging_face_offline_means_no_connection(hugging_face, monkeypatch, variable, tmp_path):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match=f"{variable} forbids a download") as error:
        from_hugging_face(OTHER)
    assert str(tmp_path / "cache") in str(error.value)
    monkeypatch.delenv(variable)
    with pytest.raises(DownloadError, match="downloading was not allowed"):
        from_hugging_face(OTHER, download=False)
    assert hugging_face.seen == []
    folder = from_hugging_face(OTHER)
    monkeypatch.setenv(variable, "1")
    assert from_hugging_face(OTHER) == folder
