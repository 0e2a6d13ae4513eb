"""The README: its examples run in the order they are read, and its commands exist.

The Python blocks are one script, run in an empty folder by a fresh interpreter in which every warning is an error and
no key is set (conftest.py removes them). A block stays out of it where the line before says
`<!-- not run: the reason -->`.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(?P<language>\w*)")
ODD_FENCE = re.compile(r"^(?:[ \t]+```|[ \t]*~~~).*$", re.MULTILINE)
NOT_RUN = re.compile(r"^<!-- not run: (?P<reason>.+) -->$")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
IN_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z]+)")
TIME_LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its first line's number, its lines, and why it is not run."""

    language: str
    start: int
    lines: tuple[str, ...]
    not_run: str | None


@pytest.fixture(scope="module")
def readme():
    """The text of the README."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_examples_run(readme, tmp_path):
    """Every Python block of the README runs, in order, as a user would paste it."""
    done = run_script(script(readme), tmp_path)
    assert done.returncode == 0, done.stderr


def test_most_examples_are_run(readme):
    """Blocks that are only shown stay the exception."""
    blocks = [block for block in blocks_of(readme) if block.language == "python"]
    shown = [block for block in blocks if block.not_run]
    assert len(shown) < len(blocks) / 2, [f"line {block.start}: {block.not_run}" for block in shown]


def test_no_example_hides_from_the_test(readme):
    """Python is always fenced as `python` at the line's start, so that no block escapes."""
    languages = {block.language for block in blocks_of(readme)}
    assert ODD_FENCE.findall(readme) == []
    assert languages & {"py", "python3", "pycon", "ipython", "ipython3"} == set()


def test_every_make_target_named_exists(readme):
    """The README names the two commands that do everything, and none that is not there."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    assert {"demo", "test"} <= make_targets(readme) <= targets


SAMPLE = """\
# Sample

```python
x = 1
```

Then `make demo`, and make sure that

<!-- not run: needs a key -->
```python
raise SystemExit("was run")
```

```sh
make test
```

```python
assert x == {expected}
```
"""


def test_blocks_are_found_with_their_reasons():
    """Blocks come with their language, their place, and the reason why one is not run."""
    found = [(block.language, block.start, block.not_run) for block in blocks_of(SAMPLE)]
    assert found == [("python", 4, None), ("python", 11, "needs a key"), ("sh", 15, None), ("python", 19, None)]


def test_the_script_keeps_the_readmes_line_numbers():
    """An error in an example points to the README's own line."""
    lines = script(SAMPLE).splitlines()
    assert {number: line for number, line in enumerate(lines, 1) if line} == {4: "x = 1", 19: "assert x == {expected}"}


@pytest.mark.parametrize(("expected", "code"), [pytest.param(1, 0, id="right"), pytest.param(2, 1, id="wrong")])
def test_a_wrong_example_fails(tmp_path, expected, code):
    """The blocks share one namespace, and what one asserts counts."""
    done = run_script(script(SAMPLE.format(expected=expected)), tmp_path)
    assert (done.returncode, "line 19" in done.stderr) == (code, code == 1)


def test_targets_are_read_from_code_alone():
    """A `make` in prose is not a command."""
    assert make_targets(SAMPLE) == {"demo", "test"}


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text."""
    blocks: list[Block] = []
    lines, number = text.splitlines(), 0
    while number < len(lines):
        if fence := FENCE.match(lines[number]):
            end = lines.index("```", number + 1)
            before = NOT_RUN.match(lines[number - 1]) if number else None
            body = tuple(lines[number + 1 : end])
            blocks.append(Block(fence["language"], number + 2, body, before["reason"] if before else None))
            number = end
        number += 1
    return blocks


def script(text: str) -> str:
    """Return the Python blocks as one script, each line where it stands in the text."""
    lines = [""] * len(text.splitlines())
    for block in blocks_of(text):
        if block.language == "python" and not block.not_run:
            lines[block.start - 1 : block.start - 1 + len(block.lines)] = block.lines
    return "\n".join(lines) + "\n"


def run_script(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder."""
    (folder / "README.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", "README.py"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )


def make_targets(text: str) -> set[str]:
    """Return the targets of the `make` commands in a text's code."""
    return {target for code in IN_CODE.findall(text) for target in MAKE.findall(code)}
