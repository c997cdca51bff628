"""Names of classes and files that try to become something else than text, and a reader that says what a page holds."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE_NAMES = (
    "<script>window.hit=1</script>", "</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>", "\"><b id=hit>", "' onmouseover='window.hit=1", "\" autofocus onfocus=\"window.hit=1",
    "</td></tr></table><h1 id=hit>", "</title><h1 id=hit>", "</style><h1 id=hit>", "<!--", "-->", "<![CDATA[x]]>",
    "<?php echo 1 ?>", "&lt;b&gt;", "&amp;", "&#60;b&#62;", "&quot;", "javascript:window.hit=1", "data:text/html,<b>",
    "=1+1", "=HYPERLINK(\"http://127.0.0.1/\")", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1+1", "${7*7}", "{{7*7}}",
    "<iframe src=//127.0.0.1>", "<a href=//127.0.0.1 id=hit>x</a>", "<base href=//127.0.0.1>", "<link rel=stylesheet>",
    "<meta http-equiv=refresh content=0>", "<form action=//127.0.0.1><input>", "<object data=x>", "<embed src=x>",
    "<math><mtext></mtext></math>", "<template><b id=hit></template>", "<plaintext>", "<textarea>", "<noscript><b>",
    "\\u003cb\\u003e", "\\x3cscript\\x3e", "`window.hit=1`", "\u2028window.hit=1\u2029", "\u202egnp.exe", "a\x00b\x07c",
    "\ud800 half", "名前", "شكل", "  spaces   inside  ", "x" * 300,
)  # fmt: skip


class Reader(HTMLParser):
    """What a page holds.

    Attributes:
        tags: every element that is opened, with its attributes.
        texts: all text outside scripts and styles, piece by piece.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._silent = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag if tag in ("script", "style") else self._silent

    def handle_endtag(self, tag: str) -> None:
        self._silent = "" if tag == self._silent else self._silent

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(data)
