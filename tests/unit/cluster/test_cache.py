"""The cache between lists, events and answers, in every order."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.cache import Cache, Change, is_older


@dataclass(frozen=True)
class Thing:
    """The least that can be cached."""

    name: str
    resource_version: str
    uid: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if not self.uid:
            object.__setattr__(self, "uid", f"uid-{self.name}")


def thing(name: str = "a", version: int = 1, **more: str) -> Thing:
    return Thing(name, str(version), **more)


def listed(*things: Thing) -> dict[str, Thing]:
    return {found.name: found for found in things}


@pytest.fixture
def cache() -> Cache[Thing]:
    """A cache that holds `a` in version 5."""
    cache: Cache[Thing] = Cache()
    cache.replace(listed(thing("a", 5)), version="5", unreadable=())
    return cache


def told(name: str = "a", *, deleted: bool = False) -> Change:
    return Change(name=name, deleted=deleted)


def test_versions_compare_as_numbers() -> None:
    """Ten is more than nine, and what is no number tells nothing."""
    assert is_older("9", "10")
    assert not is_older("10", "9")
    assert not is_older("abc", "10")


def test_a_list_tells_what_changed(cache: Cache[Thing]) -> None:
    """New, changed and missing objects are told; what stayed the same is not."""
    cache.replace(listed(thing("a", 5), thing("b", 6), thing("c", 6)), version="6", unreadable=())
    changes = cache.replace(listed(thing("a", 5), thing("b", 7), thing("d", 8)), version="8", unreadable=())
    assert sorted(changes, key=lambda change: change.name) == [told("b"), told("c", deleted=True), told("d")]


def test_what_a_list_holds_but_nobody_can_read_stays(cache: Cache[Thing]) -> None:
    """An unreadable object does not look deleted."""
    assert cache.replace({}, version="9", unreadable=["a"]) == []
    assert cache.get("a") == thing("a", 5)


def test_an_older_event_does_not_replace_an_answer_but_is_told(cache: Cache[Thing]) -> None:
    """Our write at 8 contains somebody's change at 7; whoever waits for that change must hear of it."""
    cache.answer(thing("a", 8), guarded=False)
    assert cache.apply(thing("a", 7)) == told()
    assert cache.get("a") == thing("a", 8)
    assert cache.apply(thing("a", 8)) == told()
    assert cache.get("a") == thing("a", 8)


def test_the_echo_of_a_guarded_write_is_not_told(cache: Cache[Thing]) -> None:
    """The event of our own write brings nothing new, and the next one does."""
    cache.answer(thing("a", 6), guarded=True)
    assert cache.apply(thing("a", 6)) is None
    assert cache.apply(thing("a", 7)) == told()


def test_a_write_that_changed_nothing_hides_no_change(cache: Cache[Thing]) -> None:
    """The answer in the version that we had is no news, and the next event is told."""
    cache.answer(thing("a", 5), guarded=True)
    assert cache.apply(thing("a", 6)) == told()


def test_an_answer_does_not_bring_back_what_is_gone(cache: Cache[Thing]) -> None:
    """A late answer for a deleted object is dropped, also when another object has the name."""
    cache.drop("a", "uid-a")
    cache.answer(thing("a", 9), guarded=False)
    assert cache.get("a") is None
    successor = thing("a", 10, uid="second")
    cache.apply(successor)
    cache.answer(thing("a", 11), guarded=False)
    assert cache.get("a") == successor


def test_an_older_answer_is_dropped(cache: Cache[Thing]) -> None:
    """Two writers' answers may arrive in the wrong order."""
    cache.answer(thing("a", 8), guarded=True)
    cache.answer(thing("a", 7), guarded=True)
    assert cache.get("a") == thing("a", 8)


def test_a_deletion_of_a_former_owner_of_the_name_is_ignored(cache: Cache[Thing]) -> None:
    """Only the object with this uid goes."""
    assert cache.drop("a", "another") is None
    assert cache.get("a")


def test_a_buried_object_stays_away(cache: Cache[Thing]) -> None:
    """Late events of a buried object are ignored; its end is told once, by the watch."""
    cache.bury("a", "uid-a")
    assert cache.get("a") is None
    assert cache.apply(thing("a", 7)) is None
    assert cache.get("a") is None
    assert cache.drop("a", "uid-a") == told(deleted=True)
    assert cache.drop("a", "uid-a") is None


