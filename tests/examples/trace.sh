#!/usr/bin/env bash
# The example trace, an echo server under load: its recording adds up, and monad-async-trace shows
# it, on the terminal and as a page that a browser draws. Takes the program's path; prints "ok
# NAME", "not ok NAME" or "skip NAME: WHY", a line each.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
. "$(dirname "$0")/example.sh"

tool=$root/tools/monad-async-trace

command -v python3 >/dev/null || { echo 'skip trace: no python3 here'; exit 0; }

records() {
    cat >checks <<'END'
assert process("echo server") != process("load")
for i in range(8):
    server, client = runs("connection %d" % i), runs("client %d" % i)
    # 200 rounds each; a send that finds room may be over at once. It was written when the clients
    # had ended.
    assert len(server) >= 200 and len(client) > 200, (i, len(server), len(client))
    assert client[-1]["args"]["then"] == "exit" and len(waits("client %d" % i, "RECV")) >= 200, i
    assert ("listener", "connection %d" % i) in arrows("launch")
assert document["otherData"]["overwritten"] == 0
END
    "$program" trace.json && python3 "$root/tests/support/trace_check.py" trace.json checks |
        tee missing
}
# What was left out of the checks is one that was skipped.
reader() {
    if grep -q "no.* $2" missing; then
        printf 'skip %s: no %s here\n' "$1" "$2"
    else
        printf 'ok %s\n' "$1"
    fi
}

summary() {
    "$tool" trace.json --html page.html >said && cat said &&
        grep -q '2 executors, 17 tasks, 0 events overwritten' said &&
        grep -q 'load / client [0-7]' said &&
        grep -qE '^ +normal +[0-9]{4} ' said && "$tool" trace.json --top 3 | wc -l | grep -qx 28 ||
        return 1
    # Who reads it may go; the page is written all the same.
    rm page2.html; "$tool" trace.json --html page2.html | head -n 1 >said &&
        cmp page.html page2.html
}

# says STATUS PATTERN ARGUMENT...   Of the tool, in one line.
says() {
    local status=$1 pattern=$2 got=0
    shift 2
    "$tool" "$@" >out 2>said || got=$?
    [ "$got" = "$status" ] && [ ! -s out ] && [ "$(wc -l <said)" = 1 ] && grep -q "$pattern" said ||
        { echo "$*: $got"; cat out said; return 1; }
}
errors() {
    echo '{"traceEvents": [{}]}' >none.json && echo '{"displayTimeUnit"' >half.json &&
        : >empty.json &&
        echo '[1]' >list.json && head -c 9999 /dev/urandom >noise &&
        printf 'ma.trace\1\0\0' >memory &&
        python3 -c 'print("[" * 100000)' >deep.json || return 1
    for file in none.json list.json noise deep.json; do
        says 1 'no trace' "$file" || return 1
    done
    says 1 'it is empty' empty.json && says 1 'no trace' half.json &&
        says 1 'trace_write_memory' memory &&
        says 1 'No such file' nowhere.json && says 1 'directory' . &&
        says 1 'directory' trace.json --svg . &&
        says 1 'No such file' trace.json --html no/page.html &&
        says 2 'see --help' trace.json --top -1 &&
        says 2 'FROM is not before TO' trace.json --window 5 5 && says 2 'FILE' &&
        says 2 'see --help' trace.json --unknown && "$tool" --help | grep -q 'Exit status: 0;' ||
        return 1
    [ ! -e /dev/full ] || { ! "$tool" trace.json >/dev/full 2>said && grep -q 'No space' said; }
}

# What a program leaves that was ended while it wrote: as many events as there are.
cut_off() {
    local whole bytes
    whole=$(wc -c <trace.json)
    for bytes in 50 60 $((whole / 3)) $((whole / 2)) $((whole - 120)) $((whole - 1)) \
        $((whole - 2)); do
        head -c "$bytes" trace.json >cut.json
        "$tool" cut.json --html cut.html --svg cut.svg >out 2>said || { cat said; return 1; }
        # But for its last line break it is whole.
        [ "$bytes" = $((whole - 1)) ] || grep -q 'cut.json: it ends too early' said || return 1
    done
    "$tool" - <trace.json | diff - <("$tool" trace.json) && "$tool" cut.json 2>said |
        diff - <("$tool" trace.json)
}

