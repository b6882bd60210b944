//! watchdog.h: check, one call into `observe`, map the result.

use crate::api::observe;
use crate::error::RawResult;
use crate::observe::watchdog::Report;

/// `monad_async_watchdog_callback`
pub type Callback = Option<unsafe extern "C" fn(*const Report)>;

/// # Safety
/// See watchdog.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_watchdog_start(
    limit_ns: u64,
    callback: Callback,
) -> RawResult {
    observe::start_watchdog(limit_ns, callback).map(|()| 0).into()
}

#[no_mangle]
pub extern "C" fn monad_async_watchdog_stop() -> RawResult {
    observe::stop_watchdog().map(|()| 0).into()
}
