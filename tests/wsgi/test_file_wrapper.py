import io

from appserve.wsgi.file_wrapper import FileWrapper


def test_a_file_comes_in_blocks():
    assert list(FileWrapper(io.BytesIO(b"hello world"), 4)) == [b"hell", b"o wo", b"rld"]
    assert list(FileWrapper(io.BytesIO(b""))) == []


def test_it_reads_from_where_the_file_is():
    file = io.BytesIO(b"hello world")
    file.seek(6)

    assert b"".join(FileWrapper(file)) == b"world"


def test_closing_closes_the_file_if_it_can_be_closed():
    class Endless:
        def read(self, size: int, /) -> bytes:
            return b"a" * size

    file = io.BytesIO()
    FileWrapper(file).close()
    FileWrapper(Endless()).close()

    assert file.closed
