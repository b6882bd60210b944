//! What a new ring's kernel can do beyond the flags it was made with: asked once, when it is
//! created, and told in the config string. Touches the ring before anybody else has it.
//!
//! Whatever registers something comes before the first poll: a kernel before 5.18 lets many of
//! these calls, and one before 5.13 those that it does not know too, wait until nothing is in
//! flight.

use io_uring::{EnterFlags, Probe};

use super::abi::{op, LAST_OP};
use super::options::{CreateError, RingOptions};
use super::ring::{Clock, Ring};
use super::{abi, mask, refusal, streams};
use crate::error::Errno;
use crate::sys::text::{text, Text};
use crate::sys::{fd, file};

/// Has the new ring use what its kernel can do. Of the rest, `dropped` says why.
pub(super) fn learn(ring: &mut Ring, options: &RingOptions, dropped: &mut Text) {
    let mask = options.mask;
    try_registered_ring(ring, mask, dropped);
    try_clock(ring, mask, dropped);
    try_no_iowait(ring, mask, dropped);
    learn_opcodes(ring, options, dropped);
    learn_no_signal(ring, mask, dropped);
    learn_streams(ring, mask, dropped);
    learn_receiving(ring, mask, dropped);
    learn_cancelling(ring, mask, dropped);
    try_fixed(ring, mask, dropped);
}

/// Spares every enter the look-up of the descriptor.
fn try_registered_ring(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    if mask & mask::REGISTERED_RING != 0 {
        return dropped.item(", ", format_args!("registered ring (masked)"));
    }
    match ring.submitter.register_ring_fd() {
        Ok(()) => ring.registered = true,
        // EBUSY: a thread registers sixteen at most.
        Err(e) => dropped.item(", ", format_args!("registered ring ({})", Errno::from(e))),
    }
}

fn try_clock(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    if mask & mask::BOOT_CLOCK != 0 {
        return dropped.item(", ", format_args!("boot-time clock (masked)"));
    }
    if let Err(e) = register_clock(ring.fd(), libc::CLOCK_BOOTTIME) {
        return dropped.item(", ", format_args!("boot-time clock ({e})"));
    }
    ring.clock = Clock::Boot;
}

