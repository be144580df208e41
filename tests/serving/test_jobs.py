from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from corom.serving.jobs import Job, JobQueue
from corom.tokens import Tokens

BUDGET = 64


@pytest.fixture
def job():
    """Return a request of texts with so many tokens: `job(4, 8)`."""
    loop = asyncio.new_event_loop()

    async def make(*lengths, **options):
        tokens = [Tokens(np.ones(n, np.int32), False) for n in lengths]
        return Job(tokens, dim=1, longest=128, **options)

    yield lambda *lengths, **options: loop.run_until_complete(make(*lengths, **options))
    loop.close()


@pytest.fixture
def queue():
    return JobQueue(batch_tokens=BUDGET)


def drain(queue):
    """Return the requests in the order in which their last texts were taken."""
    ended = []
    while share := queue.take():
        assert share.width * len(share.rows) <= max(BUDGET, share.width)
        ended += dict.fromkeys(job for job, _ in share.rows if not job.left)
    assert (len(queue), queue.tokens) == (0, 0)
    return ended


def test_nothing_waits(queue):
    assert queue.take() is None
    assert (len(queue), queue.tokens, queue.ahead(100)) == (0, 0, 0)


def test_the_longest_texts_go_first_each_once(queue, job):
    only = job(8, 30, 8, 128)
    queue.add(only)
    assert queue.tokens == 8 + 32 + 8 + 128
    shares = [queue.take() for _ in range(3)]
    assert [(share.width, [row for _, row in share.rows]) for share in shares] == [
        (128, [3]),
        (32, [1]),
        (8, [0, 2]),
    ]
    assert queue.take() is None


def test_an_engine_that_skips_padding_gets_full_batches_of_any_lengths(job):
    queue = JobQueue(batch_tokens=BUDGET)
    one, other, long = (
        job(30, 7, 9, packed=True),
        job(11, 3, 9, 128, packed=True),
        job(2, packed=True),
    )
    for each in (one, other, long):
        queue.add(each)
    assert queue.tokens == 30 + 7 + 9 + 11 + 3 + 9 + 128 + 2
    share = queue.take()
    # None longer than the longest of the request whose turn it is: it does not wait for them.
    assert share.width == 30
    assert share.rows == [(one, 0), (one, 2), (one, 1), (other, 0), (other, 1), (long, 0)]
    assert queue.take() == (128, [(other, 3)])
    assert queue.take() == (9, [(other, 2)])
    assert (queue.take(), queue.tokens, len(queue)) == (None, 0, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_every_text_is_taken_once_within_the_budget(job, packed):
    random = np.random.default_rng(5)
    queue = JobQueue(batch_tokens=BUDGET)
    jobs = [job(*random.integers(2, 129, random.integers(1, 9)), packed=packed) for _ in range(60)]
    for each in jobs:
        queue.add(each)
    taken = []
    while share := queue.take():
        lengths = [len(owner.tokens[row].ids) for owner, row in share.rows]
        assert sum(lengths) <= max(BUDGET, max(lengths))
        assert max(lengths) <= share.width <= max(lengths) + 3
        taken += share.rows
    assert len(taken) == len(set(taken)) == sum(len(each.tokens) for each in jobs)
    assert (queue.tokens, len(queue)) == (0, 0)


def test_of_requests_of_one_size_the_first_ends_first(queue, job):
    jobs = [job(*[60] * 10) for _ in range(5)]
    for one in jobs:
        queue.add(one)
    assert drain(queue) == jobs


def test_of_requests_that_fit_into_a_batch_the_first_ends_first(queue, job):
    jobs = [job(n) for n in (60, 8, 30, 12, 50)]
    for one in jobs:
        queue.add(one)
    assert drain(queue) == jobs


def test_a_small_request_overtakes_a_large_one(queue, job):
    large, small = job(*[60] * 100), job(16)
    queue.add(large)
    queue.take()
    queue.add(small)
    assert drain(queue) == [small, large]


@pytest.mark.parametrize("lengths", [[60] * 40, list(range(4, 129, 4))])
def test_a_large_request_gets_half_beside_endless_small_ones(queue, job, lengths):
    large = job(*lengths)
    cost, spent = large.left, 0
    queue.add(large)
    while large.left:
        while len(queue) < 9:
            queue.add(job(60))
        share = queue.take()
        spent += share.width * len(share.rows)
    assert cost < spent <= 2 * (cost + BUDGET)


def test_nobody_waits_for_more_than_twice_what_came_before(queue, job):
    # Requests of all sizes come while others are worked on; time is what was taken so far.
    rng = np.random.default_rng(0)
    now, due = 0, {}
    for _ in range(400):
        if queue.tokens < 3000:
            new = job(*rng.integers(2, 129, rng.integers(1, 30)).tolist())
            due[new] = now + 2 * (queue.tokens + new.left + 2 * BUDGET)
            queue.add(new)
        share = queue.take()
        now += share.width * len(share.rows)
        for one in {one for one, _ in share.rows if not one.left}:
            assert now <= due.pop(one)
    assert len(due) == len(queue)


def test_what_is_ahead(queue, job):
    queue.add(job(*[100] * 30))
    assert queue.ahead(3000) == 3000
    assert queue.ahead(2996) == 0
    queue.add(job(100, 100))
    assert queue.ahead(3000) == 3200
    assert queue.ahead(2000) == 400


def test_dropping_and_clearing(queue, job):
    begun, waiting, other = job(60, 60), job(8), job(12)
    for one in (begun, waiting):
        queue.add(one)
    queue.take()
    queue.drop(begun)
    queue.drop(begun)
    queue.drop(other)
    assert (len(queue), queue.tokens) == (1, 8)
    assert queue.clear() == [waiting]
    assert drain(queue) == []
