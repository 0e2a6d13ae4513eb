'''The comparison matrix: outputs side by side, any varying thing on the rows and on one or two levels of columns.

Protocol (the browser calls operations by name; arguments are keywords; every answer is a JSON object).
All indexes count from 0. `row` is an index into the present order, `column` an index into `columns`. Both mean what they
meant in the answer with the same `version`; a call with a `version` that has passed is answered with the newest data.
Unknown numbers are null. Texts are raw: show them as text nodes only.

What first() gives, and `hello()` again (without `page`):
    {"version": 3, "spec": Spec, "columns": [Head], "rows": 113, "rows_in_all": 125, "page": Page (first() only),
     "axes": [{"name": "temperature", "kind": "run|template|parameter|case|repeat", "count": 3, "values": [0, 0.7, 1.2]}],
                                          what varies, for the pickers; `values` are the first 50
     "constants": [["model", "gpt-4o-mini"], ...],       what does not vary, for the caption
     "folded": ["repeat"],                axes that are on neither side, so that a cell may hold several trials
     "references": ["capital"],           case columns that may be a reference answer
     "caption": "terse or guided: 125 rows x 6 columns, ...",   "terms": ["refund"] (what the search looks for)
     "counts": {"ok": 740, "failed": 8, "stopped": 0, "running": 2, "todo": 0},          trials in the whole table
     "scorers": ["exact_match"], "scorer": "exact_match" | null,      `score` everywhere is this scorer's
     "views": ["my view"], "rater": "ann", "read_only": null | "why nothing can be saved", "live": true,
     "at": [row, column] | null}          open there (a permalink was followed)

Spec  {"rows": ["question"] (1 or 2 axes), "columns": ["template", "temperature"] (1 or 2), "repeats": "fold" | "columns",
       "baseline": null | {"template": "terse"} (values of one or more column axes; the others stay as in each column)
                        | {"reference": "capital"} (a case column),
       "filters": {"show": "all|different|same|failed|rated|unrated|pinned",
                   "values": {"lang": ["en", "fr"]} (axis -> values; trials with others are left out of the table),
                   "status": ["failed"], "finish_reason": ["length"], "flags": ["refusal"], "ratings": [1, null],
                   "ranges": {"latency_ms": [2000, null]}}
                  a row stays when one of its trials meets all of status ... ranges and the search; keys may be left out
       "search": "refund*", "scorer": null | "exact_match",
       "sort": {"by": "plan|label|changed|regressions|disagreement|score|cost_usd|latency_ms|length|rating|rank",
                "descending": true, "column": null | ["terse", 0.7] (the values of one column; null: over the row)},
       "hidden": [["terse", 0.7]] (columns by their values), "density": "S|M|L"}
Head  {"values": ["terse", 0.7], "baseline": column | null (the column that this one is compared with),
       "is_baseline": false, "trials": 125, "ok": 123, "failed": 2, "unfinished": 0,
       "latency_ms": mean | null, "cost_usd": sum | null, "cost_unknown": 0 (answers without a price),
       "score": mean | null, "scored": 120, "rating": mean | null, "rated": 4, "rating_scale": "thumbs|stars" | null,
       "delta": null | {"n": 118 rows in both, "score": 0.02 | null, "latency_ms": ... , "cost_usd": ...}   this - baseline
       "histogram": null | {"of": "score|rating|latency_ms", "low": 0, "high": 1, "counts": [12 numbers]}}  one range for all
Page  {"version": 3, "start": 0, "rows": [Row]}
Row   {"index": 0, "key": "r17" (the same in every order), "labels": [one value per row axis],
       "context": [["lang", "en"], ...] (other case columns), "reference": "Paris" | null (with a reference baseline),
       "cells": [Cell | null (nothing was planned there), one per column asked for]}
Cell  {"status": "ok|failed|stopped|running|todo", "reason": "why there is no answer" | null,
       "trials": 5 folded into this cell, "answered": 5, "failed": 0, "same": 3 of them gave this answer, "variants": 2,
       "variant": 0 (which one this is), "trial_id": 1, "output_id": 7 | null, "repeat": 0,
       "text": the first 1,200 characters | null, "chars": 4311 in all,
       "marks": [[start, end], ...] (search hits in `text`, in UTF-16 units as in JavaScript), "hit": true,
       "finish_reason": "stop" | null, "flags": ["length"], "latency_ms": 812.0, "prompt_tokens": 80,
       "completion_tokens": 41, "cost_usd": 0.0002, "reused": false, "has_logprobs": false,
       "score": null | {"value": 0.5, "label": "ok" | null, "detail": "why" | null},
       "rating": 1 | null (the rater's own), "scale": "thumbs|stars" | null, "raters": 1 (how many rated it),
       "note": "..." | null (the newest by anybody), "pinned": false, "change": 0.31 | null (0 like its baseline, 1 all
       different; known once something asked for it: sort "changed")}
       latency, tokens, cost and what people said are those of the output shown, never sums.

Operations
hello()                                    -> as first(), without "page"
spec(change={"sort": {...}, ...})          -> as hello(). Whole fields of Spec are replaced; the answer is the new state.
                                              An error changes nothing.
refresh()                                  -> as hello(): order and filters anew from the present data (after "stale")
page(start, n <= 200, columns=[0, 1] | null, chars=1200)      -> Page
facets()                                   -> {"version", "categories": [{"name": "status", "filter": "status",
                                                 "values": [{"value": "ok", "count": 740}]}, ...  (axes: "filter": "values")
                                               "numbers": [{"name": "latency_ms", "low": 310, "high": 2900, "unknown": 8,
                                                 "counts": [10 numbers]}, ...]}            trials of the rows that are left
detail(row, column, variant=0)             -> {"version", "row": Row without cells, "column": Head's values, "cell": Cell with
                                               the whole text (the first 200,000 characters), "baseline": text | null,
                                               "prompt": [{"role", "text"}], "request": JSON text, "response": text | null,
                                               "usage": JSON text | null, "headers": {...}, "curl": text,
                                               "attempts": [{"number", "state", "http_status", "sent_at", "latency_ms",
                                                 "error_type", "error_message", "prompt_tokens", "completion_tokens", "cost_usd"}],
                                               "tokens": null | [{"text": "Par", "probability": 0.91,
                                                 "others": [["Lyon", 0.04], ...]}],  "perplexity": 1.3 | null,
                                               "scores": [{"scorer", "value", "label", "detail"}],
                                               "ratings": [{"rater", "value", "scale", "at"}], "notes": [{"rater", "text", "at"}]}
variants(row, column)                      -> {"version", "cells": [Cell, the most frequent answer first]}
rate(output_id, value | null, scale="thumbs" (-1, 0, 1) | "stars" (1..5))     -> {"output_id", "rating", "scale", "raters"}
note(output_id, text)  ("" clears)         -> {"output_id", "note"}
pin(output_id, pinned)                     -> {"output_id", "pinned"}
                                              these three are committed to the file before they are answered; every
                                              browser also gets {"push": "judged", ...the answer}
views()                                    -> {"views": [{"name", "at", "spec": Spec}]} newest first
save_view(name)                            -> {"views": [...]}  saves the present spec; an old one of that name gives way
load_view(name)                            -> as hello()
select(cells=[[row, column | null], ...])  -> {"cells": 3, "trials": 15}  what panel.selection holds; null: the whole row
link(row, column)                          -> {"code": "lab.load('...').compare(..., at=...)"}
find(key)                                  -> {"row": index | null}  where a row is in the present order

Pushes (from the kernel; at most ten a second)
{"push": "cells", "version": 3, "number": 12, "cells": [[row, column, Cell], ...] (at most 200), "whole": true when these
 are all that changed since `number` - 1; else, or after a gap in `number`, fetch what is shown again, "columns": [Head],
 "counts": {...}, "live": true, "stale": false (true: rows came or order and filters would differ now; offer refresh())}
{"push": "judged", "output_id", and the fields that changed}
{"push": "state", ...}                     the spec was changed from Python or another browser: as hello()
'''