/// IORING_REGISTER_CLOCK (6.12), which the crate lacks: the clock that waits are counted on.
fn register_clock(ring_fd: i32, clock: libc::clockid_t) -> Result<(), Errno> {
    let arg: [u32; 4] = [clock as u32, 0, 0, 0];
    let what = abi::register::CLOCK;
    // SAFETY: reads sixteen bytes of our own, `struct io_uring_clock_register`.
    let rc = unsafe { libc::syscall(libc::SYS_io_uring_register, ring_fd, what, arg.as_ptr(), 0) };
    if rc < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

fn try_no_iowait(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    if mask & mask::NO_IOWAIT != 0 {
        return dropped.item(", ", format_args!("NO_IOWAIT (masked)"));
    }
    if !ring.uring().params().is_feature_no_iowait() {
        return dropped.item(", ", format_args!("NO_IOWAIT (refused by the kernel)"));
    }
    // With a poll in flight, an idle executor would count as a processor waiting for a disk.
    ring.no_iowait = EnterFlags::NO_IOWAIT;
}

/// The operations on files that came after 5.11, and what to call them.
const LATER: [(u8, &str); 4] = [
    (op::MKDIRAT, "mkdir"),
    (op::SYMLINKAT, "symlink"),
    (op::LINKAT, "link"),
    (op::FTRUNCATE, "truncate"),
];

/// What else is done by operations that came later, which masks take away, and what it is called.
const WANTED: [(u32, &[u8], &str); 5] = [
    // Sockets came with their tables.
    (mask::DIRECT_TABLE, &[op::SOCKET], "direct descriptors"),
    (mask::FD_INSTALL, &[op::FIXED_FD_INSTALL], "plain descriptors of direct ones"),
    (mask::FD_PASS, &[op::MSG_RING], "direct descriptors passed on"),
    (mask::SOCKET_OPCODES, &[op::BIND, op::LISTEN], "bind and listen"),
    // What came with it: see `Call::all_at_once`.
    (mask::WAIT_ALL, &[op::SENDMSG_ZC], "transfers in full by one operation"),
];

/// Where the kernel may not be asked, a helper thread can do the same.
fn learn_opcodes(ring: &mut Ring, options: &RingOptions, dropped: &mut Text) {
    let mask = options.mask;
    let mut probe = Probe::new();
    let asked = ring.submitter.register_probe(&mut probe).is_ok();
    let later = LATER.iter().map(|&(opcode, _)| 1 << opcode).sum::<u64>();
    let known = (0..=LAST_OP).filter(|&opcode| !asked || probe.is_supported(opcode));
    ring.opcodes = known.map(|opcode| 1 << opcode).sum::<u64>() & !options.lacks;
    if !asked || mask & mask::FILE_OPCODES != 0 {
        ring.opcodes &= !later;
    }
    // Messages came with 5.18, descriptors in them with sends without a copy (6.0).
    if ring.opcodes >> op::SEND_ZC & 1 == 0 {
        ring.opcodes &= !(1 << op::MSG_RING);
    }
    for &(bit, opcodes, name) in const { &WANTED } {
        let bits = opcodes.iter().map(|&opcode| 1 << opcode).sum::<u64>();
        if mask & bit != 0 {
            ring.opcodes &= !bits;
            dropped.item(", ", format_args!("{name} (masked)"));
        } else if ring.opcodes & bits != bits {
            dropped.item(", ", format_args!("{name} (not in this kernel)"));
        }
    }
}

fn learn_no_signal(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    if mask & mask::NO_SIGNAL != 0 {
        return dropped.item(", ", format_args!("writes without SIGPIPE (masked)"));
    }
    ring.knows_no_signal = file::knows_write_flag(abi::NO_SIGNAL as i32);
    if !ring.knows_no_signal {
        dropped.item(", ", format_args!("writes without SIGPIPE (refused by the kernel)"));
    }
}

/// Asked of kernels without sends without a copy alone, which came later.
fn learn_streams(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    // Threads that take signals came with the other.
    let is_old = !ring.uring().params().is_feature_native_workers();
    ring.waits_in_open = is_old || mask & mask::CONTROL != 0;
    let masked = mask & mask::STREAM_POSITION != 0;
    if masked {
        ring.streams |= streams::REFUSED;
    }
    if mask & mask::CONTROL != 0 {
        ring.streams |= streams::DATA_ALONE;
        dropped.item(", ", format_args!("messages with more than data (masked)"));
    }
    let is_later = ring.opcodes >> op::SEND_ZC & 1 != 0;
    if (is_later && !masked) || !refuses_position(ring) {
        return;
    }
    ring.streams |= streams::PLACED;
    let why = if masked { "masked" } else { "refused by the kernel" };
    dropped.item(", ", format_args!("current position of sockets ({why})"));
}

fn refuses_position(ring: &Ring) -> bool {
    // Where it cannot be asked it may: a socket takes the position 0 in any kernel.
    let Ok(socket) = fd::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) else {
        return true;
    };
    // SAFETY: refers to no memory.
    unsafe { ring.push(&streams::question(socket)) };
    let asked = ring.enter_now(1);
    fd::close(socket);
    asked.is_err() || ring.take().is_none_or(|cqe| cqe.res == -libc::ESPIPE)
}

/// Of receiving into buffers that the kernel chooses. Of a ring of them that there is not, a kernel
/// that has none says something else; streams came with the same kernel as sends without a copy.
fn learn_receiving(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    if mask & mask::BUFFER_RING != 0 {
        ring.lacks_buffer_rings = true;
        dropped.item(", ", format_args!("buffer rings (masked)"));
    } else if let Err(e) = ring.submitter.unregister_buf_ring(0) {
        ring.lacks_buffer_rings = e.raw_os_error() != Some(libc::ENOENT);
        if ring.lacks_buffer_rings {
            dropped.item(", ", format_args!("buffer rings ({})", Errno::from(e)));
        }
    }
    ring.receives_in_streams = ring.opcodes >> op::SEND_ZC & 1 != 0;
    if mask & mask::RECV_STREAM != 0 {
        ring.receives_in_streams = false;
        dropped.item(", ", format_args!("streams of receives (masked)"));
    } else if !ring.receives_in_streams {
        dropped.item(", ", format_args!("streams of receives (not in this kernel)"));
    }
}

/// Of cancelling all that is in flight on a handle: by a descriptor since 5.19, and by a direct one
/// since the kernel that brought sends without a copy.
fn learn_cancelling(ring: &mut Ring, mask: u32, dropped: &mut Text) {
    ring.cancels_by_handle = ring.opcodes >> op::SEND_ZC & 1 != 0;
    if mask & mask::CANCEL_HANDLE != 0 {
        ring.cancels_by_handle = false;
        dropped.item(", ", format_args!("cancelling by descriptor (masked)"));
    } else if !ring.cancels_by_handle {
        dropped.item(", ", format_args!("cancelling by descriptor (not in this kernel)"));
    }
}

