//! Finds the paths and string literals in Rust source: enough of a parser to see what a file
//! imports, and no more.

/// A path with at least two segments, as in `crate::gguf::Gguf`, or the only one of a `use`.
#[derive(Debug, PartialEq)]
pub struct Path {
    pub line: usize,
    /// As written, except that groups are expanded and `super` and `self` are resolved: these
    /// paths begin with `crate`.
    pub segments: Vec<String>,
}

/// A string literal.
#[derive(Debug, PartialEq)]
pub struct Literal {
    pub line: usize,
    pub text: String,
    /// Whether it stands in a module named `tests`.
    pub in_tests: bool,
}

/// What a source file names.
#[derive(Debug, Default)]
pub struct Names {
    pub paths: Vec<Path>,
    pub literals: Vec<Literal>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    Literal(String),
    /// `::`
    Colons,
    Other(char),
}

struct Token {
    kind: Kind,
    line: usize,
}

/// The names in `source`, the file of the module at `module` below its crate's root: `["gguf",
/// "map"]` for `src/gguf/map.rs`. Comments and documentation are left out.
pub fn names(source: &str, module: &[&str]) -> Names {
    let mut scanner = Scanner {
        tokens: tokens(source),
        module: module.iter().map(|name| (*name).to_owned()).collect(),
        names: Names::default(),
    };
    scanner.scan();
    scanner.names
}

struct Scanner {
    tokens: Vec<Token>,
    /// The module that is being read, inline modules included.
    module: Vec<String>,
    names: Names,
}

impl Scanner {
    fn scan(&mut self) {
        let mut depth = 0;
        // The depths at which inline modules end.
        let mut inline = Vec::new();
        let mut next = 0;
        while next < self.tokens.len() {
            let at = next;
            next += 1;
            match self.kind(at) {
                Some(Kind::Other('{')) => {
                    if self.is_word(at.wrapping_sub(2), "mod")
                        && let Some(name) = self.word(at - 1)
                    {
                        self.module.push(name);
                        inline.push(depth);
                    }
                    depth += 1;
                }
                Some(Kind::Other('}')) => {
                    depth -= 1;
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        self.module.pop();
                    }
                }
                Some(Kind::Literal(text)) => {
                    let in_tests = self.module.iter().any(|module| module == "tests");
                    let line = self.tokens[at].line;
                    self.names.literals.push(Literal {
                        line,
                        text,
                        in_tests,
                    });
                }
                Some(Kind::Word(_)) if self.begins_a_path(at) => {
                    let is_use = self.is_word(at.wrapping_sub(1), "use");
                    if is_use || self.continues(at) {
                        next = self.tree(at, &[]);
                    }
                }
                Some(Kind::Colons) if self.is_word(at.wrapping_sub(1), "use") => {
                    next = self.tree(next, &[]);
                }
                _ => {}
            }
        }
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind.clone())
    }

    fn word(&self, at: usize) -> Option<String> {
        match self.kind(at) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|found| found == word)
    }

    /// Whether the word at `at` is the first segment of a path, and not a later one as in
    /// `Vec::<u8>::new`.
    fn begins_a_path(&self, at: usize) -> bool {
        let before = |distance: usize| at.checked_sub(distance).and_then(|at| self.kind(at));
        match before(1) {
            Some(Kind::Other('.')) => false,
            Some(Kind::Colons) => !matches!(before(2), Some(Kind::Word(_) | Kind::Other('>'))),
            _ => true,
        }
    }

    /// Whether the path goes on after the segment at `at`.
    fn continues(&self, at: usize) -> bool {
        self.kind(at + 1) == Some(Kind::Colons)
            && matches!(
                self.kind(at + 2),
                Some(Kind::Word(_) | Kind::Other('{' | '*'))
            )
    }

    /// Reads the path or group at `at`, which stands after `prefix`, and returns where it ends.
    fn tree(&mut self, at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        match self.kind(at) {
            Some(Kind::Word(word)) => path.push(word),
            Some(Kind::Other('*')) => path.push("*".into()),
            Some(Kind::Other('{')) => {
                let mut next = at + 1;
                while next < self.tokens.len() && self.kind(next) != Some(Kind::Other('}')) {
                    next = match self.kind(next) {
                        Some(Kind::Other(',')) => next + 1,
                        // The name that follows is this file's own.
                        Some(Kind::Word(word)) if word == "as" => next + 2,
                        _ => self.tree(next, prefix),
                    };
                }
                return next + 1;
            }
            _ => return at + 1,
        }
        if self.continues(at) {
            return self.tree(at + 2, &path);
        }
        let segments = self.resolve(path);
        let line = self.tokens[at].line;
        self.names.paths.push(Path { line, segments });
        at + 1
    }

    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        let mut module = match path[0].as_str() {
            "self" | "super" => self.module.clone(),
            _ => return without_self(path),
        };
        let mut rest = path.into_iter().peekable();
        while let Some(step) = rest.next_if(|step| step == "self" || step == "super") {
            if step == "super" {
                module.pop();
            }
        }
        let path = std::iter::once("crate".to_owned())
            .chain(module)
            .chain(rest);
        without_self(path.collect())
    }
}

