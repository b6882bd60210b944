#!/usr/bin/env python3
"""Draws what `latency --draw` measured: steps.py STEPS.json DIRECTORY writes steps.svg, by matplotlib
(python3-matplotlib)."""
import json
import sys

from drawing import plt, save

figure, axes = plt.subplots(figsize=(8, 4.5))
for i, one in enumerate(json.load(open(sys.argv[1]))):
    shade = plt.get_cmap("viridis")(i / 4.5)
    per_cent = [n / 2 for n in range(len(one["ns"]))]
    axes.step(one["ns"], per_cent, where="post", color=shade, label=one["step"])
axes.set_xscale("log")
axes.set_xlabel("ns, by the executor's own stamps")
axes.set_ylabel("per cent that were not longer")
axes.grid(True, color="#ddd")
axes.legend()
save(figure, sys.argv[2], "steps.svg")
