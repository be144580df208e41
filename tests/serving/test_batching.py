from __future__ import annotations

import asyncio
import time
from threading import Event, Semaphore
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from corom.encoder import Encoder
from corom.reranker import Reranker
from corom.serving import batching
from corom.serving.batching import Batcher
from corom.serving.errors import ApiError
from corom.serving.reading import PairReader, TextReader
from corom.tokens import Tokens


class Fake:
    """A reader whose vector of a text is (its length, 1); "坏" breaks it, "空" gives NaN."""

    dim, max_length, batch_tokens, packs = 2, 128, 16, False

    def __init__(self, *, gate: Event | None = None) -> None:
        self.gate, self.seen, self.runs = gate, [], 0

    def cut(self, queries, passages):
        marks = {"坏": 7, "空": 9}
        return [
            Tokens(np.full(len(text), marks.get(text[0], 1), np.int32), len(text) > 100)
            for text in (*queries, *passages)
        ]

    def run(self, batches, receive):
        self.runs += 1
        for batch in batches:
            if self.gate:
                assert self.gate.wait(5)
            self.seen.append(batch)
            if (batch.ids == 7).any():
                raise RuntimeError("a text of a patient")
            vectors = np.stack([batch.lengths, np.ones(len(batch.rows))], axis=1)
            vectors[(batch.ids == 9).any(axis=1)] = np.nan
            receive(batch, vectors.astype(np.float32))


def run(scenario, reader=None, *, most=10_000, longest=60.0, done=60.0):
    async def main():
        batcher = Batcher(
            reader or Fake(),
            max_queued_tokens=most,
            max_wait_s=longest,
            max_done_s=done,
            observe=lambda texts, tokens: None,
        )
        batcher.start()
        try:
            return await asyncio.wait_for(scenario(batcher), 10)
        finally:
            await asyncio.to_thread(batcher.close)

    return asyncio.run(main())


async def held(batcher, gate, *requests):
    """Start requests one after another while the engine is held, then let it go."""
    tasks = []
    for texts in requests:
        tasks.append(asyncio.ensure_future(batcher.encode(passages=texts)))
        await asyncio.sleep(0.01)
    gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def ask_in_turn(*requests, **limits):
    """Start requests one after another while the engine is held; return all answers."""
    gate = Event()
    found = run(lambda batcher: held(batcher, gate, ["头"], *requests), Fake(gate=gate), **limits)
    return found[1:]


def test_no_text_one_text_many_texts():
    async def scenario(batcher):
        none = await batcher.encode()
        one = await batcher.encode(queries=["头"])
        many = await batcher.encode(queries=["头" * 5], passages=["头" * n for n in (9, 1, 120)])
        return none, one, many

    none, one, many = run(scenario)
    assert none.vectors.shape == (0, 2)
    assert none.vectors.dtype == np.float32
    assert one.vectors.tolist() == [[1, 1]]
    assert many.vectors[:, 0].tolist() == [5, 9, 1, 120]
    assert (many.tokens, many.truncated) == (135, [3])


def test_what_waits_shares_batches_of_one_length_within_the_budget():
    gate = Event()
    fake = Fake(gate=gate)
    answers = run(lambda batcher: held(batcher, gate, ["头"], *([["头" * 4, "头" * 8]] * 6)), fake)
    assert [answer.vectors[:, 0].tolist() for answer in answers[1:]] == [[4, 8]] * 6
    sizes = [batch.ids.shape for batch in fake.seen]
    assert all(rows * width <= 16 for rows, width in sizes)
    assert sizes.count((2, 8)) == 3  # six texts of 8 in batches of two
    assert fake.runs == 1


