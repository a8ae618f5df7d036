//! `lanewise search`, `similar`, `duplicates` and `recall`.
#![cfg(feature = "bulk")]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

mod bulk_support;
mod cli_support;

use bulk_support::Directory;
use lanewise_testkit::tiny_bert;
use serde_json::Value;

/// The objects of a run with `--format jsonl`.
#[track_caller]
fn found(directory: &Directory, arguments: &str, queries: &[u8]) -> Vec<Value> {
    let run = directory.run_with(&format!("search {arguments} --format jsonl"), queries);
    assert_eq!(run.code, 0, "{}", run.err);
    let lines = run.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The texts of the corpus, a line each.
fn texts(directory: &Directory) -> Vec<String> {
    let objects = directory.objects("corpus.jsonl").into_iter();
    objects
        .map(|object| object["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_text_finds_its_own_row_in_every_format_and_precision() {
    let directory = Directory::with_corpus(30);
    let texts = texts(&directory);
    let queries = texts.join("\n");
    for (number, precision) in ["f32", "f16", "i8", "i8+binary", "binary+f32"]
        .into_iter()
        .enumerate()
    {
        for format in ["arrow", "parquet", "jsonl"] {
            let index = format!("v{number}.{format}");
            directory.embed(&format!(
                "--output {index} --precision {precision} --keep text,number --id-field id"
            ));
            let arguments = format!("{index} --prompt raw -k 30");
            let hits = found(&directory, &arguments, queries.as_bytes());
            assert_eq!(hits.len(), 30 * 30, "{index}");
            for (row, hits) in hits.chunks_exact(30).enumerate() {
                let own = hits.iter().find(|hit| hit["row"] == row).unwrap();
                assert_eq!(own["query"], row);
                assert_eq!(own["text"], *texts[row], "{index}");
                assert_eq!(own["id"], format!("d{row}"), "{index}");
                assert_eq!(
                    own["columns"].is_null(),
                    format != "arrow",
                    "{index}: {own}"
                );
                let scores: Vec<f64> = hits
                    .iter()
                    .map(|hit| hit["score"].as_f64().unwrap())
                    .collect();
                assert!(scores.is_sorted_by(|a, b| a >= b), "{index}");
                let score = own["score"].as_f64().unwrap();
                assert!((score - 1.0).abs() < 0.01, "{index}: {score}");
                // Texts of the same few words are as near as rounding.
                assert!(scores[0] - score < 1e-3, "{index}: {}", scores[0]);
            }
        }
    }
}

#[test]
fn rows_can_be_limited_to_values_of_columns() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8 --keep text,number,meta.language");
    let hits = found(&directory, "v.arrow river --where number=7", b"");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["columns"]["number"], 7);
    let run = directory.run("search v.arrow river --where nothing=7");
    assert_eq!(run.code, 2);
    assert!(
        run.err.contains("there is no column \"nothing\""),
        "{}",
        run.err
    );
    let run = directory.run("search v.arrow river --where number");
    assert!(
        run.code == 2 && run.err.contains("as in language=en"),
        "{}",
        run.err
    );
}

#[test]
fn lines_of_text_can_be_kept_and_found() {
    let directory = Directory::new();
    directory.write("notes.txt", "rivers\n42\n\n\u{feff}the moon\n".as_bytes());
    let embed = "embed --input notes.txt --keep text --precision i8 --output v.arrow";
    let run = directory.run(embed);
    assert_eq!(run.code, 0, "{}", run.err);
    let hits = found(&directory, "v.arrow --prompt raw -k 1 42", b"");
    assert_eq!(hits[0]["text"], "42");
    let hits = found(&directory, "v.arrow --prompt raw -k 4 x --where text=", b"");
    assert_eq!((hits.len(), &hits[0]["row"]), (1, &2.into()));
    let run = directory.run(&embed.replace("--keep text", "--keep text,text --force"));
    assert_eq!(run.code, 2, "{}", run.err);
    let run = directory.run(&embed.replace("--keep text", "--keep date --force"));
    assert_eq!(run.code, 2);
    assert!(
        run.err
            .contains("lines have no columns for --id-field or --keep but `text`"),
        "{}",
        run.err
    );
}

#[test]
fn several_files_are_one_index() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output a.arrow --precision i8 --keep text");
    directory.embed("--output b.parquet --precision i8 --keep text");
    let hits = found(&directory, "a.arrow --also b.parquet river -k 60", b"");
    assert_eq!(hits.len(), 60);
    for pair in hits.chunks_exact(2).take(5) {
        assert_eq!(pair[0]["score"], pair[1]["score"]);
    }
    let mut rows: Vec<u64> = hits
        .iter()
        .map(|hit| hit["row"].as_u64().unwrap())
        .collect();
    rows.sort_unstable();
    assert!(rows.into_iter().eq(0..60));
}

