//! The whole model, ids in and vector out, at the lengths of `roofline`.
//!
//! Without the model file nothing is measured, and said so; with LANEWISE_REQUIRE_MODEL=1 that is a
//! failure.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lanewise::internals::Runtime;
use lanewise::internals::models;
use lanewise::{Embedder, find_model};
use lanewise_testkit::assets;
use lanewise_testkit::texts::{LENGTHS, text};

fn embed(criterion: &mut Criterion) {
    let model = match find_model().and_then(models::open) {
        Ok(model) => model,
        Err(error) => return assets::skip(format!("nothing is measured: {error}")),
    };
    let settings = Embedder::builder()
        .runtime_options()
        .expect("the environment's settings can be used");
    let mut runtime = Runtime::new(Arc::clone(&model), &settings).expect("the model runs");
    let mut vector = vec![0.0; model.shape().width];
    let mut group = criterion.benchmark_group(format!("embed/{}", runtime.isa()));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    for tokens in LENGTHS
        .into_iter()
        .filter(|&tokens| tokens <= model.shape().context)
    {
        let ids = text(tokens, model.shape().vocabulary, 0);
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(BenchmarkId::from_parameter(tokens), |bencher| {
            bencher.iter(|| {
                runtime
                    .embed(&[&ids], &mut vector)
                    .expect("the text can be embedded")
            });
        });
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!(
            (length - 1.0).abs() < 1e-3,
            "the vector is not of unit length"
        );
    }
    group.finish();
}

criterion_group!(benches, embed);
criterion_main!(benches);
