//! What a new ring's kernel can do beyond the flags it was made with: asked once, when it is
//! created, and told in the config string. Touches the ring before anybody else has it.

use io_uring::EnterFlags;

use super::mask;
use super::ring::{Clock, Ring};
use crate::error::Errno;
use crate::sys::text::{text, Text};

impl Ring {
    /// Spares every enter the look-up of the descriptor.
    pub(super) fn try_register(&mut self, mask: u32, dropped: &mut Text) {
        if mask & mask::REGISTERED_RING != 0 {
            return dropped.item(", ", format_args!("registered ring (masked)"));
        }
        match self.submitter.register_ring_fd() {
            Ok(()) => self.registered = true,
            // EBUSY: a thread registers sixteen at most.
            Err(e) => dropped.item(", ", format_args!("registered ring ({})", Errno::from(e))),
        }
    }

    pub(super) fn try_clock(&mut self, mask: u32, dropped: &mut Text) {
        if mask & mask::BOOT_CLOCK != 0 {
            return dropped.item(", ", format_args!("boot-time clock (masked)"));
        }
        if let Err(e) = register_clock(self.fd(), libc::CLOCK_BOOTTIME) {
            return dropped.item(", ", format_args!("boot-time clock ({e})"));
        }
        self.clock = Clock::Boot;
    }

    pub(super) fn describe(&self, flags: &str, dropped: &str) -> Text {
        let p = self.uring().params();
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
            (!self.no_iowait.is_empty(), "no_iowait"),
        ] {
            if on {
                features.item(" ", format_args!("{name}"));
            }
        }
        let clock = match self.clock {
            Clock::Boot => "boot time",
            Clock::MonotonicSlices => "monotonic, in slices of 1 s (a suspend delays by 1 s)",
        };
        text!(
            "ring: {} submission entries, {} completion entries, descriptor {}\n\
             flags: {flags}{}\ndropped: {}\nfeatures: {}\nclock: {clock}\nwake: eventfd, {} poll",
            p.sq_entries(),
            p.cq_entries(),
            self.fd(),
            if self.registered { " registered_ring" } else { "" },
            if dropped.is_empty() { "nothing" } else { dropped },
            features,
            if self.wakeup.multishot() { "multishot" } else { "one-shot" },
        )
    }

    pub(super) fn try_no_iowait(&mut self, mask: u32, dropped: &mut Text) {
        if mask & mask::NO_IOWAIT != 0 {
            return dropped.item(", ", format_args!("NO_IOWAIT (masked)"));
        }
        if !self.uring().params().is_feature_no_iowait() {
            return dropped.item(", ", format_args!("NO_IOWAIT (refused by the kernel)"));
        }
        // With a poll in flight, an idle executor would count as a processor waiting for a disk.
        self.no_iowait = EnterFlags::NO_IOWAIT;
    }

    /// Arms the poll while the queue is sure to have room, and learns of what kind it can be: a
    /// kernel before 5.13 completes the multishot one at once with EINVAL.
    pub(super) fn first_poll(&self, mask: u32, dropped: &mut Text) -> Result<(), Errno> {
        let mut why = None;
        if mask & mask::MULTISHOT_POLL != 0 {
            why = Some(Text::<96>::from("masked"));
        }
        self.wakeup.multishot.set(why.is_none());
        if let Err(e) = self.try_poll() {
            if why.is_some() || e.0 != libc::EINVAL {
                return Err(e);
            }
            why = Some(text!("{e}"));
            self.wakeup.multishot.set(false);
            self.try_poll()?;
        }
        if let Some(why) = why {
            dropped.item(", ", format_args!("multishot poll ({why})"));
        }
        Ok(())
    }

    fn try_poll(&self) -> Result<(), Errno> {
        self.push_poll();
        self.enter_now(1)?;
        match self.take() {
            None => Ok(()),
            Some(cqe) => Err(Errno(-cqe.res)),
        }
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
