//! What the files of Sentence Transformers say beside the transformer: its modules and prompts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Pooling;
use crate::config::{ANY_SIZE, Config};
use crate::error::{FETCH_AGAIN, Result, input};
use crate::files::{self, MAX_CONFIG};

/// The modules of a directory, in their order.
#[derive(Debug)]
pub struct Modules {
    /// The directory of the transformer.
    pub transformer: PathBuf,
    /// `None` if no module says it.
    pub pooling: Option<Pooling>,
    /// The directories of dense layers after pooling.
    pub dense: Vec<PathBuf>,
    /// Texts that are put in front of others, by name.
    pub prompts: BTreeMap<String, String>,
    /// The most tokens of a text, if it is less than what the transformer takes.
    pub max_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Modules {
    /// Reads what there is of these files; a directory without any of them is a bare transformer.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut modules = Self {
            transformer: directory.to_path_buf(),
            pooling: None,
            dense: Vec::new(),
            prompts: BTreeMap::new(),
            max_tokens: None,
        };
        let list = directory.join("modules.json");
        let pooling = directory.join("1_Pooling/config.json");
        if list.exists() {
            modules.read_list(directory, &list)?;
        } else if pooling.exists() {
            modules.pooling = Some(read_pooling(pooling)?);
        }
        let prompts = directory.join("config_sentence_transformers.json");
        if prompts.exists() {
            modules.read_prompts(&Config::read(prompts)?)?;
        }
        let limits = modules.transformer.join("sentence_bert_config.json");
        if limits.exists() {
            modules.max_tokens = Config::read(limits)?.optional_size("max_seq_length", ANY_SIZE)?;
        }
        Ok(modules)
    }

    fn read_list(&mut self, directory: &Path, path: &Path) -> Result<()> {
        let bytes = files::bytes(path, MAX_CONFIG)?;
        let list: Vec<Module> = files::parse(path, &bytes)?;
        for (index, module) in list.iter().enumerate() {
            let field = format!("module {index}");
            if !is_inside(&module.path) {
                let problem = format!(
                    "has the path {:.60?}, outside of the directory",
                    module.path
                );
                return Err(input(path, field, problem, FETCH_AGAIN));
            }
            let place = directory.join(&module.path);
            let class = module.class.rsplit('.').next().unwrap_or_default();
            match class {
                "Transformer" if index == 0 => self.transformer = place,
                "Pooling" if index == 1 => {
                    self.pooling = Some(read_pooling(place.join("config.json"))?);
                }
                "Dense" if self.pooling.is_some() => self.dense.push(place),
                "Dense" => {
                    let problem = "is a Dense module before pooling, as late-interaction models \
                                   (ColBERT) have";
                    let remedy = "use a model that gives a text one vector";
                    return Err(input(path, field, problem, remedy));
                }
                "Normalize" => {}
                other => {
                    let problem = format!("is of the type {other:.60?}");
                    let remedy = "use a model of the modules Transformer, Pooling, Dense and \
                                  Normalize, in this order";
                    return Err(input(path, field, problem, remedy));
                }
            }
        }
        Ok(())
    }

    fn read_prompts(&mut self, config: &Config) -> Result<()> {
        let prompts = config.optional("prompts", "an object of texts", |value| {
            let prompts = value.as_object()?.iter();
            let texts = prompts.map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())));
            texts.collect::<Option<_>>()
        })?;
        self.prompts = prompts.unwrap_or_default();
        Ok(())
    }
}

/// Whether a relative path stays in its directory.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn read_pooling(path: PathBuf) -> Result<Pooling> {
    const MODES: [(&str, &str, Option<Pooling>); 7] = [
        ("pooling_mode_cls_token", "cls", Some(Pooling::Cls)),
        ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
        ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
        ("pooling_mode_max_tokens", "max", None),
        (
            "pooling_mode_mean_sqrt_len_tokens",
            "mean_sqrt_len_tokens",
            None,
        ),
        ("pooling_mode_weightedmean_tokens", "weightedmean", None),
        ("pooling_mode_weightedmean", "weightedmean", None),
    ];
    const REMEDY: &str = "use a model that pools by mean, cls or last token";
    let config = Config::read(path)?;
    config.expect("include_prompt", &[true.into()])?;
    let mut found = Vec::new();
    for (field, name, pooling) in MODES {
        let is_named = config.get("pooling_mode").is_some_and(|mode| mode == name);
        if config.flag(field)? == Some(true) || is_named {
            found.push((field, pooling));
        }
    }
    found.dedup_by_key(|(_, pooling)| *pooling);
    match found.as_slice() {
        [(_, Some(pooling))] => Ok(*pooling),
        [(field, None)] => Err(config.error(field, "is not supported", REMEDY)),
        [] => Err(config.error("pooling_mode", "names no way of pooling", REMEDY)),
        [_, (field, _), ..] => {
            Err(config.error(field, "is one of several ways of pooling at once", REMEDY))
        }
    }
}
