//! Golden texts of the models whose tokenizers read words.

use lanewise::internals::tokenizer::Tokenizer;
use lanewise_testkit::assets::shared;
use lanewise_testkit::random::Random;
use serde::Deserialize;

use crate::tokenizer_support::encode;

/// A text and its ids without the special ones at both ends.
#[derive(Deserialize)]
pub struct Case {
    pub text: String,
    pub ids: Vec<u32>,
}

/// A text and the number of its tokens with both.
#[derive(Deserialize)]
struct Embedded {
    text: String,
    tokens: usize,
}

fn lines<T: for<'a> Deserialize<'a>>(name: &str) -> Option<Vec<T>> {
    let text = std::fs::read_to_string(shared(name)?).expect("the golden file is readable");
    let parse = |line| serde_json::from_str(line).expect("a golden line has its fields");
    Some(text.lines().map(parse).collect())
}

/// The texts of a golden set with their ids.
pub fn cases(set: &str) -> Option<Vec<Case>> {
    lines(&format!("{set}/tokens.jsonl"))
}

/// Every text gives the ids of the library.
pub fn assert_ids(tokenizer: &dyn Tokenizer, set: &str) {
    let Some(cases) = cases(set) else { return };
    let wrong: Vec<&str> = cases
        .iter()
        .filter(|Case { text, ids }| encode(tokenizer, text) != *ids)
        .map(|case| &*case.text)
        .collect();
    let (count, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {all}: {wrong:?}");
    assert_eq!(all, 2000);
}

/// Every text that has a golden vector has the number of tokens of the library.
pub fn assert_counts(tokenizer: &dyn Tokenizer, set: &str) {
    let texts = lines::<Embedded>(&format!("{set}/embeddings.jsonl"));
    for Embedded { text, tokens } in texts.unwrap_or_default() {
        assert_eq!(encode(tokenizer, &text).len() + 2, tokens, "{text:?}");
    }
}

/// The first ids are those of all ids, and stand for whole characters of the text; `check` is shown a text,
/// its ids, those allowed and the bytes that they stand for.
pub fn assert_limits(
    tokenizer: &dyn Tokenizer,
    set: &str,
    check: impl Fn(&str, &[u32], &[u32], usize),
) {
    let mut random = Random(1);
    for Case { text, ids } in cases(set).iter().flatten().step_by(3) {
        let limit = random.below(ids.len() + 2);
        let mut some = vec![7];
        let complete = tokenizer.encode_limited(text, limit, &mut some);
        let expected = &ids[..limit.min(ids.len())];
        assert_eq!(
            (complete, &some[1..]),
            (limit >= ids.len(), expected),
            "{text:?}"
        );
        let read = tokenizer.bytes_of(text, expected);
        assert!(text.is_char_boundary(read), "{text:?}");
        if complete {
            assert_eq!(read, text.len(), "{text:?}");
        }
        check(text, ids, expected, read);
    }
}
