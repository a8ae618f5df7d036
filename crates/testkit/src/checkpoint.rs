//! Directories of models as Hugging Face has them, correct ones and deliberately wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, the slowest first.
    pub shape: Vec<usize>,
    /// Its values, written as F32.
    pub values: Vec<f32>,
}

impl Tensor {
    /// A tensor of values that depend on its name.
    pub fn random(name: &str, shape: &[usize]) -> Self {
        let seed = name.bytes().fold(7, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut random = Random(seed);
        let count = shape.iter().product();
        Self {
            name: name.into(),
            shape: shape.into(),
            values: random.floats(count, 1.0),
        }
    }
}

/// The bytes of a safetensors file with this header and these data.
pub fn safetensors_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The bytes of a safetensors file of these tensors.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (
        String::from("{\"__metadata__\":{\"format\":\"pt\"}"),
        Vec::new(),
    );
    for tensor in tensors {
        let start = data.len();
        data.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
        let (name, shape, end) = (&tensor.name, &tensor.shape, data.len());
        header += &format!(
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        );
    }
    header += "}";
    safetensors_bytes(&header, &data)
}

/// A model's directory, which is removed before it is written.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Directory {
    /// An empty directory.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, below directories that are made.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Replaces `from` by `to` in a file of text.
    ///
    /// # Panics
    /// If `from` is not in it.
    pub fn edit(&self, name: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        assert!(text.contains(from), "no {from} in {name}");
        self.file(name, text.replace(from, to))
    }

    /// Removes a file.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.0.join(name)).unwrap();
        self
    }

    /// Writes the modules of Sentence Transformers with one way of pooling: `mean_tokens`,
    /// `cls_token` or `lasttoken`.
    pub fn pooling(&self, mode: &str) -> &Self {
        let module = |path: &str, class: &str| {
            format!("{{\"path\":\"{path}\",\"type\":\"sentence_transformers.models.{class}\"}}")
        };
        let modules = [
            module("", "Transformer"),
            module("1_Pooling", "Pooling"),
            module("2_Normalize", "Normalize"),
        ];
        let pooling = format!("{{\"pooling_mode_{mode}\":true,\"include_prompt\":true}}");
        self.file("modules.json", format!("[{}]", modules.join(",")))
            .file("1_Pooling/config.json", pooling)
    }
}

/// Tokens of [`tiny_wordpiece`], in the order of their ids.
pub const TINY_TOKENS: [&str; 12] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##ing", "a", "b", "##b", "!",
];

/// A `tokenizer.json` of BERT's kind with [`TINY_TOKENS`].
pub fn tiny_wordpiece() -> String {
    let vocabulary: Vec<String> = TINY_TOKENS
        .iter()
        .enumerate()
        .map(|(id, token)| format!("\"{token}\":{id}"))
        .collect();
    let added: Vec<String> = TINY_TOKENS[..5]
        .iter()
        .enumerate()
        .map(|(id, token)| format!("{{\"id\":{id},\"content\":\"{token}\",\"special\":true}}"))
        .collect();
    format!(
        "{{\"added_tokens\":[{}],\
          \"truncation\":{{\"max_length\":128}},\"padding\":{{\"strategy\":{{\"Fixed\":128}}}},\
          \"normalizer\":{{\"type\":\"BertNormalizer\",\"clean_text\":true,\
          \"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true}},\
          \"pre_tokenizer\":{{\"type\":\"BertPreTokenizer\"}},\
          \"post_processor\":{{\"type\":\"TemplateProcessing\",\"single\":[\
          {{\"SpecialToken\":{{\"id\":\"[CLS]\",\"type_id\":0}}}},\
          {{\"Sequence\":{{\"id\":\"A\",\"type_id\":0}}}},\
          {{\"SpecialToken\":{{\"id\":\"[SEP]\",\"type_id\":0}}}}]}},\
          \"model\":{{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\
          \"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\
          \"vocab\":{{{}}}}}}}",
        added.join(","),
        vocabulary.join(",")
    )
}

/// The tensors of [`tiny_bert`].
pub fn tiny_bert_tensors() -> Vec<Tensor> {
    const HIDDEN: usize = 32;
    let mut tensors = vec![
        Tensor::random(
            "embeddings.word_embeddings.weight",
            &[TINY_TOKENS.len(), HIDDEN],
        ),
        Tensor::random("embeddings.position_embeddings.weight", &[16, HIDDEN]),
        Tensor::random("embeddings.token_type_embeddings.weight", &[2, HIDDEN]),
        Tensor::random("embeddings.LayerNorm.weight", &[HIDDEN]),
        Tensor::random("embeddings.LayerNorm.bias", &[HIDDEN]),
        Tensor::random("pooler.dense.weight", &[HIDDEN, HIDDEN]),
    ];
    for (name, rows, columns) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("attention.output.LayerNorm", HIDDEN, 0),
        ("intermediate.dense", 2 * HIDDEN, HIDDEN),
        ("output.dense", HIDDEN, 2 * HIDDEN),
        ("output.LayerNorm", HIDDEN, 0),
    ] {
        let shape = if columns == 0 {
            vec![rows]
        } else {
            vec![rows, columns]
        };
        let name = format!("encoder.layer.0.{name}");
        tensors.push(Tensor::random(&format!("{name}.weight"), &shape));
        tensors.push(Tensor::random(&format!("{name}.bias"), &[rows]));
    }
    tensors
}

/// Writes a BERT of one layer of width 32 with 12 tokens: files as transformers and Sentence
/// Transformers write them.
pub fn tiny_bert(path: impl Into<PathBuf>) -> Directory {
    let directory = Directory::new(path);
    directory
        .file(
            "config.json",
            "{\"architectures\":[\"BertModel\"],\"hidden_act\":\"gelu\",\"hidden_size\":32,\
             \"intermediate_size\":64,\"layer_norm_eps\":1e-12,\"max_position_embeddings\":16,\
             \"num_attention_heads\":2,\"num_hidden_layers\":1,\"type_vocab_size\":2,\
             \"vocab_size\":12,\"position_embedding_type\":\"absolute\"}",
        )
        .file("tokenizer.json", tiny_wordpiece())
        .file(
            "sentence_bert_config.json",
            "{\"max_seq_length\":8,\"do_lower_case\":false}",
        )
        .file(
            "config_sentence_transformers.json",
            "{\"prompts\":{\"query\":\"query: \",\"document\":\"passage: \"}}",
        )
        .file("model.safetensors", safetensors(&tiny_bert_tensors()))
        .pooling("mean_tokens");
    directory
}
