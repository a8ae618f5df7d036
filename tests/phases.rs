//! `roofline --phases` accounts for the whole time of a pass, and timing changes no bit of the
//! vectors.

use std::time::{Duration, Instant};

use lanewise::internals::engine::Phase;
use lanewise::internals::models;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

#[test]
fn phase_times_fit_the_pass_and_do_not_change_the_vector() {
    let path = tiny_model::written(scratch!("tiny.gguf"), &Options::default());
    let model = models::open(path).unwrap();
    let hidden = model.shape().width;
    let text: &[u32] = &[2, 5, 6, 7, 8, 9, 1];
    for threads in [1, 2] {
        let settings = RuntimeOptions {
            threads: Some(threads),
            ..RuntimeOptions::default()
        };
        let mut runtime = Runtime::new(model.clone(), &settings).unwrap();
        let (mut plain, mut timed) = (vec![0.0; hidden], vec![0.0; hidden]);
        runtime.embed(&[text], &mut plain).unwrap();
        let start = Instant::now();
        let times = runtime.embed_profiled(&[text], &mut timed).unwrap();
        let whole = start.elapsed();
        assert_eq!(plain, timed);
        assert_eq!(times.len(), threads);
        for times in &times {
            let sum: Duration = times.iter().sum();
            assert!(sum <= whole, "{sum:?} of {whole:?}");
        }
        // What the calling thread does in every pass.
        for phase in [Phase::Embed, Phase::Dense] {
            let time = times[0][phase as usize];
            assert!(time > Duration::ZERO, "{}", phase.name());
        }
    }
}
