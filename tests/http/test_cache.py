from appserve.http.cache import REMEMBERED, remember


def test_a_full_memory_starts_anew():
    memory = dict.fromkeys(range(REMEMBERED), "")

    remember(memory, -1, "new")

    assert memory == {-1: "new"}


def test_a_memory_never_holds_more_than_its_bound():
    memory: dict[int, int] = {}
    for number in range(3 * REMEMBERED):
        remember(memory, number, number)
        assert memory[number] == number
        assert len(memory) <= REMEMBERED
