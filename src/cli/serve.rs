//! `lanewise serve`: an HTTP server.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lanewise_search::{Index, OpenOptions};
use lanewise_serve::schedule::{Limits, Scheduler};
use lanewise_serve::{Model, ServeOptions};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::bulk_args::parse_bytes;
use super::failure::{self, Failure, report};
use super::hits::failed;
use super::options::{ModelOptions, RunOptions};
use super::served_model::ServedModel;
use super::{Outcome, bulk, packed};

const AFTER_HELP: &str = "\
Examples:
  lanewise serve
  lanewise serve --index corpus.arrow --port 9000

  curl localhost:8080/v1/embeddings -H 'content-type: application/json' -d '{\"input\": \"Hello world\", \"model\": \"embeddinggemma\"}'

Clients of OpenAI use http://localhost:8080/v1 as their base URL, those of text-embeddings-inference and of
Ollama http://localhost:8080. A prompt is named in the model, as in embeddinggemma:query, or as prompt_name.

Signals: SIGTERM and Ctrl-C end it when everything that was accepted is answered; SIGHUP opens the model file
anew.";

/// Threads that read requests and write answers; the passes have threads of their own.
const IO_THREADS: usize = 2;

/// Serve vectors and search over HTTP
///
/// Speaks what clients of OpenAI, of text-embeddings-inference and of Ollama speak. Texts of many clients share
/// passes of the model, and each gets the vector that it has alone.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Address to listen on; 0.0.0.0 for everyone who reaches this machine
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 for a free one, which is printed
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// A file that embed wrote, for /search; may be given several times for files of one space
    #[arg(long, value_name = "FILE")]
    index: Vec<PathBuf>,
    /// The name under which clients ask for the model [default: minilm and the like, or the file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What a pass of bulk texts takes at most while someone interactive is served
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_time)]
    budget: Duration,
    /// Memory for requests and for texts that wait
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_bytes)]
    max_memory: u64,
    /// The largest body of a request
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = parse_bytes)]
    max_body: u64,
    /// Memory for vectors of texts that come again
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = parse_bytes)]
    cache: u64,
    /// A file with the keys that clients must have, one a line, as `Authorization: Bearer KEY` [default: everyone who
    /// reaches the port]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// How long requests may take to end after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    drain: Duration,
    /// How requests are logged, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// Leave the two dense heads of EmbeddingGemma out, as a file without them needs
    #[arg(long)]
    no_dense_head: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for each request
    Text,
    /// A JSON object for each request
    Json,
    /// None
    Off,
}

/// A time as in `50ms`, `30s` or `2m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let time = number
        .zip(milliseconds)
        .and_then(|(number, unit)| number.checked_mul(unit));
    // A week is as good as for ever, and no sum of times overflows.
    let time = time.filter(|time| *time <= 7 * 24 * 3_600_000);
    time.map(Duration::from_millis)
        .ok_or_else(|| "give a time as in 50ms, 30s or 2m".into())
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    bulk::silence_caught_panics();
    log(arguments.log);
    let model = Arc::new(arguments.open()?);
    let reopen = arguments.reopener()?;
    let index = arguments.open_index(&model)?;
    let api_keys = arguments.api_keys()?;
    let limits = Limits {
        budget: arguments.budget,
        cache_bytes: arguments.cache as usize,
        ..Limits::default()
    };
    let served: Arc<dyn Model> = Arc::clone(&model) as Arc<dyn Model>;
    let scheduler =
        Scheduler::start(served, limits).map_err(|error| cannot("start a thread", error))?;
    let scheduler = Arc::new(scheduler);
    let runtime = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .enable_all()
        .build()
        .map_err(|error| cannot("start threads", error))?;
    let served = runtime.block_on(async {
        let address = SocketAddr::new(arguments.host, arguments.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let message = format!(
                "--port {}: cannot listen on {address}: {error}; give another port or --host",
                arguments.port
            );
            Failure::usage(message)
        })?;
        let bound = listener.local_addr().unwrap_or(address);
        // Before anyone is told that it serves: a signal that comes earlier ends the process.
        let signals = |error| cannot("catch signals", error);
        #[cfg(unix)]
        tokio::spawn(reload(reopen, Arc::clone(&scheduler)).map_err(signals)?);
        let stopped = stopped().map_err(signals)?;
        report(format_args!(
            "serving {} on http://{bound}, Ctrl-C to end",
            model.info().name
        ));
        let options = ServeOptions {
            api_keys,
            max_body: arguments.max_body as usize,
            max_memory: arguments.max_memory as usize,
            drain: arguments.drain,
            ..ServeOptions::default()
        };
        lanewise_serve::serve(listener, scheduler, index, options, stopped)
            .await
            .map_err(|error| cannot("serve", error))
    });
    served?;
    // Threads that still read a request beyond the time to drain are not waited for.
    runtime.shutdown_background();
    Ok(Outcome::Complete)
}

