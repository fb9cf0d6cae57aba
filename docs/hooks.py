"""What mkdocs does to the pages: parts of the files at the root, links out of docs, equations."""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
SECTION = re.compile(r"^<!-- part of (\S+): (.+) -->$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
# Docstrings name what they speak of as Sphinx does.
ROLE = re.compile(r":(?:class|data|func|meth|mod):<code>([^<]*)</code>")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts in the sections that a page asks for, and turns links to files outside of docs."""
    markdown = SECTION.sub(lambda found: section(found[1], found[2]), markdown)
    if page.file.src_uri in PAGES.values():
        name = next(name for name, uri in PAGES.items() if uri == page.file.src_uri)
        markdown = from_root((ROOT / name).read_text(encoding="utf-8"))
    folder = (DOCS / page.file.src_uri).parent
    return LINK.sub(lambda link: _inside(link, folder), markdown)


def section(name: str, heading: str) -> str:
    """The text below ``## heading`` of a file at the root."""
    text = (ROOT / name).read_text(encoding="utf-8")
    start = text.find(f"\n## {heading}\n")
    if start < 0:
        raise ValueError(f"docs: {name} has no section '## {heading}'")
    body = text[start + len(heading) + 5 :]
    return from_root(body.partition("\n## ")[0].strip())


def from_root(text: str) -> str:
    """Links of a file at the root, seen from docs."""
    return LINK.sub(lambda link: f"[{link[1]}]({_from_docs(link[2])}{link[3] or ''})", text)


def _from_docs(target: str) -> str:
    if "://" in target:
        return target
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def _inside(link: re.Match[str], folder: Path) -> str:
    """A link to a file outside of docs leads to its page, or is the name of the file."""
    text, target, anchor = link[1], link[2], link[3] or ""
    place = (folder / target).resolve()
    if not target.startswith("../") or place.is_relative_to(DOCS):
        return link[0]
    path = place.relative_to(ROOT).as_posix()
    if not place.exists():
        raise ValueError(f"docs: a link leads to {path}, which does not exist")
    if path in PAGES:
        return f"[{text}]({PAGES[path]}{anchor})"
    return f"`{path}`" if text == path else f"{text} (`{path}`)"


def on_page_content(html: str, **_: Any) -> str:
    """Equations as MathML, which browsers draw without a script; names without their roles."""
    html = ROLE.sub(lambda found: f"<code>{found[1].rpartition('~')[2]}</code>", html)
    return EQUATION.sub(_equation, html)


def _equation(found: re.Match[str]) -> str:
    latex = found[3].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
    drawn = convert(latex, display="block" if found[2] == "[" else "inline")
    if "\\" in drawn:
        raise ValueError(f"docs: latex2mathml does not know a command in: {latex}")
    return drawn
