"""Hooks of MkDocs (`make docs`): pages and files outside docs/, and what GitHub shows and Python-Markdown does not."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
#: Pages that are kept at the root of the repository.
AT_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "SECURITY.md": "security.md",
}
#: Folders that pages link to, with the page that lists what they hold.
FOLDERS = {"configs": "configuration.md#reference-settings"}
LINK = re.compile(r"(?<=\]\()(?!https?://|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
#: A link whose text is the path of a page, which is shown by its title.
PATH_AS_TEXT = re.compile(r"\[`?(?P<path>[\w./-]+\.md)`?\](?=\((?P<target>[^)#\s]+))")
API = re.compile(r"<!-- generated: api (\S+) -->.*?<!-- end of api -->", re.DOTALL)
#: Code in a row of a table, where Python-Markdown needs no backslash before a vertical bar.
ROW, CODE = re.compile(r"^\|.*$", re.MULTILINE), re.compile(r"`[^`]+`")
#: What a page loads from another host.
REQUEST = re.compile(
    r"<(?:script|img|iframe|source|video|link(?! rel=.?canonical))\b[^>]*(?:src|href)=[\"']?https?://[^>]*>"
)
COMMENT = re.compile(r"^<!--.*?-->$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the root of the repository, and the files outside docs/ that pages link to."""
    for name, page in AT_ROOT.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for source in [file.src_uri for file in files.documentation_pages()]:
        text = Path(files.src_uris[source].abs_src_path or "").read_text(encoding="utf-8")
        for match in LINK.finditer(text):
            uri = _in_site(source, match["target"])
            if uri.startswith("files/") and uri not in files.src_uris and (ROOT / uri[6:]).is_file():
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri[6:])))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site, render the API from the code, and read Markdown inside <details>."""
    source = page.file.src_uri
    folder = posixpath.dirname(source) or "."

    def link(match: re.Match[str]) -> str:
        target, _, anchor = _in_site(source, match["target"]).partition("#")
        return posixpath.relpath(target, folder) + (match["anchor"] or (anchor and f"#{anchor}"))

    def title(match: re.Match[str]) -> str:
        file = files.get_file_from_path(_in_site(source, match["target"]))
        return f"[{file.content_string.partition(chr(10))[0].removeprefix('# ')}]" if file else match[0]

    markdown = PATH_AS_TEXT.sub(title, API.sub(r"::: \1", markdown))
    markdown = COMMENT.sub("\n", LINK.sub(link, markdown))
    markdown = ROW.sub(lambda row: CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown)
    return markdown.replace("<details>", '<details markdown="1">')


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads something from another host."""
    if match := REQUEST.search(output):
        raise PluginError(f"{page.file.src_uri} makes a request to another host: {match[0]}")
    return output


def _in_site(source: str, target: str) -> str:
    """Return where a link of a page leads to: a page or file of docs/, or a copy of a file outside it in files/."""
    at_root = {page: name for name, page in AT_ROOT.items()}
    origin = at_root.get(source, f"docs/{source}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return AT_ROOT.get(path) or FOLDERS.get(path) or f"files/{path}"