/// `a::{self}` is `a`.
fn without_self(mut path: Vec<String>) -> Vec<String> {
    path.retain(|segment| segment != "self");
    path
}

fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let get = |at: usize| text.get(at).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let start = at;
        let kind = match text[at] {
            '/' if get(at + 1) == '/' => {
                while at < text.len() && text[at] != '\n' {
                    at += 1;
                }
                None
            }
            '/' if get(at + 1) == '*' => {
                at = end_of_block_comment(&text, at);
                None
            }
            ':' if get(at + 1) == ':' => {
                at += 2;
                Some(Kind::Colons)
            }
            '"' => {
                at = end_of_string(&text, at);
                Some(Kind::Literal(inside(&text[start..at])))
            }
            '\'' => {
                if get(at + 1) == '\\' {
                    at += 3;
                    while at < text.len() && text[at] != '\'' {
                        at += 1;
                    }
                    at += 1;
                } else if get(at + 2) == '\'' {
                    at += 3;
                } else {
                    // A lifetime or a label.
                    at += 1;
                    while is_word(get(at)) {
                        at += 1;
                    }
                }
                Some(Kind::Other('\''))
            }
            c if is_word(c) => {
                while is_word(get(at)) {
                    at += 1;
                }
                let word: String = text[start..at].iter().collect();
                let raw = ["r", "br", "cr"].contains(&word.as_str());
                if raw && (get(at) == '"' || get(at) == '#' && "#\"".contains(get(at + 1))) {
                    let from = at;
                    at = end_of_raw_string(&text, at);
                    Some(Kind::Literal(inside(&text[from..at])))
                } else if raw && get(at) == '#' {
                    // A raw identifier: the name follows.
                    at += 1;
                    None
                } else if ["b", "c"].contains(&word.as_str()) && "\"'".contains(get(at)) {
                    // The prefix of a literal, which follows.
                    None
                } else if c.is_ascii_digit() {
                    Some(Kind::Other(c))
                } else {
                    Some(Kind::Word(word))
                }
            }
            c => {
                at += 1;
                (!c.is_whitespace()).then_some(Kind::Other(c))
            }
        };
        tokens.extend(kind.map(|kind| Token { kind, line }));
        at = at.min(text.len());
        line += text[start..at].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

fn inside(literal: &[char]) -> String {
    let text: String = literal.iter().collect();
    text.trim_matches(['#', '"']).to_owned()
}

fn end_of_block_comment(text: &[char], mut at: usize) -> usize {
    let mut open = 0;
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (open, at) = (open + 1, at + 2),
            ['*', '/', ..] => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            break;
        }
    }
    at
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `start` is the first `#` or the quote.
fn end_of_raw_string(text: &[char], start: usize) -> usize {
    let hashes = text[start..].iter().take_while(|&&c| c == '#').count();
    let mut at = start + hashes + 1;
    while at < text.len() {
        let closes = text[at] == '"'
            && text[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}
