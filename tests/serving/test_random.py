"""Whatever JSON comes, no route fails: it answers, or says what is wrong without repeating it."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.asking import refusal

NAMES = (
    *("input", "inputs", "query", "texts", "source_sentence", "sentences_to_compare", "sentences"),
    *("model", "dimensions", "encoding_format", "truncate", "k", "mode", "marks", "row", "score"),
    *("documents", "top_n", "return_documents", "rerank", "weight"),
)
ROUTES = (
    *("/v1/embeddings", "/embed", "/similarity", "/rerank", "/v1/similarity", "/v1/search"),
    *("/v1/map/place", "/v1/map/near", "/v1/rerank"),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=4) | values


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(route=st.sampled_from(ROUTES), body=bodies)
def test_any_json_gets_a_proper_answer(client, route, body):
    answer = client.post(route, json=body)
    assert answer.status_code < 500
    if answer.status_code != 200:
        refusal(answer)


def test_the_description_knows_the_errors_shape(client):
    described = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert "default" in operation["responses"], path