def test_a_small_request_does_not_wait_for_a_large_one():
    gate = Event()
    fake = Fake(gate=gate)
    finished = []

    async def scenario(batcher):
        async def ask(name, texts):
            await batcher.encode(passages=texts)
            finished.append((name, len(fake.seen)))

        tasks = [asyncio.ensure_future(ask("large", ["头" * 16] * 100))]
        await asyncio.sleep(0.02)
        tasks.append(asyncio.ensure_future(ask("small", ["头" * 4])))
        await asyncio.sleep(0.02)
        gate.set()
        await asyncio.gather(*tasks)

    run(scenario, fake)
    assert [name for name, _ in finished] == ["small", "large"]


def test_one_bad_text_fails_alone():
    before, bad, after = ask_in_turn(["好" * 4], ["坏" * 4, "好" * 9], ["好" * 4])
    assert isinstance(bad, ApiError)
    assert bad.status == 500
    assert "patient" not in str(bad)
    assert before.vectors.tolist() == after.vectors.tolist() == [[4, 1]]


def test_a_vector_that_is_no_number_fails_its_request_alone():
    good, bad = ask_in_turn(["好好"], ["空空"])
    assert good.vectors.tolist() == [[2, 1]]
    assert bad.status == 500


def test_the_worker_goes_on_after_a_failure():
    async def scenario(batcher):
        with pytest.raises(ApiError):
            await batcher.encode(passages=["坏"])
        return await batcher.encode(passages=["好"])

    assert run(scenario).vectors.tolist() == [[1, 1]]


def test_an_engine_that_takes_nothing_fails_each_request():
    class Broken(Fake):
        def run(self, batches, receive):
            raise RuntimeError("a text of a patient")

    async def scenario(batcher):
        asked = [batcher.encode(passages=["好" * n] * 3) for n in (1, 40)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [answer.status for answer in run(scenario, Broken())] == [500, 500]


def test_texts_of_a_client_that_left_are_skipped():
    gate = Event()
    fake = Fake(gate=gate)

    async def scenario(batcher):
        first = asyncio.ensure_future(batcher.encode(passages=["头"]))
        await asyncio.sleep(0.02)
        gone = asyncio.ensure_future(batcher.encode(passages=["头" * 12] * 3))
        await asyncio.sleep(0.02)
        before = batcher.waiting
        gone.cancel()
        await asyncio.sleep(0.02)
        after = batcher.waiting
        gate.set()
        await first
        return before, after

    before, after = run(scenario, fake)
    assert (before.requests, before.tokens) == (1, 36)
    assert after == (0, 0)
    assert [batch.ids.shape for batch in fake.seen] == [(1, 4)]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    taken, refused = ask_in_turn(["头" * 40], ["头" * 40], most=60)
    assert taken.vectors.tolist() == [[40, 1]]
    assert refused.status == 429
    assert 1 <= refused.retry_after_s <= 60


# Until it has measured, the batcher expects 1,000 tokens a second.
LARGE, SMALL = ["头" * 100] * 30, ["头" * 8]


@pytest.mark.parametrize("limits", [{"longest": 2.0}, {"done": 4.0}])
def test_who_would_wait_or_end_too_late_is_refused_and_a_small_request_is_not(limits):
    # One large request takes 3 s, a second beside it 6 s; the small one need not wait for it.
    large, second, small = ask_in_turn(LARGE, LARGE, SMALL, **limits)
    assert large.vectors[:, 0].tolist() == [100] * 30
    assert (second.status, second.retry_after_s) == (429, 3)
    assert small.vectors.tolist() == [[8, 1]]


def test_who_would_begin_and_end_in_time_is_taken():
    answers = ask_in_turn(LARGE, LARGE, longest=3.1, done=6.1)
    assert [len(answer.vectors) for answer in answers] == [30, 30]


def test_the_measured_speed_decides():
    async def scenario(batcher):
        batcher.expect(10_000.0)  # so LARGE takes 0.3 s
        return await held(batcher, gate, ["头"], *([LARGE] * 5))

    gate = Event()
    answers = run(scenario, Fake(gate=gate), longest=1.0, most=20_000)
    assert [getattr(answer, "status", 200) for answer in answers] == [200] * 5 + [429]


@pytest.mark.parametrize(("packs", "lengths", "rate"), [(False, [13], 80), (True, [9, 4], 65)])
def test_the_speed_is_that_of_the_last_busy_spell(monkeypatch, packs, lengths, rate):
    # Thirteen tokens, or sixteen with padding, take 0.2 s by this clock.
    now, spells = [0.0], Semaphore(0)
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Fake):
        def run(self, batches, receive):
            def later(batch, vectors):
                now[0] += 0.2
                receive(batch, vectors)

            super().run(batches, later)
            spells.release()

    fake = Slow()
    fake.packs = packs

    async def scenario(batcher):
        for _ in range(2):
            await batcher.encode(passages=["头" * length for length in lengths])
            assert batcher._rate == pytest.approx(rate)
            await asyncio.to_thread(spells.acquire)  # else the next would be of this one
            now[0] += 60

    run(scenario, fake)