/// Registered buffers: a table that can be filled place by place, and shared.
fn try_fixed(ring: &Ring, mask: u32, dropped: &mut Text) {
    let [table, share] = ring.fixed.probe(&ring.submitter);
    let mut have = |bit, lacking: Option<Errno>, name| {
        match lacking {
            _ if mask & bit != 0 => dropped.item(", ", format_args!("{name} (masked)")),
            Some(e) => dropped.item(", ", format_args!("{name} ({e})")),
            None => return true,
        }
        false
    };
    if !have(mask::FIXED_TABLE, table, "registered buffers") {
        ring.fixed.lacks_table();
    }
    if have(mask::CLONE_BUFFERS, share, "shared registered buffers") {
        ring.fixed.can_share();
    }
}

/// Arms the poll while the queue is sure to have room, and learns of what kind it can be: a kernel
/// before 5.13 completes the multishot one at once with EINVAL.
pub(super) fn first_poll(ring: &Ring, mask: u32, dropped: &mut Text) -> Result<(), Errno> {
    let mut why = None;
    if mask & mask::MULTISHOT_POLL != 0 {
        why = Some(Text::<96>::from("masked"));
    }
    ring.wakeup.set_multishot(why.is_none());
    if let Err(e) = try_poll(ring) {
        if why.is_some() || e.0 != libc::EINVAL {
            return Err(e);
        }
        why = Some(text!("{e}"));
        ring.wakeup.set_multishot(false);
        try_poll(ring)?;
    }
    if let Some(why) = why {
        dropped.item(", ", format_args!("multishot poll ({why})"));
    }
    Ok(())
}

fn try_poll(ring: &Ring) -> Result<(), Errno> {
    ring.push_poll();
    ring.enter_now(1)?;
    match ring.take() {
        None => Ok(()),
        Some(cqe) => Err(Errno(cqe.res.saturating_neg())),
    }
}

/// What somebody asked for, and cannot do without. Before the first poll.
pub(super) fn register_wishes(ring: &Ring, o: &RingOptions) -> Result<(), CreateError> {
    if o.max_kernel_workers != [0; 2] {
        let mut most = o.max_kernel_workers;
        let set = ring.submitter.register_iowq_max_workers(&mut most).map_err(Errno::from);
        // To change none of the limits is refused by a kernel alone that has none.
        let set = set.map_err(|e| match ring.submitter.register_iowq_max_workers(&mut [0; 2]) {
            Err(_) if e.0 == libc::EINVAL => Errno(libc::EOPNOTSUPP),
            _ => e,
        });
        set.map_err(|e| refusal::workers(e, o))?;
    }
    if o.direct_descriptors != 0 && o.mask & mask::DIRECT_TABLE != 0 {
        return Err(refusal::descriptors(Errno(libc::EINVAL), o));
    }
    if o.direct_descriptors != 0 {
        let made = ring.submitter.register_files_sparse(o.direct_descriptors);
        made.map_err(|e| refusal::descriptors(Errno::from(e), o))?;
    }
    Ok(())
}

/// Lines of the config string.
pub(super) fn describe(ring: &Ring, flags: &str, dropped: &str) -> Text {
    let p = ring.uring().params();
    let mut features = Text::<256>::new();
    for (on, name) in [
        (p.is_feature_ext_arg(), "ext_arg"),
        (p.is_feature_nodrop(), "nodrop"),
        (p.is_feature_submit_stable(), "submit_stable"),
        (p.is_feature_fast_poll(), "fast_poll"),
        (p.is_feature_native_workers(), "native_workers"),
        (p.is_feature_skip_cqe_on_success(), "cqe_skip"),
        (p.is_feature_recvsend_bundle(), "recvsend_bundle"),
        (p.is_feature_min_timeout(), "min_timeout"),
        (!ring.no_iowait.is_empty(), "no_iowait"),
    ] {
        if on {
            features.item(" ", format_args!("{name}"));
        }
    }
    let clock = match ring.clock {
        Clock::Boot => "boot time",
        Clock::MonotonicSlices => "monotonic, in slices of 1 s (a suspend delays by 1 s)",
    };
    let mut helped = Text::<64>::new();
    for (_, name) in LATER.iter().filter(|(opcode, _)| ring.opcodes >> opcode & 1 == 0) {
        helped.item(" ", format_args!("{name}"));
    }
    text!(
        "ring: {} submission entries, {} completion entries, descriptor {}\n\
         flags: {flags}{}\ndropped: {}\nfeatures: {}\nclock: {clock}\nwake: eventfd, {} poll\n\
         on helper threads: {}",
        p.sq_entries(),
        p.cq_entries(),
        ring.fd(),
        if ring.registered { " registered_ring" } else { "" },
        if dropped.is_empty() { "nothing" } else { dropped },
        features,
        if ring.wakeup.multishot() { "multishot" } else { "one-shot" },
        if helped.is_empty() { "nothing" } else { &helped },
    )
}
