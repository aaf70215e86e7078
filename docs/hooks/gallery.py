"""A page for every example of the gallery: its docstring, its figure, its numbers, its code."""

import ast
import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples/gallery").glob("*.py"))
RESULTS = ROOT / "docs/gallery"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for script in SCRIPTS:
        files.append(File.generated(config, f"gallery/{script.stem}.md", content=_page(script)))
    return files


def _page(script: Path) -> str:
    code = script.read_text()
    docstring = ast.get_docstring(ast.parse(code)) or ""
    title, _, text = docstring.partition("\n\n")
    numbers = json.loads((RESULTS / f"{script.stem}.json").read_text())
    rows = [f"| {name} | {value:.4g} |" for name, value in numbers.items()]
    body = code.split('"""', 2)[2].strip()
    return "\n\n".join(
        [
            f"# {title.rstrip('.')}",
            text,
            f"![{title}]({script.stem}.svg)",
            "\n".join(["| | |", "| --- | --- |", *rows]),
            f"```sh\npython examples/gallery/{script.name}\n```",
            f"````python\n{body}\n````",
        ]
    )
