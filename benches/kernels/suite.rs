//! Adds benchmarks to criterion, each checked against the scalar kernels first.

use std::collections::HashMap;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use lanewise_kernels::{Isa, Kernels};
use lanewise_workloads::{Amount, Prepared, Temperature, Work};

/// Enough for a steady median of calls that take microseconds; there are hundreds of benchmarks.
const WARM_UP: Duration = Duration::from_millis(100);
const MEASUREMENT: Duration = Duration::from_millis(400);

/// What the benchmarks are added to.
pub struct Suite<'a> {
    criterion: &'a mut Criterion,
    /// Results of the scalar kernels, by the name of the work.
    expected: HashMap<String, Vec<u32>>,
}

impl<'a> Suite<'a> {
    /// No benchmark yet.
    pub fn new(criterion: &'a mut Criterion) -> Self {
        Suite {
            criterion,
            expected: HashMap::new(),
        }
    }

    /// Benchmarks work on each instruction set that this CPU supports.
    pub fn kernel(&mut self, temperature: Temperature, work: impl Fn(Kernels) -> Work) {
        let scalar = Kernels::for_isa(Isa::Scalar).expect("the scalar kernels run anywhere");
        for kernels in Isa::ALL.into_iter().filter_map(Kernels::for_isa) {
            let expected = Some(|| work(scalar).prepare());
            self.add(kernels.isa().name(), temperature, work(kernels), expected);
        }
    }

    /// Benchmarks work that is the same code on every instruction set, with nothing to compare it
    /// with.
    pub fn portable(&mut self, work: Work) {
        self.add("any", Temperature::Warm, work, None::<fn() -> Prepared>);
    }

    fn add(
        &mut self,
        isa: &str,
        temperature: Temperature,
        work: Work,
        expected: Option<impl Fn() -> Prepared>,
    ) {
        let name = work.name.clone();
        let (operation, rest) = name.split_once('/').expect("operation/types/shape");
        let mut group = self.criterion.benchmark_group(operation);
        group
            .sample_size(10)
            .warm_up_time(WARM_UP)
            .measurement_time(MEASUREMENT)
            .throughput(match work.amount {
                Amount::MultiplyAdds(count) => Throughput::Elements(count),
                Amount::Bytes(count) => Throughput::Bytes(count),
            });
        // The closure runs only if the benchmark was asked for: nothing is prepared for the others.
        let (mut work, mut prepared) = (Some(work), None);
        group.bench_function(format!("{rest}/{isa}/{temperature}"), |bencher| {
            let prepared = prepared.get_or_insert_with(|| {
                let work = work.take().expect("prepared once");
                let mut prepared = work.prepare();
                let actual = result_of(&mut prepared);
                if let Some(expected) = &expected {
                    let expected = self
                        .expected
                        .entry(name.clone())
                        .or_insert_with(|| result_of(&mut expected()));
                    assert!(
                        actual == *expected,
                        "{name}: {isa} differs from the scalar kernels"
                    );
                }
                prepared
            });
            bencher.iter(|| prepared.run());
        });
        group.finish();
    }
}

fn result_of(work: &mut Prepared) -> Vec<u32> {
    work.run();
    work.bits()
}