def test_a_buried_object_is_told_by_a_list(cache: Cache[Thing]) -> None:
    """A list that was read before the burial does not bring it back; the first one after tells the end."""
    cache.bury("a", "uid-a")
    assert cache.replace(listed(thing("a", 6)), version="6", unreadable=()) == []
    assert cache.get("a") is None
    assert cache.replace({}, version="9", unreadable=()) == [told(deleted=True)]


def test_a_buried_object_that_a_backup_restores_is_shown_again(cache: Cache[Thing]) -> None:
    """The first list that holds it may be an old one; the second is not."""
    cache.bury("a", "uid-a")
    assert cache.replace(listed(thing("a", 6)), version="6", unreadable=()) == []
    assert cache.replace(listed(thing("a", 6)), version="8", unreadable=()) == [told()]
    assert cache.get("a") == thing("a", 6)


def test_a_list_older_than_an_answer_loses(cache: Cache[Thing]) -> None:
    """What we wrote after the list was read stays, and is told because others' changes may hide in it."""
    cache.answer(thing("a", 9), guarded=True)
    assert cache.replace(listed(thing("a", 6)), version="7", unreadable=()) == [told()]
    assert cache.get("a") == thing("a", 9)
    assert cache.replace({}, version="7", unreadable=()) == []
    assert cache.replace({}, version="10", unreadable=()) == [told(deleted=True)]


def test_versions_that_went_back_are_believed(cache: Cache[Thing]) -> None:
    """A server restored from a backup counts anew; its lists and events win."""
    assert cache.replace(listed(thing("a", 3)), version="3", unreadable=()) == [told()]
    assert cache.apply(thing("a", 4)) == told()
    assert cache.get("a") == thing("a", 4)


def test_the_index_follows_the_objects() -> None:
    """A second key finds the object while it has it; of several objects the first by name."""
    cache: Cache[Thing] = Cache(index=lambda found: found.key)
    cache.apply(thing("b", 1, key="k"))
    cache.apply(thing("a", 2, key="k"))
    cache.apply(thing("c", 3))
    assert cache.find("k") == thing("a", 2, key="k")
    cache.apply(thing("a", 4, key="other"))
    assert cache.find("k") == thing("b", 1, key="k")
    assert cache.find("other") == thing("a", 4, key="other")
    cache.drop("b", "uid-b")
    assert cache.find("k") is None
    assert cache.find("") is None


def test_steps_that_are_no_news_are_not_told() -> None:
    """They are kept all the same."""
    cache: Cache[Thing] = Cache(notable=lambda before, after: before.key != after.key)
    assert cache.apply(thing("a", 1)) == told()
    assert cache.apply(thing("a", 2)) is None
    assert cache.get("a") == thing("a", 2)
    assert cache.replace(listed(thing("a", 3)), version="3", unreadable=()) == []
    assert cache.apply(thing("a", 4, key="k")) == told()


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["foreign", "guarded", "unguarded", "deliver", "relist"]), max_size=40))
def test_whatever_the_order_nothing_foreign_is_missed(steps: list[str]) -> None:
    """However events, answers and lists interleave, versions never go back and each foreign change is heard of."""
    cache: Cache[Thing] = Cache()
    version, delivered = 1, 1
    cache.apply(thing("a", 1))
    events: list[int] = []
    unheard: set[int] = set()
    for step in [*steps, *["deliver"] * len(steps)]:
        before = cache.get("a")
        if step in {"foreign", "guarded", "unguarded"}:
            # A guarded write succeeds only from the version that we have.
            if step == "guarded" and before and int(before.resource_version) != version:
                continue
            version += 1
            events.append(version)
            if step == "foreign":
                unheard.add(version)
            else:
                cache.answer(thing("a", version), guarded=step == "guarded")
        elif step == "relist":
            events.clear()
            if cache.replace(listed(thing("a", version)), version=str(version), unreadable=()):
                unheard.clear()
        elif events:
            delivered = events.pop(0)
            if cache.apply(thing("a", delivered)):
                unheard = {foreign for foreign in unheard if foreign > delivered}
        after = cache.get("a")
        assert before
        assert after
        assert int(after.resource_version) >= int(before.resource_version)
    assert cache.get("a") == thing("a", version)
    assert not unheard