# Names that would end what they stand in, in an encoding that has them and in one that has not.
odd_names() {
    python3 - <<'END' && "$tool" odd.json --html odd.html --svg odd.svg >out && python3 - <<'END2' || return 1
import json
names = ["</script><b>x", "a\"'&<>", "\u00fcn\u00ef \u4efb\u52a1 \u2028", "tab\tand \x01",
    "%s %(x)d {}"]
at = [dict(ph="M", pid=1, tid=i + 1, name="thread_name", args={"name": n})
    for i, n in enumerate(names)]
at += [dict(ph="X", pid=1, tid=i + 1, ts=i, dur=1, cat="task", name="run", args={"then": "exit"})
       for i in range(len(names))]
at += [dict(ph="M", pid=1, tid=0, name="process_name", args={"name": "</pre></script>"})]
json.dump({"traceEvents": at}, open("odd.json", "w"))
END
import html.parser, json, xml.dom.minidom
names = [e["args"]["name"] for e in json.load(open("odd.json"))["traceEvents"]
    if e["name"] == "thread_name"]
class Page(html.parser.HTMLParser):
    tags, data, inside = [], {}, None
    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = dict(attributes).get("id")
    def handle_data(self, text):
        self.data[self.inside] = self.data.get(self.inside, "") + text
page = Page()
page.feed(open("odd.html", encoding="utf-8").read())
assert page.tags.count("script") == 2 and page.tags.count("b") == 1, page.tags
tracks = json.loads(page.data["data"])["tracks"]
assert sorted(t["name"] for t in tracks) == sorted(names + ["</pre></script>"])
assert "</script><b>x" in page.data["summary"]
texts = [t.firstChild.data for t in xml.dom.minidom.parse("odd.svg").getElementsByTagName("text")]
assert "  </script><b>x" in texts, texts
END2
    PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C "$tool" odd.json >plain && grep -q '?n? ?? ?' plain
}

# No row is longer than the terminal; where all fit, it is what a pipe gets.
on_a_terminal() {
    script -qec "stty cols $1; '$tool' trace.json" /dev/null </dev/null | tr -d '\r' >seen &&
        awk -v most="$1" '/^  / && length($0) > most { print; bad = 1 } END { exit bad }' seen &&
        grep -q 'load / client [0-7]' seen
}
terminals() {
    on_a_terminal 40 && on_a_terminal 20 && on_a_terminal 200 && "$tool" trace.json | cmp - seen
}

# browse FILE ARGUMENT...   Where there is no network to be had.
browse() {
    local page=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-dev-shm-usage --proxy-server=127.0.0.1:9 --user-data-dir="$scratch/profile" \
        --window-size=1200,700 "$@" "file://$scratch/$page" 2>browser.log
}

