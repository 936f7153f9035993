"""A SIGHUP because of a closed terminal, and any other."""

from appserve.master.signals import WINDOW, Terminal


class Case:
    def __init__(self, *, has_terminal: bool = True) -> None:
        self.there = has_terminal
        self.terminal = Terminal(lambda: self.there)


def test_a_hup_of_a_server_that_never_had_a_terminal_is_a_reload():
    case = Case(has_terminal=False)

    assert not case.terminal.on_hup(0.0)
    assert not case.terminal.look(1.0)


def test_a_hup_while_the_terminal_is_there_is_a_reload():
    case = Case()

    assert not case.terminal.on_hup(0.0)
    assert not case.terminal.look(1.0)


def test_a_hup_after_the_terminal_has_gone_is_because_of_it():
    case = Case()
    case.there = False

    assert case.terminal.on_hup(1.0)


def test_so_is_one_shortly_after_its_end_was_seen():
    case = Case()
    case.there = False
    assert not case.terminal.look(1.0)

    assert case.terminal.on_hup(1.0 + WINDOW)


def test_a_hup_shortly_before_the_end_turns_out_to_be_because_of_it():
    """zsh and bash (huponexit) send it before they go."""
    case = Case()
    assert not case.terminal.on_hup(1.0)
    case.there = False

    assert case.terminal.look(1.0 + WINDOW)
    assert not case.terminal.look(1.1 + WINDOW)


def test_a_hup_long_after_the_end_is_a_reload():
    """The job was disowned: its terminal went without a word."""
    case = Case()
    case.there = False
    assert not case.terminal.look(1.0)

    assert not case.terminal.on_hup(1.1 + WINDOW)
    assert not case.terminal.on_hup(100.0)


def test_an_end_long_after_a_reload_is_not_because_of_that():
    case = Case()
    assert not case.terminal.on_hup(1.0)
    case.there = False

    assert not case.terminal.look(1.1 + WINDOW)
