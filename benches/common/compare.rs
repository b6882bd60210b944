//! Two pieces of work under criterion, whose lines are those of the first.

use std::time::Duration;

use criterion::Criterion;

use super::rounds::{verdict, By, Pairs, Work};

/// A benchmark: `own` under criterion, `raw` in between, the ratio printed below criterion's lines.
pub fn compare(
    c: &mut Criterion,
    name: &str,
    by: By,
    own: &mut dyn Work,
    (against, raw): (&str, &mut dyn Work),
    target: Option<f64>,
) {
    let mut pairs = Pairs::default();
    c.bench_function(name, |b| {
        b.iter_custom(|iters| {
            let (mut ns, mut ops) = (0.0, 0);
            while ops < iters as usize {
                let base = by.per_op(raw.round());
                let sample = own.round();
                pairs.add(by.per_op(sample), base);
                ns += by.per_op(sample) * sample.ops as f64;
                ops += sample.ops;
            }
            // A round does more than was asked for.
            Duration::from_secs_f64(ns / 1e9 * iters as f64 / ops as f64)
        });
    });
    if pairs.is_empty() {
        return; // Filtered out.
    }
    let o = pairs.outcome();
    let wanted = target.map_or(String::new(), |t| format!(", at most {t:.2}"));
    println!(
        "{name}: {:.1} ns; {against}: {:.1} ns; ratio {:.3} ({:.3} to {:.3}){wanted}: {}\n",
        o.own_ns,
        o.raw_ns,
        o.ratio,
        o.low,
        o.high,
        verdict(o.ratio, target),
    );
}

/// Short, as half of the time goes to the other side.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}
