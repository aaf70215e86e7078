"""Compare errors that were measured again with the committed ones.

    python benchmarks/data_efficiency/check.py runs/benchmarks/again

Means over the draws that both have, method by method, must lie within the committed draws, widened
by as much as they spread, or by 5%. Ends with exit code 1 where one does not.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from report import METRICS, RESULTS, Row
from rich.console import Console
from rich.table import Table


def main() -> None:
    """Read both, print a table, fail where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder that run.py wrote to")
    arguments = parser.parse_args()
    again = [json.loads(file.read_text()) for file in sorted(arguments.out.glob("rows/*.json"))]
    committed: list[Row] = json.loads(RESULTS.read_text())["rows"]
    table = Table("experiment", "method", "labels", "error", "again", "committed draws", "within")
    failed = 0
    for key in sorted({case(row) for row in again} & {case(row) for row in committed}):
        for metric, title in METRICS.items():
            before = [row["test"][metric] for row in committed if case(row) == key]
            now = [row["test"][metric] for row in again if case(row) == key]
            if None in before + now:
                continue
            low, high = min(before), max(before)
            spread = max(high - low, 0.05 * high)
            within = low - spread <= np.mean(now) <= high + spread
            failed += not within
            shown = (f"{np.mean(now):.1f}", f"{low:.1f} to {high:.1f}", "yes" if within else "NO")
            table.add_row(*map(str, key), title, *shown)
    Console(width=130).print(table)
    if failed or not table.row_count:
        sys.exit(f"{failed} of {table.row_count} errors are not where they were")


def case(row: Row) -> tuple[str, str, int]:
    """Return what a row is of, whatever the draw."""
    return row["experiment"], row["method"], row["budget"]


if __name__ == "__main__":
    main()
