//! A model whose vectors are known, and a server of it.

use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lanewise_search::Index;
use lanewise_serve::schedule::{Limits, Scheduler};
use lanewise_serve::{Model, ModelInfo, PromptInfo, Refusal, Result, ServeOptions, Tokens, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::client::{connect, request};

pub const DIMS: usize = 8;
pub const CONTEXT: usize = 100;
pub const SHA: &str = "00";

/// Tokens are bytes, behind 1 and before 2; those are 256 and 257.
pub struct Fake {
    info: ModelInfo,
    /// Texts that were embedded.
    pub embedded: AtomicUsize,
    /// Passes that were begun.
    pub begun: AtomicUsize,
    /// Passes wait while it is closed.
    gate: (Mutex<bool>, Condvar),
    pub panics: AtomicBool,
}

impl Fake {
    pub fn new() -> Self {
        let prompt = |name: &str, aliases: &[&str], text: &str| PromptInfo {
            name: name.into(),
            aliases: aliases.iter().map(|&alias| alias.into()).collect(),
            text: text.into(),
        };
        Self {
            info: ModelInfo {
                name: "fake".into(),
                title: "A fake".into(),
                sha256: SHA.into(),
                architecture: "fakes".into(),
                pooling: "mean".into(),
                dims: DIMS,
                lengths: vec![DIMS, 4],
                shortest: None,
                context: CONTEXT,
                vocabulary: 258,
                prompts: vec![
                    prompt("raw", &[], ""),
                    prompt("query", &["search"], "q: "),
                    prompt("document", &[], "d: "),
                ],
            },
            embedded: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            gate: (Mutex::new(true), Condvar::new()),
            panics: AtomicBool::new(false),
        }
    }

    pub fn set_open(&self, is_open: bool) {
        *self.gate.0.lock().unwrap() = is_open;
        self.gate.1.notify_all();
    }
}

/// The tokens of a text with its prompt.
pub fn ids(text: &str) -> Vec<u32> {
    let bytes = text.bytes().map(u32::from);
    [256].into_iter().chain(bytes).chain([257]).collect()
}

/// The vector of tokens.
pub fn vector(ids: &[u32]) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for &id in ids {
        state = (state ^ u64::from(id))
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(17);
    }
    let values = (0..DIMS).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    unit(values.collect())
}

pub fn unit(mut values: Vec<f32>) -> Vec<f32> {
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter_mut().for_each(|value| *value /= norm);
    values
}

impl Model for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn encode(&self, prompt: &str, text: &str) -> Result<Tokens> {
        assert!(text != "a bug", "it is one");
        let prompt = self.info.prompt(prompt);
        let prompt =
            prompt.ok_or_else(|| Refusal::field("prompt", "is not known", "use another"))?;
        let mut ids = ids(&format!("{}{text}", prompt.text));
        let truncated = ids.len() > CONTEXT;
        if truncated {
            ids.drain(CONTEXT - 1..ids.len() - 1);
        }
        Ok(Tokens {
            ids: ids.into(),
            truncated,
        })
    }

    fn tokens(&self, ids: Vec<u32>) -> Result<Tokens> {
        if ids.is_empty() || ids.iter().any(|&id| id >= 258) {
            return Err(Refusal::field("tokens", "are no tokens", "give others"));
        }
        Ok(Tokens {
            ids: ids.into(),
            truncated: false,
        })
    }

    fn decode(&self, ids: &[u32]) -> String {
        let bytes = ids.iter().filter_map(|&id| u8::try_from(id).ok());
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
    }

    fn piece(&self, id: u32) -> String {
        match u8::try_from(id) {
            Ok(byte) => char::from(byte).into(),
            Err(_) => format!("<{id}>"),
        }
    }

    fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let is_open = self.gate.0.lock().unwrap();
        drop(
            self.gate
                .1
                .wait_while(is_open, |is_open| !*is_open)
                .unwrap(),
        );
        assert!(!self.panics.load(Ordering::Relaxed), "as was asked for");
        for (text, out) in texts.iter().zip(out.chunks_exact_mut(DIMS)) {
            out.copy_from_slice(&vector(text));
        }
        self.embedded.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(())
    }

    fn check_dims(&self, dims: usize) -> Result<()> {
        match self.info().lengths.contains(&dims) {
            true => Ok(()),
            false => {
                let problem = format!("vectors of this model cannot have {dims}");
                Err(Refusal::field("dimensions", problem, "give one of 8, 4"))
            }
        }
    }

    fn shorten(&self, vector: &[f32], dims: usize) -> Result<Vec<f32>> {
        Ok(unit(vector[..dims].to_vec()))
    }

    fn space(&self, prompt: &str, dims: usize) -> String {
        format!("space-{prompt}-{dims}")
    }
}

/// A server in threads of its own, which ends with this value.
pub struct Server {
    pub address: SocketAddr,
    pub model: Arc<Fake>,
    pub scheduler: Arc<Scheduler>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(ServeOptions::default(), Limits::default(), None)
    }

    pub fn with(options: ServeOptions, limits: Limits, index: Option<Arc<Index>>) -> Self {
        let model = Arc::new(Fake::new());
        let scheduler = Scheduler::start(model.clone(), limits).unwrap();
        let scheduler = Arc::new(scheduler);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = std::sync::mpsc::channel();
        let of_server = Arc::clone(&scheduler);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async { drop(stopped.await) };
                run(listener, of_server, index, options, stopped).await;
            });
        });
        Self {
            address: address.recv().unwrap(),
            model,
            scheduler,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Begins a pass that lasts until the gate is opened; the answer comes on this connection.
    pub fn hold(&self) -> TcpStream {
        self.model.set_open(false);
        let mut stream = connect(self.address);
        let body = br#"{"inputs":"held"}"#;
        stream
            .write_all(&request("POST", "/embed", &[], body))
            .unwrap();
        wait_until(|| self.model.begun.load(Ordering::Relaxed) == 1);
        stream
    }

    /// Asks the server to end.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits for its end.
    pub fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn run(
    listener: TcpListener,
    scheduler: Arc<Scheduler>,
    index: Option<Arc<Index>>,
    options: ServeOptions,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    serve(listener, scheduler, index, options, stopped)
        .await
        .unwrap();
}

/// Waits for something that comes.
#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "it never came to be");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.model.set_open(true);
        self.stop();
        // A test that fails shows its own panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
