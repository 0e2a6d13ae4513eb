"""A study as people run them: two prompts of a shop's help desk, three temperatures, twenty questions, three samples.

Answers are made up but look real: prose, lists, JSON; some differ between samples, are cut short, are refused, or
come with token probabilities. The same file comes out every time.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import Reply, ScriptedBackend, error_reply, text_reply

QUESTIONS = (
    ("Where is my order? I paid on Monday.", "en", "shipping"),
    ("How do I return shoes that are too small?", "en", "returns"),
    ("Wann bekomme ich mein Geld zurück?", "de", "refunds"),
    ("The parcel says delivered but nothing came.", "en", "shipping"),
    ("Puis-je changer l'adresse de livraison ?", "fr", "shipping"),
    ("Is the charger included with the desk lamp?", "en", "products"),
    ("Please cancel my subscription, as of today.", "en", "account"),
    ("Do you ship to Norway, and how much is it?", "en", "shipping"),
    ("My code SUMMER20 does not work.", "en", "payment"),
    ("Can I pay by invoice as a school?", "en", "payment"),
    ("The screen arrived with a crack across it.", "en", "returns"),
    ("Wie lange habe ich Garantie auf die Kaffeemaschine?", "de", "products"),
    ("I was charged twice for order 88213.", "en", "payment"),
    ("Delete all data that you hold about me.", "en", "account"),
    ("Which filter fits the AquaPure 3?", "en", "products"),
    ("Je n'ai pas reçu l'e-mail de confirmation.", "fr", "account"),
    ("Can I collect my order in your Leeds shop?", "en", "shipping"),
    ("The jacket lost its colour after one wash.", "en", "returns"),
    ("Do you price match other shops?", "en", "payment"),
    ("How do I reset my password without my phone?", "en", "account"),
)
SENTENCES = (
    "Your order left our warehouse on Tuesday morning and should reach you by Thursday.",
    "We are sorry for the trouble, and have asked the courier where the parcel is.",
    "You can return any item within 30 days of delivery, unused and in its box.",
    "Refunds go to the card you paid with and take three to five working days.",
    "If it has not arrived by Friday, reply to this message and we will send a new one.",
    "The tracking number stands on the second page of your invoice.",
    "Please note that opened software cannot be refunded.",
    "Standard shipping is free above 40 euros; below that it costs 4.90.",
    "I have passed this on to the team that looks after payments.",
    "You will find the steps under Account, then Security.",
)
OPENINGS = ("Thank you for writing to us.", "I'm happy to help with that!", "I understand how annoying this is.")
TERSE = PromptTemplate("terse", system="You answer for a shop. Two sentences at most.", user="{{ question }}")
GUIDED = PromptTemplate(
    "guided",
    system="You answer for a shop. Greet the customer, solve the problem step by step, and say what happens next.",
    user="{{ question }}",
)
GRID = {"model": "gpt-4o-mini", "temperature": [0, 0.7, 1.2], "max_tokens": 220}


def helpdesk_lab(path: str | Path, *, pace_s: float = 0.0, cases: int = len(QUESTIONS), repeats: int = 3) -> Lab:
    """Return a lab with the finished run `help desk` in it; answers take about `pace_s` seconds each."""
    lab = Lab(path, backend=ScriptedBackend(HelpDesk(pace_s), identity="help desk", is_free=False))
    asked = [
        {"question": question, "lang": language, "topic": topic, "expected": SENTENCES[number % len(SENTENCES)]}
        for number, (question, language, topic) in enumerate(QUESTIONS[:cases])
    ]
    lab.run(
        [TERSE, GUIDED], ParameterGrid(GRID), cases=asked, repeats=repeats, name="help desk", progress=False
    )  # two of its questions are refused
    return lab


class HelpDesk:
    """The script of the backend: what it says depends on the request and on how often that was asked."""

    def __init__(self, pace_s: float = 0.0) -> None:
        self._pace_s = pace_s
        self._asked: Counter[str] = Counter()

    async def __call__(self, body: dict[str, Any]) -> Reply:
        """Answer one request."""
        key = json.dumps(body, sort_keys=True)
        self._asked[key] += 1
        heat = body["temperature"]
        question = body["messages"][-1]["content"]
        words = random.Random(f"{question} {body['messages'][0]['content']}")
        chance = random.Random(f"{key} {self._asked[key] if heat else 1}")
        await asyncio.sleep(self._pace_s * chance.lognormvariate(0, 0.5))
        if "Delete all data" in question and heat > 1:
            return error_reply(400, "This question is refused.", code="content_policy_violation")
        text = _answer(question, words, chance, heat, is_guided="Greet" in body["messages"][0]["content"])
        is_cut = heat > 1 and chance.random() < 0.15
        text = text[: len(text) * 2 // 3] if is_cut else text
        reply = text_reply(text, body, finish_reason="length" if is_cut else "stop")
        return _with_logprobs(reply, text, chance) if heat == 0 else reply


def _answer(question: str, words: random.Random, chance: random.Random, heat: float, *, is_guided: bool) -> str:
    said = words.sample(SENTENCES, 4 if is_guided else 2)
    said = [chance.choice(SENTENCES) if chance.random() < 0.35 * heat else each for each in said]
    if "charger" in question or "filter" in question:
        facts = {"intent": "product question", "answer": said[0], "confidence": round(chance.uniform(0.5, 1), 2)}
        return json.dumps(facts | {"sources": ["catalogue", "manual"]}, indent=2)
    if not is_guided:
        return " ".join(said)
    opening = OPENINGS[0] if heat == 0 else chance.choice(OPENINGS)
    steps = "\n".join(f"{number}. {each}" for number, each in enumerate(said[:3], 1))
    return f"{opening}\n\n**What to do**\n\n{steps}\n\n{said[3]}"


def _with_logprobs(reply: Reply, text: str, chance: random.Random) -> Reply:
    content = json.loads(reply.content)
    tokens = [part + " " for part in text.split(" ")]
    content["choices"][0]["logprobs"] = {"content": [_token(token, chance) for token in tokens]}
    return Reply(reply.status, reply.headers, json.dumps(content).encode())


def _token(token: str, chance: random.Random) -> dict[str, Any]:
    likely = min(0.999, 1 - chance.random() ** 6)
    others = [{"token": other, "logprob": math.log((1 - likely) / 2), "bytes": None} for other in ("the ", "we ")]
    mine = {"token": token, "logprob": math.log(likely), "bytes": list(token.encode())}
    return {**mine, "top_logprobs": [mine, *others]}
