"""The one file that all parts write their figures to, as they come."""

import json
from pathlib import Path
from typing import Any

from idle_md.files import replacing


def write(file: Path | None, part: str, found: Any) -> None:
    """Put what a part has found so far into the file, if there is to be one."""
    if file is None:
        return
    known = json.loads(file.read_text()) if file.exists() else {}
    with replacing(file) as temporary:
        temporary.write_text(json.dumps({**known, part: found}, indent=2, default=str))
