//! The layers of the project, and what each of them may use.

use std::path::Path;

/// A package, or a module at the top of the package `lanewise`.
pub struct Layer {
    /// The package, or the module.
    pub name: &'static str,
    /// The directory or file, in the repository.
    pub path: &'static str,
    /// The layers that it may import: only layers that come before it in the table.
    pub may_use: &'static [&'static str],
}

const fn layer(name: &'static str, path: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer {
        name,
        path,
        may_use,
    }
}

/// Every layer, from the lowest up.
pub const LAYERS: &[Layer] = &[
    layer("lanewise-kernels", "kernels/src", &[]),
    layer("lanewise-pool", "crates/pool/src", &[]),
    layer("lanewise-vectors", "crates/vectors/src", &[]),
    layer("lanewise-lines", "crates/lines/src", &[]),
    layer("lanewise-map", "crates/map/src", &[]),
    layer("lanewise-convert", "crates/convert/src", &[]),
    layer("lanewise-testkit", "crates/testkit/src", &[]),
    layer(
        "lanewise-bulk",
        "crates/bulk/src",
        &["lanewise-vectors", "lanewise-lines"],
    ),
    layer(
        "lanewise-search",
        "crates/search/src",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "lanewise-vectors",
            "lanewise-map",
            "lanewise-bulk",
        ],
    ),
    layer(
        "lanewise-serve",
        "crates/serve/src",
        &["lanewise-bulk", "lanewise-search"],
    ),
    layer("error", "src/error.rs", &["lanewise-pool"]),
    layer(
        "gguf",
        "src/gguf",
        &["lanewise-kernels", "lanewise-map", "error"],
    ),
    layer("tokenizer", "src/tokenizer", &["error", "gguf"]),
    layer("vectors", "src/vectors.rs", &["lanewise-vectors"]),
    layer("prompt", "src/prompt.rs", &["error"]),
    layer("model_path", "src/model_path.rs", &["error", "gguf"]),
    layer(
        "engine",
        "src/engine",
        &["lanewise-kernels", "lanewise-pool", "error", "gguf"],
    ),
    layer(
        "models",
        "src/models",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "error",
            "gguf",
            "tokenizer",
            "vectors",
            "prompt",
            "engine",
        ],
    ),
    layer(
        "packed",
        "src/packed",
        &[
            "lanewise-kernels",
            "error",
            "gguf",
            "model_path",
            "engine",
            "models",
        ],
    ),
    layer(
        "runtime",
        "src/runtime.rs",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "error",
            "engine",
            "models",
        ],
    ),
    layer(
        "shared_runtime",
        "src/shared_runtime.rs",
        &["error", "runtime"],
    ),
    layer(
        "roofline",
        "src/roofline.rs",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "error",
            "engine",
            "models",
            "runtime",
        ],
    ),
    layer(
        "embedder",
        "src/embedder.rs",
        &[
            "error",
            "tokenizer",
            "vectors",
            "prompt",
            "engine",
            "models",
            "packed",
            "runtime",
            "shared_runtime",
        ],
    ),
    layer(
        "reranker",
        "src/reranker.rs",
        &["error", "tokenizer", "models", "shared_runtime", "embedder"],
    ),
    layer(
        "builder",
        "src/builder.rs",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "error",
            "tokenizer",
            "engine",
            "models",
            "packed",
            "runtime",
            "shared_runtime",
            "embedder",
            "reranker",
        ],
    ),
    // The public face of the modules above.
    layer(
        "lanewise",
        "src/lib.rs",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "error",
            "gguf",
            "tokenizer",
            "vectors",
            "prompt",
            "model_path",
            "engine",
            "models",
            "packed",
            "runtime",
            "roofline",
            "embedder",
            "builder",
            "reranker",
        ],
    ),
    layer(
        "cli",
        "src/cli",
        &[
            "lanewise-kernels",
            "lanewise-map",
            "lanewise-vectors",
            "lanewise-lines",
            "lanewise-bulk",
            "lanewise-search",
            "lanewise-serve",
            "lanewise-convert",
            "lanewise",
        ],
    ),
    layer("main", "src/main.rs", &["cli"]),
    layer(
        "lanewise-workloads",
        "tools/workloads/src",
        &["lanewise-kernels", "lanewise"],
    ),
    layer(
        "lanewise-tools",
        "tools/src",
        &[
            "lanewise-kernels",
            "lanewise-pool",
            "lanewise-vectors",
            "lanewise-lines",
            "lanewise-bulk",
            "lanewise-search",
            "lanewise",
            "lanewise-workloads",
        ],
    ),
];

/// What every layer may use in its tests. Cargo makes sure that other code does not.
pub const FOR_TESTS: &[&str] = &["lanewise-testkit", "lanewise-tools", "lanewise-workloads"];

/// The packages that may depend on those for tests in their own code too, as they are no part of
/// what users install.
pub const MADE_OF_FIXTURES: &[&str] = &["lanewise-tools", "lanewise-workloads"];

/// What no path in a layer may contain.
pub const FORBIDDEN: &[(&str, &[&[&str]])] = &[(
    "lanewise-bulk",
    &[
        &["clap"],
        &["process", "exit"],
        &["process", "abort"],
        &["ExitCode"],
    ],
)];

/// The layers whose messages may name the flags of a command line.
pub const KNOW_FLAGS: &[&str] = &["cli", "lanewise-tools", "lanewise-workloads"];

/// Flags of other programs, which messages may name.
pub const FLAGS_OF_OTHERS: &[&str] = &["--long"];

/// The layer of a package or module.
pub fn layer_named(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}

impl Layer {
    /// Whether this is a whole package. A package is one layer, except `lanewise`, which is
    /// several.
    pub fn is_package(&self) -> bool {
        self.name.starts_with("lanewise-")
    }

    pub fn holds(&self, file: &Path) -> bool {
        file.starts_with(self.path)
    }

    pub fn may_use(&self, other: &str) -> bool {
        self.name == other || self.may_use.contains(&other) || FOR_TESTS.contains(&other)
    }
}