#[test]
fn a_row_finds_those_like_it_without_a_model() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8 --keep text");
    let similar = directory.run("similar v.arrow --row 3 -k 4 --format jsonl -m none.gguf");
    assert_eq!(similar.code, 2, "it has no such option");
    let similar = directory.run("similar v.arrow --row 3 -k 4 --format jsonl");
    let query = &texts(&directory)[3];
    let hits = found(&directory, "v.arrow --prompt raw -k 5", query.as_bytes());
    let others = hits.iter().filter(|hit| hit["row"] != 3).take(4);
    let expected: Vec<&Value> = others.map(|hit| &hit["row"]).collect();
    let lines = similar.out.lines();
    let rows: Vec<Value> = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["row"].clone())
        .collect();
    assert!(rows.iter().eq(expected), "{}", similar.out);
    let run = directory.run("similar v.arrow --row 30");
    assert_eq!(run.code, 2, "{}", run.err);
}

#[test]
fn results_are_written_in_every_format() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8+binary --keep text --id-field id");
    let run = directory.run("search v.arrow river Mond -k 2");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", run.out);
    assert!(
        lines[0].starts_with("1\t") && lines[2].is_empty(),
        "{}",
        run.out
    );
    let run = directory.run("search v.arrow river Mond -k 2 --format json");
    let array: Vec<Value> = serde_json::from_str(&run.out).unwrap();
    assert_eq!(array.len(), 4);
    let run = directory.run("search v.arrow river --format csv --approximate 30");
    assert!(
        run.out.starts_with("query,rank,score,row,id,text\n0,1,"),
        "{}",
        run.out
    );
    let exact = directory.run("search v.arrow river --format csv");
    assert_eq!(run.out, exact.out, "all rows are candidates");
    let run = directory.run_with("search v.arrow --format json", b"");
    assert_eq!((run.code, run.out.as_str()), (0, "[]\n"));
}

#[test]
fn what_cannot_be_searched_is_refused_with_the_remedy() {
    let directory = Directory::with_corpus(5);
    directory.embed("--output v.arrow --precision i8 --keep text");
    for (arguments, code, message) in [
        ("search none.arrow x", 1, "check the path"),
        ("search corpus.jsonl x", 1, "corpus.jsonl"),
        (
            "search v.arrow x -k 0",
            2,
            "k: 0 rows are asked for; give at least 1",
        ),
        ("search v.arrow x --approximate 8", 2, "embed the texts"),
        ("search v.arrow x --rescore f32", 2, "i8+f32"),
        ("search v.arrow x --prompt nonsense", 2, "nonsense"),
    ] {
        let run = directory.run(arguments);
        assert_eq!(run.code, code, "{arguments}: {}", run.err);
        assert!(run.err.contains(message), "{arguments}: {}", run.err);
        assert_eq!(run.out, "", "{arguments}");
    }
    directory.embed("--output s.arrow --shard 1/2");
    let run = directory.run("search s.arrow.shard-1-of-2 x");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("merge all shards"), "{}", run.err);
    tiny_bert::written(directory.path("bert.gguf"), &tiny_bert::Options::default());
    let run = directory.run("search v.arrow x -m bert.gguf");
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(
        run.err.contains("another model than the one in use"),
        "{}",
        run.err
    );
    let run = directory.run_with("search v.arrow -k 1", b"fine\nbad \xff\n");
    assert_eq!((run.code, run.out.lines().count()), (1, 1), "{}", run.err);
    assert!(run.err.contains("line 2"), "{}", run.err);
}

#[test]
fn columns_are_cells_and_many_results_go_to_a_file() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8 --keep text,number --id-field id");
    directory.write("queries.txt", b"river\nMond\n");
    let search = "search v.arrow --queries queries.txt -k 3 --output";
    let run = directory.run(&format!("{search} hits.csv"));
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    let hits = String::from_utf8(directory.read("hits.csv")).unwrap();
    let lines: Vec<&str> = hits.lines().collect();
    assert_eq!(lines[0], "query,rank,score,row,id,text,number");
    assert_eq!(lines.len(), 7);
    assert!(lines[4].starts_with("1,1,"), "{hits}");
    let row = lines[1].split(',').nth(3).unwrap();
    assert!(lines[1].ends_with(&format!(",{row}")), "{hits}");
    let piped = directory.run_with("search v.arrow -k 3 --format csv", b"river\nMond\n");
    assert_eq!(piped.out, hits);

    let again = directory.run(&format!("{search} hits.csv"));
    assert_eq!(again.code, 1);
    assert!(again.err.contains("give --force"), "{}", again.err);
    assert_eq!(
        directory
            .run(&format!("{search} hits.csv --force -f jsonl"))
            .code,
        0
    );
    assert_eq!(directory.objects("hits.csv").len(), 6);
    let run = directory.run(&format!("{search} hits.parquet"));
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("name it .jsonl"), "{}", run.err);
    for read in ["queries.txt", "v.arrow"] {
        let run = directory.run(&format!("{search} {read} --force -f text"));
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains("is read as well"), "{}", run.err);
    }
    let run = directory.run("search v.arrow --queries none.txt");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("none.txt: cannot read"), "{}", run.err);
    assert_eq!(
        directory.names(),
        ["corpus.jsonl", "hits.csv", "queries.txt", "v.arrow"]
    );
}

