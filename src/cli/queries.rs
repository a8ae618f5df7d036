//! The queries of a search, embedded as the index asks for.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use lanewise::{Embedder, EmbedderBuilder, Input, Prompt};
use lanewise_bulk::Space;
use lanewise_search::Index;

use super::embed::encode;
use super::failure::{self, Failure};
use super::options::{ModelOptions, RunOptions};
use super::texts::{Text, Texts};
use super::{Outcome, bulk, packed};

/// What is looked for.
#[derive(Debug, Args)]
pub struct QueryOptions {
    /// What is looked for; without any, one query a line is read from standard input. One that begins with
    /// a hyphen comes after --
    #[arg(value_name = "QUERY")]
    texts: Vec<String>,
    /// A file of queries, one a line, instead of standard input
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    queries: Option<PathBuf>,
    /// What the queries are for (see `lanewise embed --help`) [default: query, or raw if the model knows none]
    #[arg(short, long, value_name = "NAME")]
    prompt: Option<Prompt>,
    /// What queries are for, in a sentence, with --prompt query: of Qwen3-Embedding
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// Queries that can be embedded, and their vectors.
pub struct Embedded<'a> {
    /// The texts.
    pub texts: Vec<&'a Text>,
    /// A vector each.
    pub vectors: Vec<&'a [f32]>,
}

impl QueryOptions {
    /// A builder of the model and of the threads that search.
    pub fn builder(&self) -> EmbedderBuilder {
        self.run.builder()
    }

    /// The file of queries, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.queries.as_deref()
    }

    /// Whether it is one query that was given as an argument.
    pub fn is_single(&self) -> bool {
        self.texts.len() == 1
    }

    /// Embeds all queries for the index in the file `path`: calls `search` for each batch of them and then, when
    /// it is known that the model is that of the index, `write` with what `search` gave.
    pub fn for_each_batch<T>(
        &self,
        index: &Index,
        path: &Path,
        mut search: impl FnMut(&Embedded<'_>) -> Result<T, Failure>,
        mut write: impl FnMut(&Embedded<'_>, T) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let space = index.space();
        let mut texts = match &self.queries {
            Some(file) => Texts::of_file(file)?,
            None => Texts::new(&self.texts, 1),
        };
        let embedder = self.open(space, path)?;
        let prompt = self.prompt(&embedder)?;
        thread::scope(|scope| {
            // The digest of a large model takes longer than a query: nothing is written before it is there.
            let model = embedder.model().gguf();
            let mut identity = Some(scope.spawn(move || bulk::model_identity(model)));
            let mut check = || match identity.take() {
                None => Ok(()),
                Some(thread) => {
                    let identity = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                    check_space(path, space, &embedder, &identity?.1)
                }
            };
            let mut outcome = Outcome::Complete;
            while let Some(batch) = texts.next_batch()? {
                let (usable, encoded) = encode(&embedder, &batch, |text| Input::new(prompt, text));
                if usable.len() < batch.len() {
                    outcome = Outcome::SomeTextsFailed;
                }
                let mut vectors = vec![0.0; encoded.len() * embedder.dims()];
                embedder.embed_encoded(&encoded, &mut vectors)?;
                let embedded = Embedded {
                    texts: usable,
                    vectors: vectors.chunks_exact(embedder.dims()).collect(),
                };
                let found = search(&embedded)?;
                check()?;
                write(&embedded, found)?;
            }
            check()?;
            Ok(outcome)
        })
    }

    fn open(&self, space: &Space, index: &Path) -> Result<Embedder, Failure> {
        let builder = self.run.builder();
        let builder = match &self.instruction {
            Some(instruction) => builder.instruction(instruction),
            None => builder,
        };
        let embedder = builder
            .dims(space.dims)
            .dense_heads(space.dense_heads)
            .open(self.model.path()?)
            .map_err(|error| of_other_model(error, index, space))?;
        packed::report_ignored(embedder.packed_state());
        Ok(embedder)
    }

    /// The prompt given, or that of queries if the model has one.
    fn prompt(&self, embedder: &Embedder) -> Result<Prompt, Failure> {
        let prompt = match self.prompt {
            Some(prompt) => prompt,
            None if embedder.prompt_text(Prompt::Query, None).is_ok() => Prompt::Query,
            None => Prompt::Raw,
        };
        embedder.prompt_text(prompt, None)?;
        if self.instruction.is_some() && prompt != Prompt::Query {
            let message = "--instruction goes with --prompt query only";
            return Err(Failure::usage(message));
        }
        Ok(prompt)
    }
}

/// Of a model that gives no vectors of the index's length it is said that it is another one.
fn of_other_model(error: lanewise::Error, index: &Path, space: &Space) -> Failure {
    match &error {
        lanewise::Error::Argument { name, .. } if name == "dims" => other_model(index, space),
        _ => error.into(),
    }
}

fn other_model(index: &Path, space: &Space) -> Failure {
    let Space {
        model,
        model_sha256,
        dims,
        ..
    } = space;
    Failure::Stopped {
        code: failure::USAGE,
        message: format!(
            "{}: has vectors of {dims} values of another model than the one in use; give its model by -m: \
             {model}, with SHA-256 {model_sha256}",
            index.display()
        ),
    }
}

/// Refuses a model whose vectors do not compare with those of the index.
pub fn check_space(
    index: &Path,
    space: &Space,
    embedder: &Embedder,
    digest: &str,
) -> Result<(), Failure> {
    if space.model_sha256 != digest {
        return Err(other_model(index, space));
    }
    let pooling = embedder.model().summary().pooling.name();
    if space.pooling != pooling {
        let stated = &space.pooling;
        let problem = format!("its vectors have pooling {stated}, the model in use has {pooling}");
        return Err(Failure::file(
            index,
            problem,
            format!("use --pooling {stated}"),
        ));
    }
    Ok(())
}
