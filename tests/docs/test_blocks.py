"""What stands on the pages can be read: every block as what it is, every command by its options."""

import re
from html.entities import html5

import pytest
import tomllib
import yaml

from docs.hooks.outside import LINK
from idle_md.configuration import parse_section
from idle_md.engines.run_file import RunFile
from idle_md.train import TrainConfig
from tests.docs.blocks import (
    FENCE,
    INLINE,
    NAMES,
    ROOT,
    Block,
    blocks_of,
    check_command,
    check_verb,
    commands,
)

LANGUAGES = {"", "lammps", "python", "sh", "text", "toml", "yaml"}


@pytest.mark.parametrize("name", NAMES)
def test_every_block_can_be_read(name: str) -> None:
    assert "```" not in FENCE.sub("", (ROOT / name).read_text()), "a fence that is not understood"
    for block in blocks_of(ROOT / name):
        where = f"{name}, line {block.line}"
        assert block.language in LANGUAGES, where
        try:
            read(block)
        except Exception as error:
            raise AssertionError(f"{where}: {error}") from error


def read(block: Block) -> None:
    """Parse a block as what it is."""
    if block.language == "sh":
        for words in commands(block.text):
            check_command(words, (ROOT / block.page).parent)
    elif block.language == "python":
        compile(block.text, block.page, "exec")
    elif block.language == "toml":
        groups = tomllib.loads(block.text)["project"]["entry-points"]
        assert all(group.startswith("idle_md.") for group in groups)
    elif block.language == "yaml":
        content = yaml.safe_load(block.text)
        parse_section(content, TrainConfig if "target" in content else RunFile)


@pytest.mark.parametrize("name", NAMES)
def test_commands_within_sentences_exist(name: str) -> None:
    for command in INLINE.findall((ROOT / name).read_text()):
        check_verb(command.split()[1:], whole=False)


@pytest.mark.parametrize("name", NAMES)
def test_characters_have_names_that_browsers_know(name: str) -> None:
    entities = re.findall(r"&(\w+;)", (ROOT / name).read_text())
    assert [entity for entity in entities if entity not in html5] == []


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("docs/")])
def test_links_go_somewhere(name: str) -> None:
    """Of pages that the site does not check."""
    links = [link["path"] for link in LINK.finditer((ROOT / name).read_text())]
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("idle-md md idle-s a.xyz --step 5", "No such option: --step"),
        ("idle-md md idle-s a.xyz --steps few", "should be a valid integer"),
        ("idle-md trian a.yaml", "there is no idle-md trian"),
        ("mke test", "what is mke"),
        ("make tset", "tset"),
        ("python docs/pictures/start.py --wide", "has no --wide"),
        ("python docs/pictures/end.py", "there is no docs/pictures/end.py"),
    ],
)
def test_what_does_not_exist_is_found(words: str, message: str) -> None:
    with pytest.raises((AssertionError, Exception)) as found:
        check_command(words.split(), ROOT)
    assert message in str(getattr(found.value, "message", found.value))
