//! Which of the names that there are was meant by one that there is not.

/// What to say about `wanted`, which is none of the names `present`, if one of them is nearly it.
pub fn hint(wanted: &str, present: &[String]) -> Option<String> {
    let plain = |name: &str| {
        let name = name.trim_matches(|c: char| c.is_whitespace() || "\u{feff}\"'".contains(c));
        name.to_lowercase()
    };
    let same = present.iter().find(|name| plain(name) == plain(wanted));
    if let Some(name) = same {
        let difference = if name.trim() != *name {
            "with white space around it"
        } else if name.contains(['"', '\'']) {
            "in quotes"
        } else if name.contains('\u{feff}') {
            "after a byte order mark"
        } else {
            "in another case"
        };
        return Some(format!(
            "there is \"{}\", {difference}",
            name.escape_debug()
        ));
    }
    let near = present.iter().map(|name| (distance(wanted, name), name));
    let near = near.min_by_key(|(distance, _)| *distance);
    let most = wanted.chars().count() / 3;
    near.filter(|(distance, _)| (1..=most.max(1)).contains(distance) && wanted.len() > 1)
        .map(|(_, name)| format!("did you mean \"{name}\"?"))
}

/// How many characters have to be put in, left out, changed or swapped with the next one (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    /// Longer names are compared by their beginnings.
    const MOST: usize = 64;
    let [a, b] = [a, b].map(|name| name.chars().take(MOST).collect::<Vec<_>>());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(table[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_found() {
        let hint = |wanted: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            hint(wanted, &names)
        };
        assert_eq!(
            hint("ulr", &["id", "url"]).as_deref(),
            Some("did you mean \"url\"?")
        );
        assert_eq!(
            hint("text", &["id", "texts"]).as_deref(),
            Some("did you mean \"texts\"?")
        );
        assert_eq!(
            hint("text", &["TEXT"]).as_deref(),
            Some("there is \"TEXT\", in another case")
        );
        assert_eq!(
            hint("text", &["id", " Text"]).as_deref(),
            Some("there is \" Text\", with white space around it")
        );
        assert_eq!(
            hint("text", &["\"text\""]).as_deref(),
            Some("there is \"\\\"text\\\"\", in quotes")
        );
        assert_eq!(hint("text", &["id", "body", "next_field"]), None);
        assert_eq!(hint("text", &[]), None);
        assert_eq!(hint("2", &["1"]), None);
    }
}
