//! Random sequences of C API calls, legal and illegal; see `calls`. A failing one names its seed:
//!
//! ```text
//! MONAD_ASYNC_CALLS_SEED=123 cargo test --test call_sequences -- --nocapture
//! ```

mod calls;

fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x >> 24
    };
    let n = 30 + random() % 600;
    // Begins with an executor and a few tasks, so that less is spent on null handles.
    let mut bytes = vec![0, 0, (random() & 31) as u8, 0, 1, (random() & 31) as u8];
    (0..4).for_each(|task| bytes.extend([1, 0, task]));
    bytes.extend((0..n).map(|_| random() as u8));
    bytes
}

#[test]
fn random_sequences_of_calls() {
    if let Ok(seed) = std::env::var("MONAD_ASYNC_CALLS_SEED") {
        let seed = seed.parse().unwrap();
        println!("{:?}", calls::replay(&bytes(seed)));
        return;
    }
    // Unoptimised, where one takes ten times as long, the first of them, for our own assertions.
    let sequences = match (std::env::var_os("MONAD_ASYNC_LONG"), cfg!(debug_assertions)) {
        (Some(_), _) => 1_000_000,
        (None, true) => 4_000,
        (None, false) => 10_000,
    };
    let mut made = 0;
    for seed in 0..sequences {
        match calls::replay(&bytes(seed)) {
            Ok(n) => made += n,
            Err(log) => panic!(
                "MONAD_ASYNC_CALLS_SEED={seed} cargo test --test call_sequences -- --nocapture\n{log}"
            ),
        }
    }
    println!("measured: {made} calls in {sequences} sequences");
    assert!(made as u64 > 10 * sequences);
}

/// What the fuzz target begins with; fuzz/run asks for it.
#[test]
fn corpus() {
    let Some(folder) = std::env::var_os("MONAD_ASYNC_CALLS_CORPUS") else { return };
    for seed in 0..200 {
        let file = std::path::Path::new(&folder).join(format!("seed-{seed}"));
        std::fs::write(file, bytes(seed)).unwrap();
    }
}
