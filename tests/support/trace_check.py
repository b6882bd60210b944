"""Looks at a trace: trace_check.py TRACE CHECKS. The document is read by two readers (python's json,
and jq where it is installed), compared with docs/trace.schema.json where python3-jsonschema is
installed, and held to what every trace must be; then the file CHECKS is run, which sees `document`,
`events` and the functions below. Exit status 0: all of it holds. What is missing is said."""
import collections
import json
import os
import shutil
import subprocess
import sys

path, checks = sys.argv[1:3]
document = json.load(open(path))
events = document["traceEvents"]


by_phase = collections.defaultdict(list)
by_track = collections.defaultdict(list)
for event in events:
    by_phase[event["ph"]].append(event)
    by_track[event["pid"], event["tid"]].append(event)


def of(**wanted):
    found = events
    if "pid" in wanted and "tid" in wanted:
        found = by_track[wanted["pid"], wanted["tid"]]
    elif "ph" in wanted:
        found = by_phase[wanted["ph"]]
    return [e for e in found if all(e.get(k) == v for k, v in wanted.items())]


def args(**wanted):
    return [e["args"] for e in of(**wanted)]


def ticks(found):
    return sum(e["args"]["ticks"] for e in found)


def track(name):
    """Process and thread of who has that name."""
    found = {(e["pid"], e["tid"]) for e in of(ph="M", name="thread_name")
             if e["args"]["name"] == name}
    assert len(found) == 1, (name, found)
    return dict(zip(("pid", "tid"), found.pop()))


def process(name):
    (pid,) = {e["pid"] for e in of(ph="M", name="process_name") if e["args"]["name"] == name}
    return pid


def runs(name):
    return of(ph="X", cat="task", name="run", **track(name))


def then(name, what):
    return [e["args"] for e in runs(name) if e["args"]["then"] == what]


def waits(name, what):
    return args(ph="X", cat="wait", name=what, **track(name))


starts, ends = ({e["id"]: e for e in of(ph=p)} for p in "sf")


called = {(e["pid"], e["tid"]): e["args"]["name"] for e in of(ph="M", name="thread_name")}


def arrows(name):
    """Who, and to whom, as names."""
    def who(e):
        return called.get((e["pid"], e["tid"]), "task %d" % e["tid"])
    return {(who(starts[i]), who(ends[i])) for i in starts if starts[i]["name"] == name}


# Every arrow has both ends, at one time.
assert len(starts) == len(of(ph="s")) and starts.keys() == ends.keys()
for i, e in starts.items():
    assert e["ts"] == ends[i]["ts"] and e["name"] == ends[i]["name"], (e, ends[i])
# A task runs once at a time, and waits once at a time, give or take the rounding of two numbers.
for key, found in by_track.items():
    for category in ("task", "ready", "wait"):
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in found
                      if e.get("cat") == category and "dur" in e)
        for (_, end), (begin, _) in zip(mine, mine[1:]):
            assert begin >= end - 0.0021, (key, category, end, begin)
try:
    import jsonschema
except ImportError:
    print("not compared with the schema: no python3-jsonschema")
else:
    where = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/trace.schema.json")
    schema = json.load(open(where))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    # Of a long document: all kinds of events, and the first hundreds of each.
    kinds = collections.Counter()
    some = [e for e in events if kinds.update([(e["ph"], e.get("cat"), e["name"])])
            or kinds[e["ph"], e.get("cat"), e["name"]] <= 300]
    wrong = next(validator.iter_errors(dict(document, traceEvents=some)), None)
    assert wrong is None, wrong
if shutil.which("jq") is None:
    print("not read by another reader: no jq")
else:
    script = "[.traceEvents[] | select(.ph == \"X\") | .args.ticks] | length, add // 0"
    count, total = map(int, subprocess.check_output(["jq", script, path], text=True).split())
    assert count == len(of(ph="X")), count
    exact = ticks(of(ph="X"))
    assert abs(total - exact) <= exact >> 50, (total, exact)  # jq counts in doubles.
exec(compile(open(checks).read(), checks, "exec"))
