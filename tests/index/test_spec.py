from __future__ import annotations

import pytest

from corom.encoder import Encoder
from corom.errors import ArtifactError, InputError
from corom.index import BM25Options, ExactOptions, HnswOptions, IndexSpec, IvfPqOptions
from corom.index.spec import differences

SPECS = [
    IndexSpec(options=ExactOptions(precision="int8"), dim=768, fingerprint="ab", source="cd"),
    IndexSpec(options=HnswOptions(links=8), dim=64, normalized=True, vector_type="float16"),
    IndexSpec(options=IvfPqOptions(bytes_per_vector=16), dim=64),
    IndexSpec(options=BM25Options(cut="bigrams"), keep=["department", "date"]),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.options.kind)
def test_json_round_trip(spec):
    assert IndexSpec.from_json(spec.as_json()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"kind": "magic"}},
        {"options": {"kind": "exact", "precision": "fp7"}},
        {"options": {"kind": "exact", "speed": 1}},
        {"options": {}},
        {"options": None},
        {"dim": "768"},
        {"flavour": "sweet"},
    ],
)
def test_unknown_json_is_refused(change):
    with pytest.raises(ArtifactError, match="cannot read"):
        IndexSpec.from_json({**SPECS[0].as_json(), **change})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExactOptions(precision="fp64"), "precision 'fp64' is none of fp32"),
        (lambda: HnswOptions(links=1), "links is 1"),
        (lambda: HnswOptions(search_effort=0), "search_effort is 0"),
        (lambda: HnswOptions(build_effort=1.5), "build_effort is 1.5"),
        (lambda: HnswOptions(storage="gzip"), "storage 'gzip'"),
        (lambda: IvfPqOptions(lists=-1), "lists is -1"),
        (lambda: IvfPqOptions(probes=True), "probes is True"),
        (lambda: BM25Options(cut="trigrams"), "cut 'trigrams'"),
        (lambda: IndexSpec(options=ExactOptions()), "dim is 0; it must be 1 or more"),
        (lambda: IndexSpec(options=ExactOptions(), dim=-1), "dim is -1"),
        (lambda: IndexSpec(options=ExactOptions(), dim=2.0), "dim is 2.0"),
        (lambda: IndexSpec(options=BM25Options(), dim=2), "dim is 2; it must be 0 for bm25"),
        (lambda: IndexSpec(options=ExactOptions(), dim=2, vector_type="int4"), "vector_type"),
        (lambda: IndexSpec(options=BM25Options(), part_tokens=-1), "part_tokens is -1"),
        (lambda: IndexSpec(options=BM25Options(), part_tokens=9, whole_share=0.5), "no bm25"),
        (lambda: IndexSpec(options=ExactOptions(), dim=2, whole_share=0.5), "needs part_tokens"),
        (
            lambda: IndexSpec(options=ExactOptions(), dim=2, part_tokens=9, whole_share=1.0),
            "whole_share is 1.0",
        ),
        (lambda: IndexSpec(options=BM25Options(), keep=("a", "a")), "named twice"),
        (lambda: IndexSpec(options=BM25Options(), keep="date"), "came as one str"),
        (lambda: IndexSpec(options=BM25Options(), keep=("title",)), "kept anyway"),
        (lambda: IndexSpec(options=BM25Options(), keep=("a<b",)), "cannot be kept"),
        (lambda: IndexSpec(options=BM25Options(), keep=(" ",)), "cannot be kept"),
        (lambda: IndexSpec(options=IvfPqOptions(bytes_per_vector=5), dim=64), "does not divide"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_differences_name_both_values():
    other = IndexSpec(options=ExactOptions(), dim=512, fingerprint="xy", source="cd", model="m")
    found = differences(SPECS[0], other)
    assert "dim: 768 != 512" in found
    assert "fingerprint: 'ab' != 'xy'" in found
    assert len(found) == 3  # the name of the model is no difference


def test_what_an_earlier_version_wrote_is_read():
    value = SPECS[0].as_json()
    assert "keep" not in value  # nor would an earlier version read it
    for later in ("part_tokens", "whole_share"):
        del value[later]
    assert IndexSpec.from_json(value) == SPECS[0]


def test_of_an_encoder_all_fields_are_its_own_but_those_named(tiny_checkpoint):
    encoder = Encoder(tiny_checkpoint())
    spec = IndexSpec.for_encoder(encoder)
    assert (spec.options, spec.dim, spec.model) == (ExactOptions(), encoder.dim, encoder.name)
    assert (spec.fingerprint, spec.normalized) == (encoder.fingerprint, encoder.encoding.normalize)
    other = IndexSpec.for_encoder(encoder, HnswOptions(), dim=4, model="", source="s")
    assert other == IndexSpec(
        options=HnswOptions(),
        dim=4,
        fingerprint=encoder.fingerprint,
        normalized=encoder.encoding.normalize,
        source="s",
    )
    with pytest.raises(TypeError, match="'scan'"):
        IndexSpec.for_encoder(encoder, scan="int8")
