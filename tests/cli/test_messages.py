"""What reaches the terminal: no text of a file ends a line, moves the cursor or turns the direction of writing."""

from __future__ import annotations

import logging

import pytest

from onelook.cli.messages import messages, report
from onelook.errors import CheckpointError

FOREIGN = "a\x1b[2J\u202eb\x9bc"
SHOWN = r"a\x1b[2J\u202eb\x9bc"


def test_control_characters_of_what_a_message_quotes_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("onelook.test")
    with messages():
        logger.info("read `%s`\nand more", FOREIGN)
        logger.warning("callback failed", exc_info=ValueError(FOREIGN))
        assert report(CheckpointError(f"`from` is {FOREIGN}", hint=f"not {FOREIGN}")) == 3
    out, err = capsys.readouterr()
    assert out == f"read `{SHOWN}`\nand more\n"
    assert err.splitlines() == [
        f"warning: callback failed: ValueError: {SHOWN}", f"error: `from` is {SHOWN}", f"hint: not {SHOWN}",
    ]  # fmt: skip