def test_alone_even_a_large_request_is_taken():
    answer = run(lambda batcher: batcher.encode(passages=["头" * 100] * 30), longest=0.001)
    assert len(answer.vectors) == 30


def test_too_many_tokens():
    async def scenario(batcher):
        await batcher.encode(passages=["头" * 100] * 3001)

    with pytest.raises(ApiError, match="300100 tokens") as error:
        run(scenario)
    assert error.value.status == 413


def test_closing_tells_those_who_wait():
    gate = Event()

    async def scenario(batcher):
        tasks = []
        for size in (1, 9):
            tasks.append(asyncio.ensure_future(batcher.encode(passages=["头" * size])))
            await asyncio.sleep(0.02)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.02)
        gate.set()
        await closing
        late = batcher.encode(passages=["头"])
        return await asyncio.gather(*tasks, late, return_exceptions=True)

    begun, waiting, late = run(scenario, Fake(gate=gate))
    assert begun.vectors.tolist() == [[1, 1]]
    assert (waiting.status, late.status) == (503, 503)


@pytest.mark.parametrize("embedded", [False, True])
def test_vectors_under_load_are_the_encoders(tiny_checkpoint, embedded):
    # The embedded model's engine may skip padding: then texts of any lengths meet.
    encoder = Encoder.load() if embedded else Encoder(tiny_checkpoint(), precision="fp32")
    texts = [("头痛发热咳嗽" * 20)[:n] for n in range(1, 40)]

    async def scenario(batcher):
        requests = [batcher.encode(passages=texts[n : n + 3]) for n in range(0, 39, 3)]
        return await asyncio.gather(*requests, *(batcher.encode(passages=[t]) for t in texts))

    answers = run(scenario, TextReader(encoder))
    truth = encoder.encode_passages(texts, normalize=False)
    for found in (answers[:13], answers[13:]):
        together = np.concatenate([answer.vectors for answer in found])
        assert np.abs(together - truth).max() < 1e-5


def test_scores_under_load_are_the_rerankers(tiny_reranker):
    reranker = Reranker.load(tiny_reranker, precision="fp32")
    texts = [("头痛发热咳嗽" * 20)[:n] for n in range(1, 64)]

    async def scenario(batcher):
        return await asyncio.gather(
            *(batcher.encode(queries=["头痛"], passages=[text]) for text in texts),
            batcher.encode(queries=["头痛"] * 63, passages=texts),
        )

    *single, together = run(scenario, PairReader(reranker))
    truth = reranker.score(["头痛"] * 63, texts)
    assert np.abs(together.vectors[:, 0] - truth).max() < 1e-5
    assert np.abs(np.concatenate([one.vectors[:, 0] for one in single]) - truth).max() < 1e-5
    assert together.truncated == [59, 60, 61, 62]


def test_an_idle_batcher_answers_at_once():
    async def scenario(batcher):
        begun = time.perf_counter()
        for _ in range(20):
            await batcher.encode(passages=["头"])
        return (time.perf_counter() - begun) / 20

    assert run(scenario) < 0.02
