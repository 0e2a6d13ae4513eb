"""Draw the gallery of docs/plots.md anew: every plot of one study, whose answers a script makes up.

python tools/gallery.py
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from promptlab import Lab, ParameterGrid, PromptTemplate, contains
from promptlab.plots import Plot
from promptlab.testing import Reply, ScriptedBackend, error_reply

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 60_000  # of a picture
SKILL = {"terse": 0.2, "guided": 1.1, "few-shot": 1.7}
WORDS = {"terse": 1, "guided": 9, "few-shot": 4}
PROMPTS = {
    "terse": "Answer with one word.",
    "guided": "Think of the map first, then answer with one word. " * 3,
    "few-shot": "Capital of Italy? Rome. Capital of Norway? Oslo. Capital of Chad? N'Djamena. " * 3,
}
CASES = [{"country": f"country {number}", "capital": f"capital-{number}"} for number in range(40)]


async def answer(body: dict[str, Any], chance: random.Random) -> str | Reply:
    """Return the capital, more often so of a good prompt and at a low temperature; a few requests fail."""
    prompt, question = (message["content"] for message in body["messages"])
    name = next(name for name, text in PROMPTS.items() if text == prompt)
    number = int(question.split()[-1].rstrip("?"))
    heat = body["temperature"] * body["top_p"] * (0.4 if name == "guided" else 1.0)
    await asyncio.sleep(0.004 * WORDS[name] * chance.lognormvariate(0, 0.35))
    if chance.random() < 0.02:
        return error_reply(400, code="content_policy_violation")
    hardness = random.Random(number).gauss(0, 1.2)
    is_right = chance.random() < 1 / (1 + math.exp(hardness + 0.9 * heat - SKILL[name]))
    thoughts = "which is it? " * round(WORDS[name] * chance.lognormvariate(0, 0.5))
    return f"{thoughts}\n{f'capital-{number}' if is_right else 'unknown'}"


def main() -> None:
    """Ask, score, draw."""
    chance = random.Random(7)
    backend = ScriptedBackend(lambda body: answer(body, chance), is_free=False, concurrency=16)
    with tempfile.TemporaryDirectory() as folder, Lab(f"{folder}/gallery.db", backend=backend) as lab:
        templates = [
            PromptTemplate(name, system=text, user="Capital of {{ country }}?") for name, text in PROMPTS.items()
        ]
        grid = ParameterGrid(model="gpt-4o-mini", temperature=[0, 0.4, 0.8, 1.2], top_p=[0.5, 1.0], max_tokens=60)
        run = lab.run(templates, grid, cases=CASES, repeats=3, name="three prompts", progress=False)
        run.score(contains("capital", name="right"))
        plot, metric = run.plot, "right"
        pictures = {
            "line": plot.line(metric, x="temperature"),
            "heatmap": plot.heatmap(metric, x="temperature", y="template"),
            "pareto": plot.pareto(metric),
            "distribution": plot.distribution("completion_tokens"),
            "latency": plot.latency(),
            "forest": plot.forest("template", metric, by="top_p"),
            "effects": plot.effects(metric),
            "tokens": plot.tokens(),
            "cost": plot.cost(),
        }
    for name, picture in pictures.items():
        _write(FOLDER / f"plot-{name}.png", picture)


def _write(path: Path, picture: Plot) -> None:
    content = picture._repr_png_()
    path.write_bytes(content)
    print(f"{path.relative_to(ROOT)}: {len(content):,} bytes\n    {picture.alt}")
    if len(content) > MOST_BYTES:
        sys.exit(f"{path.name} is larger than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
