"""Text is read and written as UTF-8 whatever the locale."""

import re

import pytest
from repository import REPOSITORY

SOURCES = sorted(
    path
    for pattern in ("Snakefile", "rules/*.smk", "scripts/**/*.py", "bench/*.py", "tests/**/*.py")
    for path in REPOSITORY.glob(pattern)
    if not path.name.startswith("test_")
)
# Calls that read or write text as the locale has it, where a line does not name the encoding.
AS_THE_LOCALE = re.compile(
    r"\.read_text\(\)|(?<!\bfiles)\.write_text\((?!.*encoding)|text=True|universal_newlines=True"
    r"|((?<![\w.])|[)\w]\.)(?<!Image\.)(?<!archive\.)(?<!os\.)open\((?!.*(encoding|\"[\w+]*b[\w+]*\"|O_RDONLY|def ))"
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_text_is_read_and_written_as_utf8(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if AS_THE_LOCALE.search(line) and not line.lstrip().startswith("#")] == []
