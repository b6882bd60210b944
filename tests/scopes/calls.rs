//! The calls under test, as the rest of this test makes them.

use crate::kernel::Sim;
use crate::model::{failure, ok, Out};
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::Sqe;

type H = Handle<Sim>;

pub fn out(r: RawResult) -> Out {
    if r.error != 0 {
        failure(r.error)
    } else {
        ok(r.value as i64)
    }
}

pub fn done(r: Res<()>) -> Out {
    r.map_or_else(|Errno(e)| failure(e), |()| ok(0))
}