impl Arguments {
    fn open(&self) -> Result<ServedModel, Failure> {
        let model = self.reopener()?()?;
        packed::write(model.embedder(), self.run.packed_weights()?);
        Ok(model)
    }

    /// What opens the model file, once more if asked.
    fn reopener(
        &self,
    ) -> Result<impl Fn() -> Result<ServedModel, Failure> + Send + Sync + use<>, Failure> {
        let (builder, path) = (self.run.builder_that_writes_later()?, self.model.path()?);
        let (name, dense_heads) = (self.name.clone(), !self.no_dense_head);
        Ok(move || ServedModel::open(builder.clone(), &path, name.as_deref(), dense_heads))
    }

    fn api_keys(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.api_key_file else {
            return Ok(Vec::new());
        };
        let cannot_read = |error| {
            let problem = format_args!("cannot read: {error}");
            Failure::file(path, problem, "check the file of keys")
        };
        let keys = fs::read_to_string(path).map_err(cannot_read)?;
        let keys = keys.lines().map(str::trim).filter(|key| !key.is_empty());
        let keys: Vec<String> = keys.map(str::to_owned).collect();
        match keys.is_empty() {
            // Without keys everyone would be let in.
            true => Err(Failure::file(path, "has no key", "write one on a line")),
            false => Ok(keys),
        }
    }

    fn open_index(&self, model: &ServedModel) -> Result<Option<Arc<Index>>, Failure> {
        if self.index.is_empty() {
            return Ok(None);
        }
        let options = self.run.builder().runtime_options()?;
        let options = OpenOptions {
            threads: options.threads,
            isa: options.isa,
        };
        let index = Index::open_all(&self.index, &options).map_err(failed)?;
        if index.space().dense_heads == self.no_dense_head {
            let (problem, remedy) = match self.no_dense_head {
                true => (
                    "its vectors passed the dense heads",
                    "leave --no-dense-head out",
                ),
                false => (
                    "its vectors did not pass the dense heads",
                    "give --no-dense-head",
                ),
            };
            return Err(Failure::file(&self.index[0], problem, remedy));
        }
        super::queries::check_space(
            &self.index[0],
            index.space(),
            model.embedder(),
            &model.info().sha256,
        )?;
        Ok(Some(Arc::new(index)))
    }
}

/// From now on opens the model file anew for each SIGHUP; if it cannot be used, the one in use stays.
#[cfg(unix)]
fn reload(
    open: impl Fn() -> Result<ServedModel, Failure> + Send + Sync + 'static,
    scheduler: Arc<Scheduler>,
) -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let open = Arc::new(open);
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            let open = Arc::clone(&open);
            match tokio::task::spawn_blocking(move || open()).await {
                Ok(Ok(model)) => {
                    scheduler.replace(Arc::new(model));
                    report(format_args!("the model file was opened anew"));
                }
                Ok(Err(Failure::Stopped { message, .. })) => {
                    report(format_args!("{message}; the model in use stays"));
                }
                Ok(Err(Failure::OutputClosed)) | Err(_) => {}
            }
        }
    })
}

/// From now on takes SIGTERM and Ctrl-C. Comes to an end at the first; the second ends the process.
fn stopped() -> io::Result<impl Future<Output = ()> + Send> {
    #[cfg(unix)]
    let mut signals = {
        use tokio::signal::unix::{SignalKind, signal};
        [SignalKind::terminate(), SignalKind::interrupt()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?
    };
    let first = async move {
        #[cfg(unix)]
        if let [terminate, interrupt] = &mut signals[..] {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
            }
        }
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(async {
        first.await;
        report(format_args!(
            "finishing what was accepted; press Ctrl-C again to stop at once"
        ));
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(failure::INTERRUPTED.into());
        });
    })
}

fn cannot(what: &str, error: io::Error) -> Failure {
    Failure::Stopped {
        code: failure::PARTIAL,
        message: format!("cannot {what}: {error}"),
    }
}

fn log(format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
        LogFormat::Off => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, milliseconds) in [("50ms", 50), ("30s", 30_000), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(
                parse_time(text).unwrap().as_millis(),
                milliseconds,
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "5",
            "-5s",
            "5h",
            "1.5s",
            "99999999999999999999s",
            "9999999m",
            "5é",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
