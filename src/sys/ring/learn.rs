//! What a new ring's kernel can do beyond the flags it was made with: asked once, when it is
//! created, and told in the config string. Touches the ring before anybody else has it.

use std::os::fd::AsRawFd;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::EnterFlags;

use super::{Clock, EventFd, Ring};
use crate::error::Errno;
use crate::sys::mask;

impl Ring {
    /// Spares every enter the look-up of the descriptor.
    pub(super) fn try_register(&mut self, mask: u32, dropped: &mut Vec<String>) {
        if mask & mask::REGISTERED_RING != 0 {
            return dropped.push("registered ring (masked)".to_owned());
        }
        match self.submitter.register_ring_fd() {
            Ok(()) => self.registered = true,
            // EBUSY: a thread registers sixteen at most.
            Err(e) => dropped.push(format!("registered ring ({})", Errno::from(e))),
        }
    }

    pub(super) fn try_clock(&mut self, mask: u32, dropped: &mut Vec<String>) {
        if mask & mask::BOOT_CLOCK != 0 {
            return dropped.push("boot-time clock (masked)".to_owned());
        }
        if let Err(e) = register_clock(self.uring().as_raw_fd(), libc::CLOCK_BOOTTIME) {
            return dropped.push(format!("boot-time clock ({e})"));
        }
        self.clock = Clock::BootRelative;
        if mask & mask::ABS_TIMER != 0 {
            return dropped.push("absolute timeouts (masked)".to_owned());
        }
        // Waits for nothing: a kernel that does not know the flag says so.
        let at = Timespec::new();
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG | EnterFlags::ABS_TIMER;
        let args = SubmitArgs::new().timespec(&at);
        // SAFETY: submits nothing; the argument is what EXT_ARG says, alive for the call.
        match unsafe { self.submitter.enter(0, 0, flags.bits(), Some(&args)) } {
            Ok(_) => self.clock = Clock::BootAbsolute,
            Err(e) => dropped.push(format!("absolute timeouts ({})", Errno::from(e))),
        }
    }

    /// Arms the wake-up poll while the queue is sure to have room, and learns of what kind it can
    /// be: a kernel before 5.13 completes the multishot one at once with EINVAL.
    pub(super) fn first_poll(
        &mut self,
        wake: &EventFd,
        mask: u32,
        dropped: &mut Vec<String>,
    ) -> Result<(), Errno> {
        if !self.multishot {
            debug_assert!(mask & mask::MULTISHOT_POLL != 0);
            dropped.push("multishot poll (masked)".to_owned());
        }
        self.push_poll(wake);
        self.enter_now(1)?;
        if let Some(cqe) = self.take() {
            let refused = Errno(-cqe.res);
            if !self.multishot || cqe.res >= 0 {
                return Err(refused);
            }
            dropped.push(format!("multishot poll ({refused})"));
            self.multishot = false;
            self.push_poll(wake);
            self.enter_now(1)?;
            if let Some(cqe) = self.take() {
                return Err(Errno(-cqe.res));
            }
        }
        Ok(())
    }

    pub(super) fn describe(&self, flags: &str, dropped: &str) -> String {
        let p = self.uring().params();
        let features: Vec<&str> = [
            (p.is_feature_ext_arg(), "ext_arg"),
            (p.is_feature_nodrop(), "nodrop"),
            (p.is_feature_submit_stable(), "submit_stable"),
            (p.is_feature_fast_poll(), "fast_poll"),
            (p.is_feature_native_workers(), "native_workers"),
            (p.is_feature_skip_cqe_on_success(), "cqe_skip"),
            (p.is_feature_recvsend_bundle(), "recvsend_bundle"),
            (p.is_feature_min_timeout(), "min_timeout"),
            (!self.no_iowait.is_empty(), "no_iowait"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
        let clock = match self.clock {
            Clock::BootAbsolute => "boot time, absolute timeouts",
            Clock::BootRelative => "boot time, relative timeouts",
            Clock::MonotonicSlices => "monotonic, in slices of 1 s (a suspend delays by 1 s)",
        };
        format!(
            "ring: {} submission entries, {} completion entries\nflags: {flags}{}\ndropped: {}\n\
             features: {}\nclock: {clock}\nwake: eventfd, {} poll",
            p.sq_entries(),
            p.cq_entries(),
            if self.registered { " registered_ring" } else { "" },
            if dropped.is_empty() { "nothing" } else { dropped },
            features.join(" "),
            if self.multishot { "multishot" } else { "one-shot" },
        )
    }
}

/// IORING_REGISTER_CLOCK (6.12), which the crate lacks: the clock that waits are counted on.
fn register_clock(ring_fd: i32, clock: libc::clockid_t) -> Result<(), Errno> {
    const REGISTER_CLOCK: libc::c_uint = 29;
    let arg: [u32; 4] = [clock as u32, 0, 0, 0];
    // SAFETY: reads sixteen bytes of our own, `struct io_uring_clock_register`.
    let rc = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring_fd, REGISTER_CLOCK, arg.as_ptr(), 0)
    };
    if rc < 0 {
        return Err(Errno::last());
    }
    Ok(())
}
