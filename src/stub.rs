//! Stand-in for the model and the runtime until they are merged.
#![allow(missing_docs, dead_code)]

#[path = "../kernels/src/isa.rs"]
pub mod isa;

pub mod model {
    use crate::Result;
    use crate::gguf::Gguf;
    use crate::model::{Config, Weights};
    use std::path::Path;
    use std::sync::Arc;

    #[derive(Debug)]
    pub struct Model {
        gguf: Arc<Gguf>,
        config: Config,
        weights: Weights,
    }
    impl Model {
        pub fn open(path: impl AsRef<Path>) -> Result<Model> {
            let gguf = Arc::new(Gguf::open(path)?);
            let config = Config::from_gguf(&gguf)?;
            let weights = Weights::from_gguf(&gguf, &config)?;
            Ok(Model {
                gguf,
                config,
                weights,
            })
        }
        pub fn gguf(&self) -> &Arc<Gguf> {
            &self.gguf
        }
        pub fn config(&self) -> &Config {
            &self.config
        }
        pub fn weights(&self) -> &Weights {
            &self.weights
        }
        pub fn has_dense_heads(&self) -> bool {
            self.weights.dense.is_some()
        }
    }
}

pub mod runtime {
    use super::isa::Isa;
    use super::model::Model;
    use crate::Result;
    use std::sync::Arc;

    #[derive(Debug, Clone)]
    pub struct Settings {
        pub threads: Option<usize>,
        pub isa: Option<Isa>,
        pub dense_heads: bool,
    }
    #[derive(Debug)]
    pub struct ThreadPlan(usize);
    impl std::fmt::Display for ThreadPlan {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} (stub)", self.0)
        }
    }
    pub struct Runtime {
        model: Arc<Model>,
        threads: ThreadPlan,
        isa: Isa,
    }
    impl Runtime {
        pub fn new(model: Arc<Model>, settings: &Settings) -> Result<Runtime> {
            if settings.dense_heads && !model.has_dense_heads() {
                return Err(model.gguf().file_error(
                    "dense_2.weight",
                    "is missing, and vectors without the dense heads are in another space",
                    "use a file with the heads, or give --no-dense-head",
                ));
            }
            Ok(Runtime {
                model,
                threads: ThreadPlan(settings.threads.unwrap_or(2)),
                isa: settings.isa.unwrap_or(Isa::detect()),
            })
        }
        pub fn threads(&self) -> &ThreadPlan {
            &self.threads
        }
        pub fn isa(&self) -> Isa {
            self.isa
        }
        pub fn embed(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
            let hidden = self.model.config().hidden;
            for (ids, row) in texts.iter().zip(out.chunks_exact_mut(hidden)) {
                let mut state = ids.iter().fold(7u64, |s, &id| {
                    (s ^ u64::from(id)).wrapping_mul(6364136223846793005)
                });
                for x in row.iter_mut() {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(99);
                    *x = (state >> 40) as f32 / 8388608.0 - 1.0;
                }
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                row.iter_mut().for_each(|x| *x /= norm);
            }
            Ok(())
        }
    }
}
