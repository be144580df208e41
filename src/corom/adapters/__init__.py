"""What other frameworks expect, one small file each; none is imported unless it is asked for.

| framework | import from | classes |
|---|---|---|
| LangChain | `corom.adapters.langchain` | `CoromEmbeddings`, `CoromRetriever`, |
| | | `CoromReranker`, `CoromSplitter` |
| LlamaIndex | `corom.adapters.llamaindex` | `CoromEmbedding`, `CoromRetriever`, |
| | | `CoromReranker`, `CoromSplitter` |
| Haystack | `corom.adapters.haystack` | `CoromTextEmbedder`, `CoromDocumentEmbedder`, |
| | | `CoromRetriever`, `CoromRanker`, `CoromSplitter` |
| MTEB | `corom.adapters.mteb` | `MtebEncoder` |

They run the model in your process. For a model behind `corom serve` use the framework's own OpenAI
client with its base URL: see docs/serving.md.
"""
