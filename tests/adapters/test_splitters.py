"""Long texts cut inside the real frameworks; `make test-adapters` installs all."""

from __future__ import annotations

import pytest

from corom import Passage, Splitter
from corom.errors import InputError

LONG = "头痛发热吃什么药。糖尿病患者要注意饮食，少吃甜食。\n" * 6
TEXTS = [LONG, "", "血压高", LONG]


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return tiny_checkpoint(passage_prefix="的")


@pytest.fixture
def splitter(checkpoint):
    return Splitter(checkpoint, max_tokens=40)


def parts(splitter, title=""):
    """Return the parts of TEXTS: the place of the text, start and text of each."""
    passages = [Passage(str(place), text, title) for place, text in enumerate(TEXTS)]
    return [(int(p.document), p.start, p.passage.text) for p in splitter.split(passages)]


def test_langchain(splitter):
    pytest.importorskip("langchain_core", reason="make test-adapters installs it")
    from langchain_core.documents import Document

    from corom.adapters.langchain import CoromSplitter

    cut = CoromSplitter(splitter)
    documents = [Document(text, id=str(n), metadata={"at": n}) for n, text in enumerate(TEXTS)]
    found = cut.split_documents(iter(documents))
    told = [(d.metadata["at"], d.metadata["start_index"], d.page_content) for d in found]
    assert told == parts(splitter)
    assert len(found) > len(TEXTS)
    assert {d.id for d in found} == {None}  # ids are one document's each
    assert documents[0].metadata == {"at": 0}
    assert cut.transform_documents(documents) == found
    assert cut.split_documents([]) == []
    assert cut.split_text(LONG) == [text for place, _, text in parts(splitter) if place == 0]
    with pytest.raises(InputError, match="chunk_size"):
        cut.transform_documents(documents, chunk_size=3)


def test_llamaindex(splitter):
    pytest.importorskip("llama_index.core", reason="make test-adapters installs it")
    from llama_index.core import Document
    from llama_index.core.ingestion import IngestionPipeline

    from corom.adapters.llamaindex import CoromSplitter

    cut = CoromSplitter(splitter)
    nodes = cut.get_nodes_from_documents([Document(text=text) for text in TEXTS])
    assert [(n.start_char_idx, n.text) for n in nodes] == [at[1:] for at in parts(splitter)]
    assert cut.get_nodes_from_documents([]) == []
    titled = [Document(text=text, metadata={"title": "高血压"}) for text in TEXTS]
    nodes = IngestionPipeline(transformations=[cut]).run(documents=titled)
    assert [n.text for n in nodes] == [at[2] for at in parts(splitter, "title: 高血压")]
    assert all(n.metadata == {"title": "高血压"} for n in nodes)
    whole = [n.get_content("embed") for n in nodes]
    assert all(tokens.is_whole for tokens in Splitter.split(splitter, named(whole)))
    wordy = [Document(text=LONG, metadata={"title": "高血压" * 20})]
    with pytest.raises(InputError, match="more than half of the 40 tokens"):
        cut.get_nodes_from_documents(wordy)


def named(texts):
    return [Passage(str(place), text) for place, text in enumerate(texts)]


def test_haystack(checkpoint, splitter):
    pytest.importorskip("haystack", reason="make test-adapters installs it")
    from haystack import Document, Pipeline

    from corom.adapters.haystack import CoromSplitter

    cut = CoromSplitter(str(checkpoint.folder), max_tokens=40, meta_fields=["title"])
    pipeline = Pipeline()
    pipeline.add_component("cut", cut)
    pipeline = Pipeline.loads(pipeline.dumps(), allowed_modules=["corom.adapters.haystack"])
    documents = [
        Document(content=text or None, meta={"title": "高血压", "at": n})
        for n, text in enumerate(TEXTS)
    ]
    found = pipeline.run({"cut": {"documents": documents}})["cut"]["documents"]
    told = [(d.meta["at"], d.meta["split_idx_start"], d.content) for d in found]
    assert told == parts(splitter, "高血压")
    assert [d.meta["source_id"] for d in found] == [documents[d.meta["at"]].id for d in found]
    last = [d.meta["split_id"] for d in found if d.meta["at"] == 3]
    assert last == list(range(len(last)))
    assert len({d.id for d in found}) == len(found)
    assert documents[0].meta == {"title": "高血压", "at": 0}
    assert cut.run(documents=[])["documents"] == []
    wordy = Document(content=LONG, meta={"title": "高血压" * 20})
    with pytest.raises(InputError, match="more than half of the 40 tokens"):
        cut.run(documents=[wordy])
