//! One pointer a thread, as pthreads keeps it: what is rarely asked for takes nothing of the static
//! thread-local storage, of which a plugin gets little; and it can be taken back when the library
//! is unloaded, while threads that used it go on.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::error::{Errno, Res};

/// Runs at a thread's exit, with what the thread had set.
pub type Destructor = unsafe extern "C" fn(*mut c_void);

pub struct ThreadPointer {
    /// The key plus 1; 0: none yet. 64 bits, so that every key has its number.
    key: AtomicU64,
    destructor: Destructor,
    lasts: bool,
    /// The link in the list of all that have a key.
    next: AtomicPtr<ThreadPointer>,
}

/// The list that [`forget_all`] walks: a Treiber stack that nothing is popped from.
static FIRST: AtomicPtr<ThreadPointer> = AtomicPtr::new(null_mut());

impl ThreadPointer {
    pub const fn new(destructor: Destructor) -> Self {
        Self { key: AtomicU64::new(0), destructor, lasts: false, next: AtomicPtr::new(null_mut()) }
    }

    /// One that is never taken back: of threads that keep the library loaded, whose ends count.
    /// (At the end of the process destructors of others may wait for such a thread still.)
    pub const fn lasting(destructor: Destructor) -> Self {
        Self { lasts: true, ..Self::new(destructor) }
    }

    fn key(&self) -> Option<libc::pthread_key_t> {
        let key = self.key.load(Ordering::Acquire);
        (key != 0).then(|| (key - 1) as libc::pthread_key_t)
    }

    /// What the calling thread has set; null at first, and again while its destructor runs.
    pub fn get(&self) -> *mut c_void {
        // SAFETY: a key of ours, which is not deleted while it stands here.
        self.key().map_or(null_mut(), |key| unsafe { libc::pthread_getspecific(key) })
    }

    /// Sets it for the calling thread. EXPENSIVE. ENOMEM: no memory, or no more keys.
    ///
    /// # Safety
    /// The destructor takes `value`, when this thread exits, unless something else is set by then.
    pub unsafe fn set(&'static self, value: *mut c_void) -> Res<()> {
        let key = match self.key() {
            Some(key) => key,
            None => self.make_key()?,
        };
        // SAFETY: as above.
        match unsafe { libc::pthread_setspecific(key, value) } {
            0 => Ok(()),
            _ => Err(Errno(libc::ENOMEM)),
        }
    }

    /// No `Once`: a child of a fork would wait for ever for a parent's thread that was making it.
    #[cold]
    fn make_key(&'static self) -> Res<libc::pthread_key_t> {
        let mut key = 0;
        // SAFETY: writes the key alone.
        if unsafe { libc::pthread_key_create(&mut key, Some(self.destructor)) } != 0 {
            return Err(Errno(libc::ENOMEM));
        }
        let (release, acquire) = (Ordering::AcqRel, Ordering::Acquire);
        match self.key.compare_exchange(0, u64::from(key) + 1, release, acquire) {
            Ok(_) if self.lasts => Ok(key),
            Ok(_) => {
                let mut first = FIRST.load(Ordering::Relaxed);
                loop {
                    self.next.store(first, Ordering::Relaxed);
                    let this = self as *const Self as *mut Self;
                    match FIRST.compare_exchange_weak(first, this, release, acquire) {
                        Ok(_) => return Ok(key),
                        Err(other) => first = other,
                    }
                }
            }
            Err(theirs) => {
                // SAFETY: nobody else has seen it.
                unsafe { libc::pthread_key_delete(key) };
                Ok((theirs - 1) as libc::pthread_key_t)
            }
        }
    }
}

/// No destructor runs any more. What threads had set stays allocated.
pub(crate) fn forget_all() {
    let mut next = FIRST.swap(null_mut(), Ordering::Acquire).cast_const();
    while !next.is_null() {
        // SAFETY: each is a static.
        let it = unsafe { &*next };
        next = it.next.load(Ordering::Relaxed);
        let key = it.key.swap(0, Ordering::AcqRel);
        // SAFETY: a key of ours, in no place any more.
        unsafe { libc::pthread_key_delete((key - 1) as libc::pthread_key_t) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    static ENDED: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn ended(value: *mut c_void) {
        ENDED.fetch_add(value as usize, Ordering::Relaxed);
    }

    static POINTER: ThreadPointer = ThreadPointer::new(ended);

    #[test]
    fn each_thread_has_its_own_until_it_exits() {
        let threads: Vec<_> = (1..=8)
            .map(|n| {
                std::thread::spawn(move || {
                    assert!(POINTER.get().is_null());
                    // SAFETY: its destructor takes any number.
                    unsafe { POINTER.set(n as *mut c_void) }.unwrap();
                    std::thread::yield_now();
                    assert_eq!(POINTER.get() as usize, n);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(POINTER.get().is_null());
        assert_eq!(ENDED.load(Ordering::Relaxed), 36);
    }

    static TAKEN_BACK: ThreadPointer = ThreadPointer::new(ended);
    static LASTING: ThreadPointer = ThreadPointer::lasting(ended);

    #[test]
    fn what_lasts_is_not_taken_back() {
        for pointer in [&TAKEN_BACK, &LASTING] {
            // SAFETY: its destructor takes any number; nothing is left to it.
            unsafe {
                pointer.set(core::ptr::without_provenance_mut(1)).unwrap();
                pointer.set(null_mut()).unwrap();
            }
        }
        let mut listed = Vec::new();
        let mut next = FIRST.load(Ordering::Acquire).cast_const();
        while !next.is_null() {
            listed.push(next);
            // SAFETY: each is a static.
            next = unsafe { &*next }.next.load(Ordering::Relaxed);
        }
        assert!(listed.contains(&(&raw const TAKEN_BACK)));
        assert!(!listed.contains(&(&raw const LASTING)));
    }
}
