"""The adapters inside the real frameworks, and the frameworks' own clients against a real server.

Each part is skipped where its framework is not installed; `make test-adapters` installs all.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from corom import Encoder, Passage, Reranker, open_index
from corom.errors import InputError
from corom.index import IndexSpec
from corom.index.building import build_index
from corom.search import Searcher
from web.browser import serving

TEXTS = ["头痛发热吃什么药", "糖尿病", "血" * 300, "头痛发热吃什么药"]


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return tiny_checkpoint(query_prefix="头", passage_prefix="的", normalize=True)


@pytest.fixture
def encoder(checkpoint):
    return Encoder(checkpoint, precision="fp32")


def same(found, truth):
    assert np.abs(np.array(found) - truth).max() < 1e-5


def test_langchain(encoder):
    pytest.importorskip("langchain_core", reason="make test-adapters installs it")
    from langchain_core.vectorstores import InMemoryVectorStore

    from corom.adapters.langchain import CoromEmbeddings

    embeddings = CoromEmbeddings(encoder)
    same(embeddings.embed_documents(TEXTS), encoder.encode_passages(TEXTS))
    same(embeddings.embed_query(TEXTS[0]), encoder.encode_queries(TEXTS[:1])[0])
    same(asyncio.run(embeddings.aembed_documents(TEXTS)), encoder.encode_passages(TEXTS))
    assert embeddings.embed_documents([]) == []
    assert len(CoromEmbeddings(encoder, truncate_dim=8).embed_query("头")) == 8
    with pytest.raises(InputError):
        embeddings.embed_documents("头痛")
    store = InMemoryVectorStore(embeddings)
    store.add_texts(TEXTS[:3])
    best = (encoder.encode_queries(TEXTS[1:2]) @ encoder.encode_passages(TEXTS[:3]).T).argmax()
    assert store.similarity_search(TEXTS[1], k=1)[0].page_content == TEXTS[best]


def test_llamaindex(encoder):
    pytest.importorskip("llama_index.core", reason="make test-adapters installs it")
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.llms import MockLLM

    from corom.adapters.llamaindex import CoromEmbedding

    embedding = CoromEmbedding(encoder)
    assert embedding.model_name == "tiny"
    assert embedding.to_dict()["class_name"] == "CoromEmbedding"
    same(embedding.get_text_embedding_batch(TEXTS), encoder.encode_passages(TEXTS))
    same(embedding.get_text_embedding(TEXTS[0]), encoder.encode_passages(TEXTS[:1])[0])
    same(embedding.get_query_embedding(TEXTS[0]), encoder.encode_queries(TEXTS[:1])[0])
    same(asyncio.run(embedding.aget_query_embedding("头")), encoder.encode_queries(["头"])[0])
    found = asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
    same(found, encoder.encode_passages(TEXTS))
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS[:3]], embed_model=embedding
    )
    hits = index.as_retriever(similarity_top_k=1, llm=MockLLM()).retrieve(TEXTS[1])
    best = (encoder.encode_queries(TEXTS[1:2]) @ encoder.encode_passages(TEXTS[:3]).T).argmax()
    assert hits[0].node.text == TEXTS[best]


def written_and_read(component):
    """Return the component of a pipeline that was written to a text and read back."""
    from haystack import Pipeline

    pipeline = Pipeline()
    pipeline.add_component("only", component)
    text = pipeline.dumps()
    return Pipeline.loads(text, allowed_modules=["corom.adapters.haystack"]).get_component("only")


def test_haystack(encoder, checkpoint):
    pytest.importorskip("haystack", reason="make test-adapters installs it")
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from corom.adapters.haystack import CoromDocumentEmbedder, CoromTextEmbedder

    folder = str(checkpoint.folder)
    documents = [Document(content=text, meta={"title": "高血压"}) for text in TEXTS[:3]]
    embedder = CoromDocumentEmbedder(folder, precision="fp32", meta_fields=["title"])
    embedder = written_and_read(embedder)
    assert (embedder.max_length, embedder.meta_fields) == (None, ["title"])
    found = embedder.run(documents=documents)["documents"]
    titled = encoder.encode_passages(f"高血压 {text}" for text in TEXTS[:3])
    same([document.embedding for document in found], titled)
    assert documents[0].embedding is None
    assert embedder.run(documents=[])["documents"] == []
    store = InMemoryDocumentStore()
    store.write_documents(found)
    pipeline = Pipeline()
    pipeline.add_component("embedder", CoromTextEmbedder(folder, precision="fp32"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline = Pipeline.loads(pipeline.dumps(), allowed_modules=["corom.adapters.haystack"])
    query = encoder.encode_queries(TEXTS[1:2])
    hits = pipeline.run({"embedder": {"text": TEXTS[1]}})["retriever"]["documents"]
    assert hits[0].content == TEXTS[(query @ titled.T).argmax()]
    same(pipeline.get_component("embedder").run(text=TEXTS[1])["embedding"], query[0])


@pytest.fixture
def reranker(tiny_reranker):
    return Reranker.load(tiny_reranker, precision="fp32")


def ranked(reranker, texts, k):
    return reranker.rank(TEXTS[0], [Passage(str(n), text) for n, text in enumerate(texts)], k=k)


def test_langchain_reranker(reranker):
    pytest.importorskip("langchain_core", reason="make test-adapters installs it")
    from langchain_core.documents import Document

    from corom.adapters.langchain import CoromReranker

    documents = [Document(text, metadata={"at": n}) for n, text in enumerate(TEXTS)]
    found = CoromReranker(reranker=reranker, top_n=3).compress_documents(documents, TEXTS[0])
    truth = ranked(reranker, TEXTS, 3)
    assert [document.metadata["at"] for document in found] == [int(hit.id) for hit in truth]
    same([document.metadata["relevance_score"] for document in found], [hit.score for hit in truth])
    assert documents[0].metadata == {"at": 0}
    every = CoromReranker(reranker=reranker)
    assert len(asyncio.run(every.acompress_documents(documents, TEXTS[0]))) == 4
    assert every.compress_documents([], TEXTS[0]) == []
    for wrong in ({"top_n": 0}, {"top_k": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CoromReranker(reranker=reranker, **wrong)


def test_llamaindex_reranker(reranker):
    pytest.importorskip("llama_index.core", reason="make test-adapters installs it")
    from llama_index.core.schema import NodeWithScore, TextNode

    from corom.adapters.llamaindex import CoromReranker

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(n))) for n, text in enumerate(TEXTS)]
    found = CoromReranker(reranker, top_n=3).postprocess_nodes(nodes, query_str=TEXTS[0])
    truth = ranked(reranker, TEXTS, 3)
    assert [node.node.node_id for node in found] == [hit.id for hit in truth]
    same([node.score for node in found], [hit.score for hit in truth])
    assert nodes[0].score is None
    assert CoromReranker(reranker).postprocess_nodes([], query_str=TEXTS[0]) == []
    titled = [NodeWithScore(node=TextNode(text="头痛", metadata={"title": "高血压"}))]
    score = CoromReranker(reranker).postprocess_nodes(titled, query_str="头")[0].score
    same(score, reranker.score(["头"], ["title: 高血压\n\n头痛"])[0])
    with pytest.raises(InputError, match="query_str"):
        CoromReranker(reranker).postprocess_nodes(nodes)


def test_haystack_ranker(reranker, tiny_reranker):
    pytest.importorskip("haystack", reason="make test-adapters installs it")
    from haystack import Document

    from corom.adapters.haystack import CoromRanker

    documents = [
        Document(content=text, id=str(n), meta={"title": "高血压"}) for n, text in enumerate(TEXTS)
    ]
    ranker = written_and_read(CoromRanker(str(tiny_reranker), precision="fp32", top_k=3))
    found = ranker.run(query=TEXTS[0], documents=documents)["documents"]
    truth = ranked(reranker, TEXTS, 3)
    assert [document.id for document in found] == [hit.id for hit in truth]
    same([document.score for document in found], [hit.score for hit in truth])
    assert documents[0].score is None
    assert len(ranker.run(query=TEXTS[0], documents=documents, top_k=1)["documents"]) == 1
    assert ranker.run(query=TEXTS[0], documents=[])["documents"] == []
    titled = CoromRanker(str(tiny_reranker), precision="fp32", meta_fields=["title"])
    found = titled.run(query=TEXTS[0], documents=documents)["documents"]
    truth = ranked(reranker, [f"高血压 {text}" for text in TEXTS], 4)
    assert [document.id for document in found] == [hit.id for hit in truth]


@pytest.fixture
def index(encoder, checkpoint, tmp_path):
    spec = IndexSpec.for_encoder(encoder, normalized=True, model=str(checkpoint.folder))
    titles = ["高血压", "", ""]
    build_index(tmp_path / "index", map(Passage, "abc", TEXTS, titles), spec=spec, encoder=encoder)
    return tmp_path / "index"


@pytest.fixture
def searcher(index, encoder):
    return Searcher(open_index(index), encoder=encoder)


def test_langchain_retriever(searcher):
    pytest.importorskip("langchain_core", reason="make test-adapters installs it")
    from corom.adapters.langchain import CoromRetriever

    [truth] = searcher.search(TEXTS[:1], 2)
    found = CoromRetriever(searcher=searcher, k=2).invoke(TEXTS[0])
    assert [(one.id, one.page_content) for one in found] == [(one.id, one.text) for one in truth]
    for one, hit in zip(found, truth, strict=True):
        own = {"title": hit.title} if hit.title else {}
        assert one.metadata == {**own, "relevance_score": hit.score}
    assert len(asyncio.run(CoromRetriever(searcher=searcher).ainvoke(TEXTS[0]))) == 3
    with pytest.raises(ValueError, match="k"):
        CoromRetriever(searcher=searcher, k=0)


def test_llamaindex_retriever(searcher):
    pytest.importorskip("llama_index.core", reason="make test-adapters installs it")
    from corom.adapters.llamaindex import CoromRetriever

    [truth] = searcher.search(TEXTS[:1], 2)
    found = CoromRetriever(searcher, k=2).retrieve(TEXTS[0])
    assert [(one.node.node_id, one.node.text, one.score) for one in found] == [
        (one.id, one.text, one.score) for one in truth
    ]
    titled = next(one for one in CoromRetriever(searcher).retrieve("头") if one.node.node_id == "a")
    assert titled.node.metadata == {"title": "高血压"}


def test_llamaindex_leaves_the_event_loop_to_others(searcher, encoder, monkeypatch):
    pytest.importorskip("llama_index.core", reason="make test-adapters installs it")
    from corom.adapters.llamaindex import CoromEmbedding, CoromRetriever

    loops = []

    def watched(real):
        def call(*args, **options):
            loops.append(asyncio._get_running_loop())
            return real(*args, **options)

        return call

    for name in ("encode_queries", "encode_passages"):
        monkeypatch.setattr(encoder, name, watched(getattr(encoder, name)))
    embedding = CoromEmbedding(encoder)
    assert len(asyncio.run(CoromRetriever(searcher).aretrieve(TEXTS[0]))) == 3
    same(asyncio.run(embedding.aget_text_embedding("头")), encoder.encode_passages(["头"])[0])
    same(asyncio.run(embedding.aget_query_embedding("头")), encoder.encode_queries(["头"])[0])
    assert set(loops) == {None}


def test_haystack_retriever(searcher, index, tmp_path):
    pytest.importorskip("haystack", reason="make test-adapters installs it")
    from corom.adapters.haystack import CoromRetriever

    [truth] = searcher.search(TEXTS[:1], 2)
    retriever = written_and_read(CoromRetriever(str(index), precision="fp32", top_k=2))
    retriever.warm_up()
    found = retriever.run(query=TEXTS[0])["documents"]
    assert [(one.id, one.content) for one in found] == [(one.id, one.text) for one in truth]
    same([one.score for one in found], [one.score for one in truth])
    every = retriever.run(query=TEXTS[0], top_k=9)["documents"]
    assert {one.id: one.meta for one in every} == {"a": {"title": "高血压"}, "b": {}, "c": {}}


@pytest.fixture
def address(encoder):
    pytest.importorskip("fastapi", reason="the serve extra is not installed")
    from corom.serving.service import Service
    from corom.serving.settings import ServeSettings

    with serving(Service(encoder, settings=ServeSettings(port=0))) as root:
        yield f"{root}v1"


def test_openai_client(encoder, address):
    openai = pytest.importorskip("openai", reason="not installed")
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        truth = encoder.encode_passages(TEXTS)
        for options in ({}, {"encoding_format": "float"}):  # the client's own default is base64
            found = client.embeddings.create(model="tiny", input=TEXTS, **options)
            same([item.embedding for item in found.data], truth)
        assert found.usage.prompt_tokens == sum(encoder.count_tokens(TEXTS))
        short = client.embeddings.create(model="tiny", input=TEXTS[0], dimensions=8)
        same(short.data[0].embedding, encoder.encode_passages(TEXTS[:1], truncate_dim=8)[0])
        query = client.embeddings.create(
            model="tiny", input=TEXTS[0], extra_body={"input_type": "query"}
        )
        same(query.data[0].embedding, encoder.encode_queries(TEXTS[:1])[0])
        assert [model.id for model in client.models.list()] == ["tiny"]
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model="tiny", input=[[1, 2, 3]])
        with pytest.raises(openai.NotFoundError, match="tiny"):
            client.embeddings.create(model="gpt", input="头")
        with pytest.raises(openai.UnprocessableEntityError):
            client.embeddings.create(model="tiny", input="")


def test_langchains_openai_client(encoder, address):
    langchain = pytest.importorskip("langchain_openai", reason="make test-adapters installs it")
    embeddings = langchain.OpenAIEmbeddings(
        base_url=address, api_key="none", model="tiny", check_embedding_ctx_length=False
    )
    same(embeddings.embed_documents(TEXTS), encoder.encode_passages(TEXTS))
    same(embeddings.embed_query(TEXTS[0]), encoder.encode_passages(TEXTS[:1])[0])


def test_llamaindexs_openai_client(encoder, address):
    like = pytest.importorskip(
        "llama_index.embeddings.openai_like", reason="make test-adapters installs it"
    )
    embedding = like.OpenAILikeEmbedding(model_name="tiny", api_base=address, api_key="none")
    same(embedding.get_text_embedding_batch(TEXTS), encoder.encode_passages(TEXTS))


def test_haystacks_openai_client(encoder, address):
    pytest.importorskip("haystack", reason="make test-adapters installs it")
    from haystack.components.embedders import OpenAITextEmbedder
    from haystack.utils import Secret

    embedder = OpenAITextEmbedder(
        model="tiny", api_base_url=address, api_key=Secret.from_token("none")
    )
    same(embedder.run(text=TEXTS[0])["embedding"], encoder.encode_passages(TEXTS[:1])[0])
