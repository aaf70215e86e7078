"""Active learning by variance.

How good is the closed form of `adapt` with 24 to 108 labels, drawn by chance or chosen so that they leave the least variance? The errors are
those of forces on 180 test geometries of the shipped data set, at &omega;B97X/6-31G\\*, three draws each, as `benchmarks/closed_form.py` measured them
(`benchmarks/results/selection.json`, an hour); this script only draws them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
