//! What is taken back when a plugin that was linked with the archive is unloaded by `dlclose`: all
//! that would make somebody call code which is gone. (Handlers of fork are the C library's to take
//! back; the shared library is never unloaded.) Runs at the process's end too, after the
//! destructors of a C++ program's statics.
//!
//! What the plugin's threads have mapped, such as signal stacks, stays: a thread may still be on
//! it.

use super::{stack_overflow, thread_pointer};

extern "C" fn at_unload() {
    stack_overflow::uninstall();
    thread_pointer::forget_all();
}

#[used]
#[link_section = ".fini_array"]
static AT_UNLOAD: extern "C" fn() = at_unload;
