"""What the pictures have in common: by matplotlib, as SVG whose text stays text."""
import pathlib

import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "monad_async"  # The same figures give the same file.
matplotlib.rcParams["font.family"] = "sans-serif"
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt  # noqa: E402


def save(figure, directory, name):
    figure.tight_layout()
    figure.savefig(pathlib.Path(directory) / name, metadata={"Date": None})
