"""Commands for gdb 12 or newer, on a live process or a core:

  info monad-tasks          each task of the process: state, priorities, executor, ticks, stack
  monad-task N bt           the stack of task N, also of one that is suspended
  monad-task N COMMAND      any gdb command among the frames of task N
  info monad-operations     what the kernel and the queues have of each task
  info monad-scopes         the scopes that each task is in, innermost first
  info monad-locks          mutexes that somebody waits for: who holds them, who waits
  info monad-pools          tasks that wait for a worker, in their order

Reads what src/debug.rs describes, so it needs no debug information of the library. Writes nothing
to the process: a suspended task's frames are shown by an unwinder, as callers of where the selected
thread stands.

One file, however long: programs carry it along as one entry of a section that gdb reads
(.debug_gdb_scripts), from which no path leads to a second file, and gdb's own directory has one for
each library, by its name.
"""
import bisect
import collections
import contextlib
import functools
import re
import struct
import time

import gdb
import gdb.unwinder


def monad_async_debugger():
    """One function, so that nothing of it meets what else gdb has loaded: all scripts share one
    namespace. Loading it again replaces it."""
    SECTION = "monad_async_debug"
    VERSION = 5
    MASK = (1 << 64) - 1
    LEVELS = ("high", "normal", "low")
    # include/uapi/linux/io_uring.h, from 0.
    OPCODES = """NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE SYNC_FILE_RANGE
    SENDMSG RECVMSG TIMEOUT TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT CONNECT FALLOCATE OPENAT
    CLOSE FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV OPENAT2 EPOLL_CTL SPLICE
    PROVIDE_BUFFERS REMOVE_BUFFERS TEE SHUTDOWN RENAMEAT UNLINKAT MKDIRAT SYMLINKAT LINKAT MSG_RING
    FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET URING_CMD SEND_ZC SENDMSG_ZC READ_MULTISHOT WAITID
    FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV FIXED_FD_INSTALL FTRUNCATE BIND LISTEN RECV_ZC EPOLL_WAIT
    READV_FIXED WRITEV_FIXED PIPE""".split()

    # Stack pointer, program counter, and where a suspension leaves which register, from the saved
    # stack pointer up; then the stack pointer itself. (src/stack/jump.rs and corosensei draw it.)
    ARCHITECTURES = {
        "i386:x86-64": ("rsp", "rip", {"rip": 0, "rbx": 8, "rbp": 16}, 24),
        "aarch64": ("sp", "pc", {"x19": 0, "x29": 8, "pc": 16}, 32),
    }

    def read(address, size):
        return bytes(gdb.selected_inferior().read_memory(address, size))

    def word(address):
        return number(read(address, 8), 0)

    def number(data, at, size=8):
        return int.from_bytes(data[at:at + size], "little")

    def opcode(number):
        return OPCODES[number] if number < len(OPCODES) else "operation %d" % number

    class Library:
        """One copy of the library in the process: a program and its plugins may have one each."""

        def __init__(self, table):
            magic, version, count, self.slabs = struct.unpack("=16sIIQ", read(table, 32))
            if magic != b"monad_async.dbg\0" or version != VERSION:
                raise gdb.GdbError("monad_async in this process needs another monad-async-gdb.py")
            entries = struct.iter_unpack("=24sQ", read(table + 32, 32 * count))
            self.at = {name.rstrip(b"\0").decode(): value for name, value in entries}

        def all_slabs(self):
            """Oldest first, so that a slot's number stays."""
            found, at = [], word(self.slabs)
            while at:
                found.append(Slab(self, at))
                at = found[-1].next
            return found[::-1]

        @functools.cached_property
        def slabs_by_address(self):
            slabs = sorted(self.all_slabs(), key=lambda slab: slab.address)
            return [slab.address for slab in slabs], slabs

        def stack_limit(self, base):
            """The lowest address of the stack with this base; the base, if there is none."""
            addresses, slabs = self.slabs_by_address
            place = bisect.bisect_right(addresses, base - 1)
            if not place:
                return base
            slab = slabs[place - 1]
            first = slab.address + slab.slots_at
            index = (base - 1 - first) // slab.slot_bytes
            there = 0 <= index < slab.carved
            return first + index * slab.slot_bytes + slab.guard_bytes if there else base

    class Slab:
        def __init__(self, library, address):
            self.library, self.address, at = library, address, library.at
            data = read(address, at["slab.size"])
            (self.next, self.headers_at, self.header_bytes, self.slots_at, self.slot_bytes,
             self.guard_bytes) = (number(data, at["slab." + name]) for name in (
                 "next", "headers_at", "header_bytes", "slots_at", "slot_bytes", "guard_bytes"))
            self.slots, self.carved = (number(data, at[n], 4) for n in ("slab.slots", "slab.carved"))

        def in_use(self):
            """Index and task header of each slot that somebody has."""
            at, size = self.library.at, self.library.at["meta.size"]
            metas = read(self.address + at["slab.size"], size * self.carved) if self.carved else b""
            for index in range(self.carved):
                if metas[index * size + at["meta.generation"]] & 1:
                    yield index, self.address + self.headers_at + index * self.header_bytes

    class Task:
        def __init__(self, library, num, address):
            at, self.library, self.num, self.address = library.at, library, num, address
            self.data = data = read(address, at["task.size"])
            self.pending, self.running, awaiting, self.completed = (
                data[at["task.flags"] + i] for i in range(4))
            closing = awaiting and data[at["task.waits"]] == at["waits.closing"]
            self.suspended = awaiting or self.completed
            self.has_frames = self.suspended and not closing
            self.priority = (data[at["task.cpu"]], data[at["task.io"]])
            self.user_code, self.user_ptr, self.executor, self.ticks, self.base, self.annex = (
                number(data, at["task." + name]) for name in (
                    "user_code", "user_ptr", "executor", "ticks", "stack_base", "annex"))
            self.base &= ~1
            # The stack that it ran on last; where each has its own, there is no link.
            if at["switch.link_below"]:
                self.base = number(data, at["task.switch"]) + at["switch.link_below"]
            self.limit = library.stack_limit(self.base)
            self.sp = self.base
            if self.has_frames:
                self.sp = number(data, at["task.switch"] + at["switch.sp"])
            if not at["switch.by_jumps"]:
                self.sp = self.exact_sp()

        def name(self):
            at = self.library.at
            if not self.data[at["task.notes"]] & at["note.named"]:
                return ""
            text = read(word(self.annex + at["annex.name"]), 32)
            return text.split(b"\0")[0].decode(errors="replace")

        def exists(self):
            """False while it is being made or destroyed."""
            return self.limit < self.sp <= self.base

        def exact_sp(self):
            """Without jumps, the switch knows where the stack ended give or take; which of its
            words is the stack pointer shows in its value."""
            at = self.library.at
            words = struct.unpack_from("=%dQ" % (at["switch.size"] // 8), self.data, at["task.switch"])
            return next((value for value in words if self.limit < value < self.sp), self.sp)

        def holds(self, sp):
            return self.limit <= sp < self.base

        def state(self, names):
            """`names`: the numbers of tasks by address."""
            at, data = self.library.at, self.data
            if self.running:
                return "running"
            if data[at["task.state"]] == at["state.queued"]:
                return "queued in a pool"
            if self.pending:
                return "pending launch"
            if not self.suspended:
                fresh = data[at["task.state"]] == at["state.fresh"]
                return "idle" if fresh else "idle, has exited"
            if self.completed:
                return "ready"
            waits, peer = data[at["task.waits"]], self.peer()

            def operation(record):
                if not record:
                    return "waiting for any of its operations"
                queued = read(record + at["op.state"], 1)[0] == at["op.queued"]
                how = ", waits for a submission entry" if queued else " in flight"
                return "I/O: " + opcode(read(record, 1)[0]) + how + canceled

            def joined(record):
                other = word(record + at["record.other"])
                there = word(other + at["task.executor"]) != self.executor
                return names(other) + (" of another executor" if there else "") + canceled

            def granted(record):
                mutex = word(record + at["wait.object"])
                if mutex & 7 == at["group.tag"]:
                    return "waiting for the children of a group"
                if not is_mutex(mutex):
                    return "waiting for a lock, a channel or another task"
                owner = word(mutex + at["mutex.owner"])
                return "waiting for mutex %#x, held by %s" % (
                    mutex, "a thread" if owner & 1 else names(owner))

            canceled = ", cancel asked" if data[at["task.marks"]] & at["mark.asked"] else ""
            in_flight = "I/O: %s in flight%s" % (opcode(data[at["task.opcode"]]), canceled)
            return {
                at["waits.deadline"]: lambda: deadline(number(data, at["task.deadline_ns"])),
                at["waits.forever"]: lambda: "sleeping forever",
                at["waits.completion"]: lambda: in_flight,
                at["waits.cancel_queued"]: lambda: in_flight,
                at["waits.operation"]: lambda: operation(peer),
                at["waits.join"]: lambda: "joining " + joined(peer),
                at["waits.park"]: lambda: "parked",
                at["waits.grant"]: lambda: granted(peer) + canceled,
                at["waits.closing"]: lambda: "returned, its operations are being cancelled",
            }.get(waits, lambda: "suspended (%d)" % waits)()

        def marked(self, name):
            return self.data[self.library.at["task.marks"]] & self.library.at["mark." + name]

        def waits_for(self, what):
            """The record of its wait, if it waits for that; else 0."""
            at = self.library.at
            if not self.suspended or self.completed or self.data[at["task.waits"]] != at["waits." + what]:
                return 0
            return self.peer()

        def peer(self):
            """The record of its wait. Where none was made yet what it notes of an object is
            elsewhere in the header: the record, then, is what would have it there."""
            at, peer = self.library.at, number(self.data, self.library.at["task.peer"])
            if not peer and self.data[at["task.waits"]] == at["waits.grant"]:
                return self.address + at["task.noted"] - at["wait.object"]
            return peer

        def mutex(self):
            """That it waits for, or 0."""
            record = self.waits_for("grant")
            found = word(record + self.library.at["wait.object"]) if record else 0
            return found if is_mutex(found) else 0

        def group(self):
            """That it is a child of, or 0."""
            at = self.library.at
            return word(self.annex + at["hook.of"]) if self.marked("hooked") else 0

        def waits_for_tasks(self, children):
            """The addresses of those that have to go on first, as far as one can tell; `children`:
            those of each group."""
            at, record = self.library.at, self.waits_for("join")
            if record:
                return [word(record + at["record.other"])]
            record = self.waits_for("grant")
            found = word(record + at["wait.object"]) if record else 0
            if found & 7 == at["group.tag"]:
                return children[found & ~7]
            owner = word(found + at["mutex.owner"]) if is_mutex(found) else 0
            return [owner] if owner and not owner & 1 else []

        def operations(self):
            """The addresses of its records that are in flight, oldest first."""
            at = self.library.at
            if not self.marked("operations"):
                return
            youngest = link = number(self.data, at["task.operations"])
            while link:
                link = word(link)
                yield link - at["op.of_task"]
                if link == youngest:
                    return

        def scopes(self):
            at, scope = self.library.at, number(self.data, self.library.at["task.scope"])
            while scope and self.marked("scoped"):
                yield scope
                scope = word(scope + at["scope.outer"])

    def is_mutex(address):
        return address and not address & 7

    def deadline(ns):
        text = "sleeping until %d.%09d" % divmod(ns, 10**9)
        connection = getattr(gdb.selected_inferior(), "connection", None)
        if getattr(connection, "type", None) == "native":
            text += " (%.3f s from now)" % ((ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) / 1e9)
        return text

    def libraries():
        if gdb.selected_thread() is None:
            raise gdb.GdbError("No process and no core.")
        tables = re.findall(r"(0x[0-9a-f]+) - 0x[0-9a-f]+ is %s\b" % SECTION,
                            gdb.execute("info files", to_string=True))
        if not tables:
            raise gdb.GdbError("No monad_async in this process (no section %s)." % SECTION)
        found = []
        for table in dict.fromkeys(tables):  # A program by a remote stub is listed twice.
            # Mapped, but its addresses are not relocated yet: no tasks.
            with contextlib.suppress(gdb.MemoryError):
                found.append(Library(int(table, 16)))
        return found

    def places():
        """Library, number and address of each task."""
        base = 0
        for library in libraries():
            for slab in library.all_slabs():
                if not slab.slots:
                    raise gdb.GdbError("This core lacks the tasks' memory: gcore's end at the first"
                                       " guard of a stack. Take one that the kernel writes.")
                for index, header in slab.in_use():
                    yield library, base + index + 1, header
                base += slab.slots

    def find_task(text):
        """By number, or by address: any expression with the value of a handle."""
        wanted = int(gdb.parse_and_eval(text)) & MASK
        for library, num, address in places():
            if wanted in (num, address):
                task = Task(library, num, address)
                if task.exists():
                    return task
        raise gdb.GdbError("No task %s; see info monad-tasks." % text)

    def register(frame, name):
        return int(frame.read_register(name)) & MASK

    def architecture():
        name = gdb.newest_frame().architecture().name()
        for known, layout in ARCHITECTURES.items():
            if name.startswith(known):
                return layout
        raise gdb.GdbError("Stacks of suspended tasks cannot be shown on %s." % name)

    @contextlib.contextmanager
    def selection_kept():
        """The selected thread and frame are restored."""
        thread, level = gdb.selected_thread(), gdb.selected_frame().level()
        try:
            yield
        finally:
            thread.switch()
            with contextlib.suppress(gdb.error):
                gdb.execute("select-frame %d" % level, to_string=True)

    def threads():
        """Of each thread: itself, its stack pointer, its thread pointer (0 if gdb does not say)."""
        found, sp = [], architecture()[0]
        with selection_kept():
            for thread in gdb.selected_inferior().threads():
                try:
                    thread.switch()
                    here = register(gdb.newest_frame(), sp)
                except gdb.error:
                    continue  # It runs.
                token = 0
                for name in ("fs_base", "tpidr"):
                    with contextlib.suppress(gdb.error, ValueError):
                        token = token or register(gdb.newest_frame(), name)
                found.append((thread, here, token))
        return found

    def symbol(address):
        if not address:
            return "-"
        text = gdb.execute("info symbol %#x" % address, to_string=True)
        known = not text.startswith("No symbol")
        return text.split(" in section")[0].strip() if known else "%#x" % address

    FrameId = collections.namedtuple("FrameId", "sp pc")

    class SuspendedUnwinder(gdb.unwinder.Unwinder):
        """While enabled: the caller of the selected thread's newest frame is the suspended task.

        gdb reads no registers but a thread's for its newest frame, also in a core; so that frame
        stays, and the task's come behind it. Its id lies below the task's frames, as gdb takes a
        caller whose stack is lower for corrupt.
        """

        def __init__(self):
            super().__init__("monad-async")
            self.enabled = False

        def arm(self, task):
            self.sp_name, self.pc_name, saved, above = architecture()
            here = gdb.newest_frame()
            self.here = (register(here, self.sp_name), register(here, self.pc_name))
            self.registers = {name: word(task.sp + at) for name, at in saved.items()}
            self.registers[self.sp_name] = task.sp + above
            self.low, self.last_sp = task.sp, None
            self.enabled = True

        def __call__(self, frame):
            sp, pc = register(frame, self.sp_name), register(frame, self.pc_name)
            if (sp, pc) == self.here:
                return self.unwound(frame, self.low, self.registers)
            if sp == self.last_sp:
                # The task's outermost frame: its caller was the executor, when it last ran.
                return self.unwound(frame, sp, {self.pc_name: 0, self.sp_name: sp + 8})
            return None

        def unwound(self, frame, id_sp, registers):
            def value(name, number):
                return gdb.Value(number).cast(frame.read_register(name).type)
            here = FrameId(value(self.sp_name, id_sp), frame.read_register(self.pc_name))
            info = frame.create_unwind_info(here)
            for name, saved in registers.items():
                info.add_saved_register(name, value(name, saved))
            return info

    unwinder = SuspendedUnwinder()
    gdb.unwinder.register_unwinder(None, unwinder, True)

    def walk(task):
        """The level of the task's newest frame, the stack pointers of all, newest first, and
        whether there are other frames behind."""
        frame, first, sps = gdb.newest_frame(), None, []
        with contextlib.suppress(gdb.error):  # As far as gdb can see.
            while frame is not None and frame.pc():
                sp = register(frame, unwinder.sp_name)
                if task.holds(sp):
                    first = frame.level() if first is None else first
                    sps.append(sp)
                elif sps:
                    return first, sps, True
                frame = frame.older()
        if first is None:
            raise gdb.GdbError("gdb does not find the stack of task %d." % task.num)
        return first, sps, False

    @contextlib.contextmanager
    def frames_of(task):
        """Inside, the frames of a suspended task are there: the newest's level, and how many."""
        names = ("backtrace past-main", "backtrace past-entry")
        with selection_kept():
            had = [gdb.parameter(name) for name in names]
            try:
                for name in names:
                    gdb.execute("set %s on" % name)
                unwinder.arm(task)
                gdb.invalidate_cached_frames()
                # Where the stack ends is seen by going beyond; then once more, to end there.
                first, sps, beyond = walk(task)
                if beyond and len(sps) > 1:
                    unwinder.last_sp = [sp for sp in sps if sp != sps[-1]][-1]
                    gdb.invalidate_cached_frames()
                    first, sps, _ = walk(task)
                yield first, len(sps)
            finally:
                unwinder.enabled = False
                gdb.invalidate_cached_frames()
                for name, on in zip(names, had):
                    gdb.execute("set %s %s" % (name, "on" if on else "off"))

    def backtrace(first, count, arguments):
        counts = [int(argument) for argument in arguments if argument.isdigit()]
        others = [argument for argument in arguments if not argument.isdigit()]
        command = " ".join(["backtrace", *others, str(first + min([count, *counts]))])
        text = gdb.execute(command, to_string=True)
        return text[re.search(r"^#%d " % first, text, re.M).start():]

    def on_its_thread(task, command):
        for thread, sp, _ in threads():
            if task.holds(sp):
                with selection_kept():
                    thread.switch()
                    print("It runs on thread %d:" % thread.num)
                    gdb.execute("info registers" if command == "regs" else command)
                return
        print("No thread stands on its stack; see thread apply all bt.")

    class InfoTasks(gdb.Command):
        """Lists the tasks of the process: state, priorities, executor, ticks, stack.

    The numbers are those of the places tasks have in memory: a task keeps its own for life."""

        def __init__(self):
            super().__init__("info monad-tasks", gdb.COMMAND_STACK)

        def invoke(self, _argument, _from_tty):
            found = [task for task in (Task(*place) for place in places()) if task.exists()]
            quoted = {task.num: ' "%s"' % task.name() if task.name() else "" for task in found}
            names = {task.address: "task %d" % task.num + quoted[task.num] for task in found}
            seen, symbol_of = threads(), functools.lru_cache(None)(symbol)
            thread_of = {token: ", thread %d" % thread.num for thread, _, token in reversed(seen)}
            print("%4s  %-14s  %-7s  %-14s  %14s  %9s/%-9s  %s" % (
                *"Num Task CPU/IO Executor Ticks Stack of".split(), "State, code, argument"))
            for task in found:
                state = task.state(lambda peer: names.get(peer, "a task that is gone"))
                if task.executor:
                    owner = word(task.executor + task.library.at["executor.owner"])
                    state += thread_of.get(owner, "")
                sps = [sp for _, sp, _ in seen if task.holds(sp)] if task.running else [task.sp]
                levels = "/".join(LEVELS[min(level, 2)][0] for level in task.priority)
                print("%4d  %#-14x  %-7s  %-14s  %14d  %9s/%-9d  %s; %s (%#x)%s" % (
                    task.num, task.address, levels, "%#x" % task.executor if task.executor else "-",
                    task.ticks, task.base - sps[0] if sps else "?", task.base - task.limit, state,
                    symbol_of(task.user_code), task.user_ptr, quoted[task.num]))
            print("%d tasks" % len(found))
            children = collections.defaultdict(list)
            for task in found:
                children[task.group()].append(task.address)
            for cycle in cycles({task.address: task.waits_for_tasks(children) for task in found}):
                print("deadlock: " + " -> ".join(names[address] for address in cycle))

    def cycles(after):
        """Those who wait for each other: each from its lowest to that one again."""
        left, way, on_the_way = set(), [], set()
        for begin in after:
            if begin not in left:
                way.append((begin, iter(after[begin])))
                on_the_way.add(begin)
            while way:
                at, others = way[-1]
                other = next(others, None)
                if other is None:
                    way.pop()
                    on_the_way.remove(at)
                    left.add(at)
                elif other in on_the_way:
                    cycle = [address for address, _ in way]
                    cycle = cycle[cycle.index(other):]
                    lowest = cycle.index(min(cycle))
                    yield cycle[lowest:] + cycle[:lowest + 1]
                elif other in after and other not in left:
                    way.append((other, iter(after[other])))
                    on_the_way.add(other)

    def all_tasks():
        """Each task, and a function that gives a task's name by its address."""
        found = [task for task in (Task(*place) for place in places()) if task.exists()]
        named = {task.address: "task %d" % task.num + (' "%s"' % task.name() if task.name() else "")
                 for task in found}
        return found, lambda address: named.get(address, "a task that is gone")

    def lines_command(name, help_text, lines):
        """A command that prints what `lines` gives, and how many those are."""
        class Lines(gdb.Command):
            __doc__ = help_text

            def __init__(self):
                super().__init__("info monad-" + name, gdb.COMMAND_STACK)

            def invoke(self, _argument, _from_tty):
                count = 0
                for line in lines():
                    count += not line.startswith(" ")
                    print(line)
                print("%d %s" % (count, name))
        Lines()

    def operations():
        found, named = all_tasks()
        for task in found:
            at = task.library.at
            if not task.suspended or task.completed:
                waits = None
            else:
                waits = task.data[at["task.waits"]]
            if waits in (at["waits.completion"], at["waits.cancel_queued"]):
                asked = ", cancel asked" if task.marked("asked") else ""
                yield "%s: %s, which it waits for%s" % (
                    named(task.address), opcode(task.data[at["task.opcode"]]), asked)
            for op in task.operations():
                data = read(op, 192)
                state, bits = data[at["op.state"]], data[at["op.bits"]]
                how = {at["op.queued"]: "waits for a submission entry", at["op.done"]: "over",
                       at["op.row"]: "waits for its turn"}.get(state, "in flight")
                pending = number(data, at["op.pending"], 4)
                yield "%s: %s of %d at %#x, %s%s%s%s" % (
                    named(task.address), opcode(data[0]),
                    number(data, 4, 4) - ((number(data, 4, 4) & 1 << 31) << 1), op, how,
                    ", a stream" if bits & at["op.stream"] else "",
                    ", %d completions not taken" % pending if pending else "",
                    ", cancel asked" if bits & at["op.asked"] else "")

    def scopes():
        found, named = all_tasks()
        for task in found:
            at = task.library.at
            for scope in task.scopes():
                fired = number(read(scope + at["scope.fired"], 4), 0, 4)
                unarmed = read(scope + at["scope.unarmed"], 1)[0]
                timeout = word(scope + at["scope.timeout_ns"])
                if fired:
                    when = "fired: errno %d" % fired
                elif timeout == MASK:
                    when = "no deadline"
                elif unarmed:
                    when = "%d ns from its first suspension on" % timeout
                else:
                    ns = word(scope + at["scope.deadline_ns"])
                    when = deadline(ns).replace("sleeping until", "until")
                shield = ", a shield" if read(scope + at["scope.shields"], 1)[0] else ""
                yield "%s: scope %#x, %s%s" % (named(task.address), scope, when, shield)

    def locks():
        found, named = all_tasks()
        waiters = collections.defaultdict(list)
        for task in found:
            if task.mutex():
                waiters[task.library, task.mutex()].append(named(task.address))
        for (library, mutex), waiting in waiters.items():
            owner = word(mutex + library.at["mutex.owner"])
            holder = "a thread" if owner & 1 else named(owner) if owner else "nobody"
            yield "mutex %#x: held by %s; %s" % (mutex, holder, "waits" if len(waiting) == 1 else "wait")
            for name in waiting:
                yield "    " + name

    def pools():
        found, named = all_tasks()
        queues = collections.defaultdict(list)
        for task in found:
            if task.data[task.library.at["task.state"]] == task.library.at["state.queued"]:
                queue = number(task.data, task.library.at["task.mailbox"]) & ~1
                queues[task.library, queue].append(task)
        for (library, queue), tasks in queues.items():
            yield "pool with the queue at %#x: %d wait for a worker" % (queue, len(tasks))
            for level, level_name in enumerate(LEVELS):
                link = library.at["task.link"]
                here = {task.address + link: task for task in tasks
                        if task.data[library.at["task.level"]] == level}
                later = {number(task.data, link) for task in here.values()}
                # The oldest is behind nobody. A list that changes under it is not followed.
                at = next((address for address in here if address not in later), None)
                while at in here:
                    yield "    %s: %s" % (level_name, named(here[at].address))
                    at = number(here.pop(at).data, link)

    class TaskCommand(gdb.Command):
        """monad-task N bt [full] [COUNT]: the stack of task N of info monad-tasks.
    monad-task N regs: the registers it will have when it resumes, as far as they are saved.
    monad-task N COMMAND: any command with the newest frame of the task selected.

    N may also be an expression without spaces: the task's address. Frames of a suspended task are
    numbered from 1: 0 is where the selected thread stands."""

        def __init__(self):
            super().__init__("monad-task", gdb.COMMAND_STACK)

        def invoke(self, argument, _from_tty):
            which, _, command = argument.strip().partition(" ")
            if not which:
                raise gdb.GdbError("monad-task N bt; for N see info monad-tasks")
            task, command = find_task(which), command.strip() or "bt"
            print("Task %d at %#x, %s." % (task.num, task.address, task.state(lambda a: "%#x" % a)))
            words = command.split()
            if task.running:
                on_its_thread(task, command)
            elif not task.has_frames:
                print("It has no frames.")
            else:
                with frames_of(task) as (first, count):
                    gdb.execute("select-frame %d" % first, to_string=True)
                    if words[0] in ("bt", "backtrace", "where"):
                        gdb.write(backtrace(first, count, words[1:]))
                    elif words[0] == "regs":
                        gdb.execute("info registers " + " ".join(unwinder.registers))
                    else:
                        gdb.execute(command)

    InfoTasks()
    TaskCommand()
    for name, text, lines in (
            ("operations", "Lists the operations that tasks have begun and not taken.", operations),
            ("scopes", "Lists the scopes that tasks are in, those of a task from inside.", scopes),
            ("locks", "Lists the mutexes that tasks wait for, and who holds them.", locks),
            ("pools", "Lists the tasks that wait for a worker of a pool, in order.", pools)):
        lines_command(name, text, lines)


monad_async_debugger()