#[test]
fn duplicates_are_all_pairs_from_a_score_on() {
    let directory = Directory::with_corpus(60);
    directory.embed("--output v.arrow --precision i8 --keep text");
    let mut expected = BTreeSet::new();
    for row in 0..60 {
        let similar = format!("similar v.arrow --row {row} -k 60 --format jsonl");
        for line in directory.run(&similar).out.lines() {
            let hit: Value = serde_json::from_str(line).unwrap();
            let other = hit["row"].as_u64().unwrap();
            if row < other && hit["score"].as_f64().unwrap() >= 0.9 {
                expected.insert((row, other));
            }
        }
    }
    assert!(expected.len() > 3);
    let run = directory.run("duplicates v.arrow --above 0.9 --format jsonl");
    assert_eq!(run.code, 0, "{}", run.err);
    let pairs: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts = texts(&directory);
    let found = pairs.iter().map(|pair| {
        let row = |side: &str| pair[side]["row"].as_u64().unwrap();
        assert_eq!(pair["second"]["text"], *texts[row("second") as usize]);
        (row("first"), row("second"))
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    assert_eq!(pairs.len(), expected.len(), "each pair once");
    let run = directory.run("duplicates v.arrow --above much");
    assert_eq!(run.code, 2);
    let run = directory.run("duplicates v.arrow --above NaN");
    assert_eq!(run.code, 2, "{}", run.err);
}

#[test]
fn recall_is_whole_where_all_rows_are_candidates() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8+binary --keep text");
    let run = directory.run_with(
        "recall v.arrow -k 5 --approximate 1,6 --format jsonl",
        b"river\nMond\nla vie\n",
    );
    assert_eq!(run.code, 0, "{}", run.err);
    let points: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(points.len(), 3);
    assert!(points[0]["approximate"].is_null() && points[0]["recall"] == 1.0);
    assert_eq!(points[2]["approximate"], 6);
    assert_eq!(points[2]["recall"], 1.0);
    let least = points[1]["recall"].as_f64().unwrap();
    assert!((0.2..=1.0).contains(&least), "{least}");

    let run = directory.run_with("recall v.arrow", b"");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("queries: there are none"), "{}", run.err);
    directory.embed("--output i8.arrow --precision i8");
    let run = directory.run("recall i8.arrow river");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("binary"), "{}", run.err);
}

#[test]
fn two_stages_have_a_number_of_candidates_by_default() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8+binary");
    let search = |arguments: &str| directory.run(&format!("search v.arrow {arguments}"));
    let default = search("river --approximate");
    assert_eq!(default.code, 0, "{}", default.err);
    assert_eq!(default.out, search("river --approximate 32 -k 10").out);
    let run = search("--approximate river");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("after the queries"), "{}", run.err);
}

/// `script` gives a command a terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_colors_and_lines_of_its_width() {
    let directory = Directory::with_corpus(30);
    directory.embed("--output v.arrow --precision i8 --keep text");
    let shown = |before: &str| {
        let command = directory.command();
        let program = command.get_program().to_str().unwrap().to_owned();
        let script = format!("{before} '{program}' search v.arrow river Mond -k 3");
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &script, "/dev/null"]);
        terminal.current_dir(directory.path("."));
        terminal.env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None => terminal.env_remove(name),
            };
        }
        terminal.stdin(Stdio::null());
        String::from_utf8(terminal.output().unwrap().stdout).unwrap()
    };
    let out = shown("stty rows 24 cols 40; ");
    assert!(out.contains("\x1b[1mriver"), "no title in {out:?}");
    assert!(out.contains("\x1b[32m"), "no color in {out:?}");
    let out = shown("stty rows 24 cols 40; NO_COLOR=1");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 9, "{out:?}");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{out:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 40));
    assert!(lines.iter().any(|line| line.ends_with('…')), "{out:?}");
}
