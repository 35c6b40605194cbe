"""Log lines, and when they are written."""

import asyncio
import io
import logging
import threading

import pytest

from handful.server.log_handler import TurnHandler
from tests.unit.server.serving import run


class Stream(io.StringIO):
    """Counts writes."""

    num_writes = 0

    def write(self, text: str) -> int:
        self.num_writes += 1
        return super().write(text)


def logger_to(stream: io.StringIO) -> logging.Logger:
    logger = logging.Logger("to a stream", logging.INFO)
    logger.addHandler(TurnHandler(stream))
    return logger


def test_what_one_turn_says_is_one_write_at_its_end() -> None:
    async def check() -> None:
        stream = Stream()
        logger = logger_to(stream)
        logger.info("one")
        logger.info("two")
        assert stream.getvalue() == ""
        await asyncio.sleep(0)
        assert (stream.getvalue(), stream.num_writes) == ("one\ntwo\n", 1)
        logger.info("three")
        await asyncio.sleep(0)
        assert stream.getvalue() == "one\ntwo\nthree\n"

    run(check())


def test_what_is_said_without_a_loop_is_written_at_once() -> None:
    stream = Stream()
    logger_to(stream).info("one")
    assert stream.getvalue() == "one\n"


def test_a_thread_writes_what_was_said_before_it_first() -> None:
    async def check() -> None:
        stream = Stream()
        logger = logger_to(stream)
        logger.info("loop")
        thread = threading.Thread(target=logger.info, args=("thread",))
        thread.start()
        thread.join()
        assert stream.getvalue() == "loop\nthread\n"

    run(check())


def test_lines_of_a_last_turn_are_written_when_logging_ends() -> None:
    stream = Stream()
    logger = logger_to(stream)

    async def check() -> None:
        logger.info("last")
        asyncio.get_running_loop().stop()

    loop = asyncio.new_event_loop()
    saying = loop.create_task(check())
    loop.run_forever()
    assert not saying.cancelled()
    logger.handlers[0].flush()
    loop.close()
    assert stream.getvalue() == "last\n"


def test_a_stream_that_is_gone_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Stream()
    logger = logger_to(stream)
    stream.close()
    logger.info("one")
    assert "could not be written" in capsys.readouterr().err
