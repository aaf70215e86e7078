"""Pages for what the documentation links to outside docs/, so that no link leaves the site."""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOLDER = "files"
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for every file and folder outside docs/ that a page links to."""
    waiting = [Path(file.abs_src_path) for file in files if file.abs_src_path]
    waiting = [path for path in waiting if path.suffix == ".md"]
    made: set[Path] = set()
    while waiting:
        for target in _outside(waiting.pop()) - made:
            made.add(target)
            files.append(File.generated(config, _address(target), content=_text(target)))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links go to the pages that stand for what is outside."""
    here = page.file.src_uri
    origin = ROOT / here.removeprefix(f"{FOLDER}/") if here.startswith(FOLDER) else DOCS / here

    def inside(link: re.Match[str]) -> str:
        target = _target(origin, link["path"])
        if target is None or (DOCS in target.parents and origin.is_relative_to(DOCS)):
            return link[0]
        own = target.relative_to(DOCS) if DOCS in target.parents else _address(target)
        return f"]({os.path.relpath(own, Path(here).parent)}{link['anchor'] or ''})"

    return LINK.sub(inside, markdown)


def _outside(origin: Path) -> set[Path]:
    """Return what is outside docs/ and linked to from a Markdown file."""
    targets = {_target(origin, link["path"]) for link in LINK.finditer(origin.read_text())}
    return {target for target in targets if target is not None and DOCS not in target.parents}


def _target(origin: Path, link: str) -> Path | None:
    """Return what a relative link names, None where there is nothing: mkdocs warns of that."""
    target = (origin.parent / link).resolve()
    return target if target.exists() and ROOT in target.parents else None


def _address(target: Path) -> str:
    name = target.relative_to(ROOT).as_posix()
    return f"{FOLDER}/{name}" if target.suffix == ".md" else f"{FOLDER}/{name}.md"


def _text(target: Path) -> str:
    if target.suffix == ".md":
        return target.read_text()
    members = sorted(target.iterdir()) if target.is_dir() else [target]
    shown = [path for path in members if path.suffix in LANGUAGES and path.is_file()]
    blocks = [f"## {path.name}\n\n{_block(path)}\n" for path in shown]
    return "\n".join([f"# {target.relative_to(ROOT).as_posix()}\n", *blocks])


def _block(path: Path) -> str:
    return f"````{LANGUAGES[path.suffix]}\n{path.read_text().rstrip()}\n````"
