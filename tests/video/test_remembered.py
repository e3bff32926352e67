from t3d.video.packets import Remembered


def test_what_was_not_asked_for_longest_goes_first() -> None:
    memory: Remembered[str] = Remembered(most_bytes=10)
    for key in "abc":
        memory.keep(key, key.upper(), num_bytes=3)
    assert memory["a"] == "A"
    memory.keep("d", "D", num_bytes=4)  # 13 bytes: b has to go
    assert [key for key in "abcd" if key in memory] == ["a", "c", "d"]
    memory.keep("e", "E", num_bytes=8)
    assert [key for key in "abcde" if key in memory] == ["e"]


def test_the_newest_stays_whatever_it_weighs() -> None:
    memory: Remembered[None] = Remembered(most_bytes=10)
    memory.keep("a", None, num_bytes=100)
    assert memory["a"] is None
    memory.keep("b", None, num_bytes=1)
    assert "a" not in memory
    memory.clear()
    assert "b" not in memory
