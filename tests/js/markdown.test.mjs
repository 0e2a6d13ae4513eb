import assert from "node:assert/strict";
import { test } from "node:test";
import { MARKDOWN_TAGS, markdown } from "../../promptlab/panels/static/markdown.js";
import { milliseconds, seeded } from "./seeded.mjs";

const node = (tag, ...children) => ({ tag, children });
const words = (nodes) => nodes.map((one) => (typeof one === "string" ? one : (one.info ?? "") + words(one.children))).join("");
const depth = (nodes) => 1 + Math.max(0, ...nodes.map((one) => (typeof one === "string" ? 0 : depth(one.children))));
const elements = (nodes) => nodes.flatMap((one) => (typeof one === "string" ? [] : [one, ...elements(one.children)]));

for (const [name, text, ...blocks] of [
  ["paragraphs keep their lines", "a\nb\n\nc", node("p", "a\nb"), node("p", "c")],
  ["a heading is bold", "## The *end*", node("p", node("strong", "The ", node("em", "end")))],
  ["emphasis nests", "**a *b* c** ~~d~~ __e__", node("p", node("strong", "a ", node("em", "b"), " c"), " ", node("del", "d"), " ", node("strong", "e"))],
  ["three stars are both", "***a***", node("p", node("strong", node("em", "a")))],
  ["names with underscores stay", "a_b_c and 2 * 3 * 4", node("p", "a_b_c and 2 * 3 * 4")],
  ["what is not closed stays", "**a *b `c [d", node("p", "**a *b `c [d")],
  ["escapes", "\\*a\\* \\q", node("p", "*a* \\q")],
  ["code is not read further", "`a *b* <i>` and ``x ` y``", node("p", node("code", "a *b* <i>"), " and ", node("code", "x ` y"))],
  ["fenced code", "```py\nx = '*1*'\n\n# no\n```\nafter", { tag: "pre", info: "py", children: ["x = '*1*'\n\n# no"] }, node("p", "after")],
  ["an unclosed fence goes to the end", "~~~\na", { tag: "pre", info: "", children: ["a"] }],
  ["a list in a list", "- a\n- b\n  - c\n\n- d", node("ul", node("li", "a"), node("li", "b", node("ul", node("li", "c"))), node("li", "d"))],
  ["a numbered list keeps its start", "3. a\n4. b\nmore", { tag: "ol", start: 3, children: [node("li", "a"), node("li", "b\nmore")] }],
  ["a quote", "> a\n> - b\n\nc", node("blockquote", node("p", "a"), node("ul", node("li", "b"))), node("p", "c")],
  ["a rule", "a\n\n* * *\n", node("p", "a"), node("hr")],
  ["a table", "| a | b |\n|:--|--:|\n| 1 | **2** |", node("table", node("thead", node("tr", node("th", "a"), node("th", "b"))), node("tbody", node("tr", node("td", "1"), node("td", node("strong", "2")))))],
  ["a link is its text and address", "see [the *docs*](javascript:alert(1)", node("p", "see the ", node("em", "docs"), " (javascript:alert(1)")],
  ["a link to itself is said once", "[http://a.b](http://a.b)", node("p", "http://a.b")],
  ["an image is its source", "![q](http://127.0.0.1/leak?q=1)", node("p", "![q](http://127.0.0.1/leak?q=1)")],
  ["HTML is text", '<b onclick="x()">a</b>\n<script>b</script>', node("p", '<b onclick="x()">a</b>\n<script>b</script>')],
]) {
  test(name, () => assert.deepEqual(markdown(text), blocks));
}

test("no letter is lost or added, no tag is unknown, nothing nests deeply", () => {
  const random = seeded(11), letters = (text) => text.replace(/[^a-z]/g, "");
  const alphabet = ["a", "b", "c", "*", "**", "_", "~~", "`", "```", "[", "](", ")", "!", "|", "-", "\n", "\n\n", "> ", "- ", " ", "  ", "\\", "#"];
  for (let round = 0; round < 5000; round++) {
    const text = random.text(alphabet, 60), tree = markdown(text);
    assert.equal(letters(words(tree)), letters(text), JSON.stringify(text));
    assert.ok(elements(tree).every((one) => MARKDOWN_TAGS.has(one.tag)));
    assert.ok(depth(tree) < 40);
  }
});

test("hostile texts of 100 kB take no seconds and make few elements", () => {
  const parts = ["*", "[", "`", "|", "![", "](", "_a ", "> ", "- ", "**a ", "``` `` ` ", "#", "1. ", "\\", "| - ", "|-|\n", "[a](", "*a_b", "\n>", "  - a\n", " ", "- a\n\n", "~~", "```\n", "[x](y ", "`a", "*a* "];
  for (const part of parts)
    for (const text of [part, "[".repeat(20) + part]) {
      const long = text + part.repeat(100_000 / part.length);
      let tree;
      const took = milliseconds(() => { tree = markdown(long); });
      assert.ok(took < 1000, `${JSON.stringify(part)} took ${took} ms`);
      assert.ok(elements(tree).length < 2200, `${JSON.stringify(part)} made ${elements(tree).length}`);
      assert.ok(depth(tree) < 40);
    }
});

test("beyond its bound of elements the rest is shown as written", () => {
  const tree = markdown("*a* ".repeat(10) + "\n\n*b*", 5);
  assert.equal(elements(tree).length, 7);
  assert.equal(words(tree), "a a a a a *a* *a* *a* *a* *a* *b*");
});
