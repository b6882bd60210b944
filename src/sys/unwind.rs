//! The unwinder that the C++ and the Rust runtime share. Finds frames by their unwind information,
//! so it needs no frame pointers. May take the loader's lock (before glibc 2.35).

use core::ffi::c_void;

/// `_Unwind_Context`
#[repr(C)]
pub struct Context {
    _opaque: [u8; 0],
}

type Each = extern "C" fn(*mut Context, *mut c_void) -> i32;

extern "C" {
    fn backtrace_symbols_fd(pcs: *const usize, count: i32, fd: i32);
    fn _Unwind_Backtrace(each: Each, arg: *mut c_void) -> i32;
    fn _Unwind_GetIP(context: *mut Context) -> usize;
    fn _Unwind_GetCFA(context: *mut Context) -> usize;
}

/// A frame: where it goes on, and its stack pointer then.
#[derive(Clone, Copy)]
pub struct Frame {
    pub pc: usize,
    pub sp: usize,
}

/// Calls `each` for the caller's frames, newest first, until it returns false or they end.
#[inline(never)]
pub fn frames(mut each: &mut dyn FnMut(Frame) -> bool) {
    extern "C" fn one(context: *mut Context, arg: *mut c_void) -> i32 {
        // SAFETY: the context is valid in here, and `arg` what `frames` hands over.
        let (frame, each) = unsafe {
            let frame = Frame { pc: _Unwind_GetIP(context), sp: _Unwind_GetCFA(context) };
            (frame, &mut *arg.cast::<&mut dyn FnMut(Frame) -> bool>())
        };
        const NO_REASON: i32 = 0;
        const END_OF_STACK: i32 = 5;
        if frame.pc != 0 && each(frame) {
            NO_REASON
        } else {
            END_OF_STACK
        }
    }
    // SAFETY: `one` takes what is handed over, which outlives the call.
    unsafe { _Unwind_Backtrace(one, (&raw mut each).cast()) };
}

/// Says on standard error which functions they are in, a line each.
pub fn print(pcs: &[usize]) {
    // SAFETY: reads so many addresses.
    unsafe { backtrace_symbols_fd(pcs.as_ptr(), pcs.len() as i32, 2) };
}
