#!/usr/bin/env python3
"""Draws what `look --series` measured: series.py SERIES.json DIRECTORY writes throughput.svg and
latency.svg, by matplotlib (python3-matplotlib)."""
import json
import sys

from drawing import plt, save

series = json.load(open(sys.argv[1]))
out = sys.argv[2]
# Per mille, as look.cpp prints them.
PER_MILLE = list(range(0, 980, 20)) + list(range(980, 1001))
COLOURS = {"yield": "#2a7f3f", "NOP": "#5570c0"}

figure, axes = plt.subplots(figsize=(8, 4.5))
for what, colour in COLOURS.items():
    points = [(s["tasks"], s["items_per_second"] / 1e6) for s in series if s["what"] == what]
    label = "yields" if what == "yield" else "NOPs by io_uring"
    axes.plot(*zip(*points), marker="o", color=colour, label=label)
axes.set_xscale("log")
axes.set_ylim(bottom=0)
axes.set_xlabel("tasks on one executor")
axes.set_ylabel("million items a second of processor time")
axes.grid(True, color="#ddd")
axes.legend()
save(figure, out, "throughput.svg")

figure, axes = plt.subplots(figsize=(8, 4.5))
wanted = [s for s in series if s["what"] == "NOP"]
for i, one in enumerate(wanted):
    assert len(one["ready_ns"]) == len(PER_MILLE), len(one["ready_ns"])
    shade = plt.get_cmap("viridis")(i / max(1, len(wanted)))
    points = [(ns, p / 10) for ns, p in zip(one["ready_ns"], PER_MILLE) if ns > 0]
    axes.plot(*zip(*points), color=shade, label="{:,}".format(one["tasks"]))
axes.set_xscale("log")
axes.set_xlabel("ns between the completion of a NOP and the run of its task")
axes.set_ylabel("per cent that were not longer")
axes.grid(True, color="#ddd")
axes.legend(title="tasks", loc="upper left", bbox_to_anchor=(1, 1))  # next to the curves, not on one
save(figure, out, "latency.svg")
