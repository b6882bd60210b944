//! The bare ring: what a careful program gets out of io_uring without any executor. Same setup
//! flags as the executor's, registered descriptor, one enter a batch.

use io_uring::{opcode, types, CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter};

use super::rounds::{Meter, Sample, Work};

/// Operations in one enter.
pub const BATCH: usize = 64;
const BATCHES: usize = 32;

pub struct RawRing {
    submitter: Submitter<'static>,
    sq: SubmissionQueue<'static>,
    cq: CompletionQueue<'static>,
    /// The kernel refused the flags: what is measured is a plain ring.
    pub plain: bool,
}

impl RawRing {
    pub fn new() -> Self {
        let made = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_clamp()
            .build(BATCH as u32);
        let plain = made.is_err();
        let ring = made.or_else(|_| IoUring::new(BATCH as u32));
        // Leaked: the three halves live as long as the program.
        let ring = Box::leak(Box::new(ring.expect("a bare io_uring")));
        let (mut submitter, sq, cq) = ring.split();
        // Where it is refused, the look-up of the descriptor is part of the figure.
        let _ = submitter.register_ring_fd();
        Self { submitter, sq, cq, plain }
    }

    fn enter(&self, submit: u32, want: u32) {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: all entries pushed here refer to no memory but descriptors; no argument.
        let done = unsafe { self.submitter.enter::<libc::sigset_t>(submit, want, flags, None) };
        done.expect("io_uring_enter");
    }

    /// 64 NOPs in, one enter, 64 completions out.
    fn batch(&mut self, first: u64) {
        self.sq.sync(); // The kernel has taken the last batch.
        for i in 0..BATCH as u64 {
            let nop = opcode::Nop::new().build().user_data(first + i);
            // SAFETY: a NOP refers to no memory.
            unsafe { self.sq.push(&nop) }.expect("room for a batch");
        }
        self.sq.sync();
        self.enter(BATCH as u32, BATCH as u32);
        self.cq.sync();
        let mut sum = 0;
        let mut n = 0;
        for cqe in &mut self.cq {
            assert!(cqe.result() == 0);
            sum += cqe.user_data() - first;
            n += 1;
        }
        assert!(n == BATCH && sum as usize == BATCH * (BATCH - 1) / 2);
    }

    /// A multishot poll on `eventfd`: what a sleeping ring is woken by.
    pub fn poll(&mut self, eventfd: i32) {
        let poll = opcode::PollAdd::new(types::Fd(eventfd), libc::POLLIN as u32).multi(true);
        // SAFETY: a poll refers to no memory.
        unsafe { self.sq.push(&poll.build()) }.expect("room for a poll");
        self.sq.sync();
        self.enter(1, 0);
    }

    /// Sleeps until a completion is there, and takes all there are.
    pub fn wait(&mut self) -> usize {
        self.enter(0, 1);
        self.cq.sync();
        (&mut self.cq).map(|cqe| assert!(cqe.result() > 0)).count()
    }
}

/// NOPs on the bare ring: the measure of all others.
impl Work for RawRing {
    fn round(&mut self) -> Sample {
        let meter = Meter::start();
        for i in 0..BATCHES {
            self.batch((i * BATCH) as u64);
        }
        meter.stop(BATCHES * BATCH)
    }
}
