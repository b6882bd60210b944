//! The runtime that a feature chose.

use super::*;

#[cfg(all(feature = "tokio", not(feature = "tokio-uring")))]
pub fn run(round: Round) {
    struct Tokio;
    impl Spawn for Tokio {
        fn spawn(task: impl Future<Output = ()> + Send + 'static) {
            drop(tokio::spawn(task));
        }
        fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
            tokio::time::sleep(time)
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(works::<Tokio>(round));
    let handle = runtime.handle().clone();
    let begun = clock(libc::CLOCK_MONOTONIC);
    runtime.block_on(async move {
        let (done, is_done) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || {
            foreign(round, &|| drop(handle.spawn(async { ran() })));
            done.send(()).unwrap();
        });
        is_done.await.unwrap();
        other.join().unwrap();
    });
    say("other thread", clock(libc::CLOCK_MONOTONIC) - begun, round.foreign * FOREIGN);
}

/// So many at a time as there are tasks of ours.
#[cfg(all(feature = "tokio", not(feature = "tokio-uring")))]
fn foreign(round: Round, launch: &dyn Fn()) {
    pin(1);
    for n in 0..round.foreign * FOREIGN {
        while n >= RAN.load(Relaxed) + FOREIGN {
            std::hint::spin_loop();
        }
        launch();
    }
    while RAN.load(Relaxed) != round.foreign * FOREIGN {
        std::hint::spin_loop();
    }
    RAN.store(0, Relaxed);
}

#[cfg(feature = "tokio-uring")]
pub fn run(round: Round) {
    // The rest of it is tokio's. Its tasks stay on their thread.
    tokio_uring::start(async move {
        let begun = cpu();
        for _ in 0..AMONG {
            drop(tokio_uring::spawn(async move {
                for _ in 0..round.nops {
                    tokio_uring::no_op().await.unwrap();
                }
                ran();
            }));
        }
        ended(AMONG).await;
        say("NOP", cpu() - begun, round.nops * AMONG);
    });
}

#[cfg(feature = "monoio")]
pub fn run(round: Round) {
    struct Monoio;
    impl Spawn for Monoio {
        fn spawn(task: impl Future<Output = ()> + Send + 'static) {
            drop(monoio::spawn(task));
        }
        fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
            Local(monoio::time::sleep(time))
        }
    }
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .enable_timer()
        .build()
        .unwrap()
        // A task that wakes itself is its next one: so its yields are no turns of others.
        .block_on(async move { monoio::spawn(works::<Monoio>(round)).await });
}

#[cfg(feature = "glommio")]
pub fn run(round: Round) {
    struct Glommio;
    impl Spawn for Glommio {
        fn spawn(task: impl Future<Output = ()> + Send + 'static) {
            glommio::spawn_local(task).detach();
        }
        fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
            Local(glommio::timer::sleep(time))
        }
    }
    glommio::LocalExecutorBuilder::default().make().unwrap().run(works::<Glommio>(round));
}

#[cfg(feature = "compio")]
pub fn run(round: Round) {
    use compio_driver::{OpCode, OpEntry};
    struct Compio;
    impl Spawn for Compio {
        fn spawn(task: impl Future<Output = ()> + Send + 'static) {
            compio_runtime::spawn(task).detach();
        }
        fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
            Local(compio_runtime::time::sleep(time))
        }
    }
    struct Nop;
    // SAFETY: it refers to nothing.
    unsafe impl OpCode for Nop {
        fn create_entry(self: Pin<&mut Self>) -> OpEntry {
            io_uring::opcode::Nop::new().build().into()
        }
    }
    compio_runtime::Runtime::new().unwrap().block_on(async move {
        works::<Compio>(round).await;
        let begun = cpu();
        for _ in 0..AMONG {
            compio_runtime::spawn(async move {
                for _ in 0..round.nops {
                    compio_runtime::submit(Nop).await.0.unwrap();
                }
                ran();
            })
            .detach();
        }
        ended(AMONG).await;
        say("NOP", cpu() - begun, round.nops * AMONG);
    });
}

/// Of a runtime that keeps its tasks on one thread.
#[cfg(any(feature = "monoio", feature = "glommio", feature = "compio"))]
struct Local<F>(F);

// SAFETY: its tasks stay where they are.
#[cfg(any(feature = "monoio", feature = "glommio", feature = "compio"))]
unsafe impl<F> Send for Local<F> {}

#[cfg(any(feature = "monoio", feature = "glommio", feature = "compio"))]
impl<F: Future> Future for Local<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the one field, pinned with it.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx)
    }
}
