"""kill -9 of a server in the middle of loads and of searches, and what is found afterwards."""

from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from corom.errors import ServiceError
from corom.index.building import Writer
from corom.stores import open_loader, open_store
from stores.conftest import passages, spec_of, vectors
from stores.servers import Database, Server

COUNT = 12_000
PART = 500
RESTART = 240
"""Seconds a server may take until it answers again, on a busy machine."""


@pytest.fixture(params=["server", "database"])
def store_server(request: pytest.FixtureRequest) -> Server | Database:
    return request.getfixturevalue(request.param)


class Load(Thread):
    """A load in a thread, which says when it is in the middle."""

    def __init__(self, loader: Writer) -> None:
        super().__init__()
        self.loader, self.middle, self.killed = loader, Event(), Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            every, found = passages(COUNT), vectors(COUNT)
            begun = self.loader.done
            for start in range(begun, COUNT, PART):
                if start + PART >= COUNT:
                    self.killed.wait()  # it must not be done before
                part = slice(start, start + PART)
                self.loader.append(every[part], found[part])
                if start >= (begun + COUNT) // 2:
                    self.middle.set()
            self.loader.finish()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self.middle.set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_a_load(store_server: Server | Database) -> None:
    uri, spec = store_server.uri("killed"), spec_of(source="killed")
    with open_loader(uri, spec, deadline=20) as loader:
        load = Load(loader)
        load.start()
        load.middle.wait()
        store_server.kill()
        load.killed.set()
        load.join()
        assert isinstance(load.error, ServiceError), load.error  # nobody started it again
        assert 0 < loader.done < COUNT
    store_server.start()
    with open_loader(uri, spec, deadline=RESTART) as loader:
        assert 0 < loader.done < COUNT
        load = Load(loader)
        load.start()
        load.middle.wait()
        store_server.kill()
        load.killed.set()
        store_server.start()
        load.join()
        assert load.error is None
        assert loader.done == COUNT
    store = open_store(uri, deadline=RESTART)
    assert len(store) == COUNT  # as the server counts them: none is there twice
    every = passages(COUNT)
    ids = [passage.id for passage in every]
    found = [p for s in range(0, COUNT, 1000) for p in store.passages(ids[s : s + 1000])]
    assert found == every
    nearest = store.search(vectors(COUNT)[::400], 1)
    assert [hits[0].id for hits in nearest] == ids[::400]
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_a_search(store_server: Server | Database) -> None:
    uri, queries, deadline = store_server.uri("searched"), vectors(2000), 6
    with open_loader(uri, spec_of(source="searched"), deadline=RESTART) as loader:
        loader.append(passages(), vectors())
        loader.finish()
    store = open_store(uri, deadline=deadline)
    before = store.search(queries[:20], 5)
    errors: list[Exception] = []
    began = Event()

    def search() -> None:
        began.set()
        try:
            while True:
                store.search(queries, 5)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    searcher = Thread(target=search)
    searcher.start()
    began.wait()
    time.sleep(0.5)
    assert not errors
    store_server.kill()
    killed = time.monotonic()
    searcher.join()
    assert time.monotonic() - killed < deadline + 5
    assert isinstance(errors[0], ServiceError), errors[0]
    assert "does not answer" in str(errors[0])
    store_server.start()
    end = time.monotonic() + RESTART
    after = None
    while after is None:  # the same store, as it is
        try:
            after = store.search(queries[:20], 5)
        except ServiceError:
            assert time.monotonic() < end, "searches did not come back"
    assert after == before
    store.close()