# What it drew; that it asked for nothing; and what it does when it is pointed at, zoomed and moved.
page_is_drawn() {
    python3 - <<'END'
text = open("page.html").read()
open("tried.html", "w").write(text.replace("</body>", """<script>
{ const say = document.body.dataset, box = canvas.getBoundingClientRect();
const point = (type, x, y, more) => canvas.dispatchEvent(new MouseEvent(type, Object.assign(
  { clientX: box.left + x, clientY: box.top + y, bubbles: true }, more)));
const row = data.tracks.findIndex(track => track.name === "client 2");
const run = data.tracks[row].slices.task[5];
from = run[0] - 1; to = run[0] + run[1] + 1; draw();
point("mousemove", x(run[0] + run[1] / 2, canvas.clientWidth), top_ + row * high + 9 - scrolled());
say.tip = tip.textContent;
const before = to - from;
canvas.dispatchEvent(new WheelEvent("wheel", {
    clientX: 600, clientY: 100, deltaY: 100, ctrlKey: true,
  cancelable: true }));
say.wider = to - from > before;
const begun = from;
point("mousedown", 600, 100); point("mousemove", 500, 100);
window.dispatchEvent(new MouseEvent("mouseup"));
say.moved = from > begun;
point("dblclick", 600, 100);
say.all = from === 0 && to === data.span;
say.requests = performance.getEntriesByType("resource").length; }
</script></body>"""))
END
    browse tried.html --dump-dom >dom && sed -n 's/.*\(<body[^>]*>\).*/\1/p' dom | tee body &&
        for what in 'drawn="19"' 'tip="client 2.run, ' 'wider="true"' 'moved="true"' 'all="true"' \
        'requests="0"'; do
            tr '\n' '.' <dom | grep -q "<body[^>]*data-$what" || { echo "no $what"; return 1; }
        done
}

# Each colour of the timeline is there, and most of what is there is none. Where somebody is ready
# and runs for about as long as each other: what is narrower than a dot has no colour of its own.
page_is_seen() {
    python3 - <<'END' || return 1
text = open("page.html").read()
open("zoomed.html", "w").write(text.replace("</body>", """<script>
{ let best = 0;
  for (const { slices } of data.tracks) for (const run of slices.task || []) {
    const before = (slices.ready || []).find(one => Math.abs(one[0] + one[1] - run[0]) < 0.002);
    const even = before ? Math.min(before[1], run[1]) / Math.max(before[1], run[1]) : 0;
    if (even > best) { best = even; from = before[0] - 2 * before[1]; to = run[0] + 4 * run[1]; }
  }
  draw(); }
</script></body>"""))
END
    browse zoomed.html --screenshot="$scratch/page.png" && python3 - <<'END'
import collections, struct, zlib
data = open("page.png", "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, packed = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    chunk = data[at + 8:at + 8 + length]
    if kind == b"IHDR":
        width, height, depth, colour = struct.unpack(">IIBB", chunk[:10])
    elif kind == b"IDAT":
        packed += chunk
    at += length + 12
size = {2: 3, 6: 4}[colour]
assert depth == 8
raw, row, rows = zlib.decompress(packed), bytearray(width * size), []
for y in range(height):
    begin = y * (width * size + 1)
    how, line = raw[begin], bytearray(raw[begin + 1:begin + 1 + width * size])
    for i in range(len(line)):
        a, b = line[i - size] if i >= size else 0, row[i]
        c = row[i - size] if i >= size else 0
        guess = a + b - c
        paeth = min((a, b, c), key=lambda n: abs(guess - n))
        line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[how]) & 255
    row = line
    rows.append(line)
count = collections.Counter(bytes(line[i:i + 3]) for line in rows
    for i in range(0, len(line), size))
print(width, height, count.most_common(8))
assert (width, height) == (1200, 700)
for name in "2a7f3f", "e0a020", "c9d6e4", "5570c0":
    assert count[bytes.fromhex(name)] > 300, name
assert count[b"\xff\xff\xff"] > width * height // 5
END
}

check 'the echo server under load is recorded' records
if [ $status = 0 ]; then
    reader 'the recording is as its schema says' python3-jsonschema
    reader 'the recording is read by jq' jq
fi
check 'a summary of a trace' summary
check 'what is wrong is said in a line' errors
check 'a trace that was cut off' cut_off
check 'odd names in a trace' odd_names
check 'a summary on terminals' terminals
browser=
for name in chromium chromium-browser google-chrome; do
    command -v $name >/dev/null && browser=$name && break
done
if [ -z "$browser" ]; then
    echo 'skip the page of a trace is drawn: no chromium here'
    echo 'skip the page of a trace is seen: no chromium here'
    exit $status
fi
check 'the page of a trace is drawn' page_is_drawn
check 'the page of a trace is seen' page_is_seen
exit $status
