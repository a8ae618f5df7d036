//! `lanewise report`, on tiny models.

mod cli_support;

use cli_support::{TINY, run, scratch};
use lanewise_testkit::{tiny_bert, tiny_pre_norm};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    let run = run(&[&["report", "--json", "--count", "3"], arguments].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn the_report_has_three_measurements_and_the_go_figures() {
    let run = run(&["report", "--count", "3"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let mut rest = run.out.as_str();
    for part in [
        "Forward INT8, ids 2 ",
        "ns/op (median of 3 passes)",
        "42,440,100 ns/op on a 12-core Ryzen 9 7900",
        "Memory usage",
        "412.86 MB",
        "INT8 accuracy",
        "cosine 1.000000, largest difference 0",
        "CPU",
        "instruction set",
        "threads",
        TINY.to_str().unwrap(),
        concat!("Lanewise ", env!("CARGO_PKG_VERSION")),
        "rustc",
    ] {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("no {part:?} in its place in {}", run.out);
        };
        rest = after;
    }
}

#[test]
fn int8_and_f32_vectors_are_close_but_different() {
    let report = json(&[]);
    let accuracy = &report["int8_accuracy"];
    assert_eq!(accuracy["different_paths"], true);
    assert!(accuracy["largest_difference"].as_f64().unwrap() > 0.0);
    assert!(accuracy["cosine"].as_f64().unwrap() > 0.98);
    for path in ["first_int8", "first_f32"] {
        assert_eq!(accuracy[path].as_array().unwrap().len(), 10);
    }
    assert_eq!(report["forward_int8"]["count"], 3);
}

#[test]
fn memory_is_the_sum_of_its_parts() {
    let report = json(&[]);
    let memory = &report["memory_usage"];
    if memory.is_null() {
        println!("SKIPPED: this system does not tell the memory of a process");
        return;
    }
    let bytes = |value: &Value| value.as_u64().unwrap();
    for moment in ["before_loading", "after_loading", "after_forward_pass"] {
        let at = &memory[moment];
        let sum = bytes(&at["private"]) + bytes(&at["file_mapped"]);
        assert_eq!(bytes(&at["resident"]), sum, "{moment}");
    }
    if memory["file_parts"].is_null() {
        println!("SKIPPED: this system does not tell which pages are resident");
        return;
    }
    let mut size = 0;
    for part in ["layers", "embedding_table", "dense_heads", "rest"] {
        let part = &memory["file_parts"][part];
        assert!(bytes(&part["resident"]) <= bytes(&part["size"]));
        size += bytes(&part["size"]);
    }
    assert_eq!(size, bytes(&report["machine"]["file_bytes"]));
}

#[test]
fn given_vectors_are_compared_and_bad_ones_refused() {
    let embedded = run(&["embed", "--format", "jsonl", "a b"]);
    let row: Value = serde_json::from_str(&embedded.out).unwrap();
    let path = scratch("vectors").with_extension("jsonl");
    let given = |row: Value| std::fs::write(&path, format!("{row}\n")).unwrap();
    let file = path.to_str().unwrap();

    given(serde_json::json!({"text": "a b", "embedding": row["embedding"]}));
    let report = json(&["--vectors", file]);
    let compared = &report["int8_accuracy"]["to_float32_vectors"];
    assert_eq!(compared["texts"], 1);
    assert_eq!(compared["largest_difference"], 0.0);

    for (bad, problem) in [
        (
            serde_json::json!({"text": "a", "embedding": [1.0]}),
            "has 1 values",
        ),
        (serde_json::json!({"text": "a"}), ".npy"),
        (serde_json::json!({"words": "a"}), "line 1"),
        (
            serde_json::json!({"text": "a", "prompt": "non\nsense"}),
            "is no name",
        ),
        (
            serde_json::json!({"text": "a", "prompt": "nonsense", "embedding": row["embedding"]}),
            "none called 'nonsense'",
        ),
    ] {
        given(bad);
        let run = run(&["report", "--count", "1", "--vectors", file]);
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(run.err.contains(problem), "no {problem:?} in {}", run.err);
    }
}

#[test]
fn the_chart_is_an_svg_with_a_point_for_each_length() {
    let path = scratch("chart").with_extension("svg");
    let report = json(&["--svg", path.to_str().unwrap()]);
    let points = report["lengths"]["points"].as_array().unwrap();
    // The tiny model reads 256 tokens.
    assert_eq!(points.len(), 7);
    let svg = std::fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<circle").count(), points.len());
    assert_eq!(svg.matches("<polyline").count(), 2);
}

#[test]
fn the_chart_is_never_written_over_the_model() {
    let model = scratch("charted");
    std::fs::copy(cli_support::TINY.as_path(), &model).unwrap();
    let link = model.with_extension("svg");
    let _ = std::fs::remove_file(&link);
    std::fs::hard_link(&model, &link).unwrap();
    let [model_name, link_name] = [&model, &link].map(|path| path.to_str().unwrap());
    let run = cli_support::run(&["report", "-m", model_name, "--svg", link_name]);
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("this file is read as well"), "{}", run.err);
    let before = std::fs::read(cli_support::TINY.as_path()).unwrap();
    assert!(std::fs::read(&model).unwrap() == before);
}

#[test]
fn other_families_are_measured_with_their_own_tokens() {
    let models = [
        (
            "bert",
            tiny_bert::written(scratch("bert"), &tiny_bert::Options::default()),
        ),
        (
            "qwen3",
            tiny_pre_norm::written(scratch("qwen3"), &tiny_pre_norm::Options::qwen3()),
        ),
        (
            "modern-bert",
            tiny_pre_norm::written(
                scratch("modern-bert"),
                &tiny_pre_norm::Options::modern_bert(),
            ),
        ),
    ];
    for (name, path) in models {
        let model = path.to_str().unwrap();
        let tokens = run(&["tokenize", "-m", model, "-f", "jsonl", "Hello world"]);
        let tokens: Value = serde_json::from_str(&tokens.out).unwrap();
        let svg = scratch(name).with_extension("svg");
        let report = json(&["-m", model, "--svg", svg.to_str().unwrap()]);
        let ids = report["forward_int8"]["ids"].as_array().unwrap();
        let tokens = tokens["ids"].as_array().unwrap();
        let inside = ids.windows(tokens.len()).any(|part| part == tokens);
        assert!(inside && ids.len() <= tokens.len() + 2, "{name}: {ids:?}");
        assert!(report["go_engine"].is_null(), "{name}");
        assert_eq!(report["int8_accuracy"]["different_paths"], true, "{name}");
        let info = run(&["info", "-m", model, "--json"]);
        let info: Value = serde_json::from_str(&info.out).unwrap();
        let points = report["lengths"]["points"].as_array().unwrap();
        let longest = points.last().unwrap()["tokens"].as_u64().unwrap();
        let context = info["context"].as_u64().unwrap();
        assert!(longest <= context && context < 2 * longest, "{name}");
        let text = run(&["report", "-m", model, "--count", "1"]);
        assert_eq!(text.code, 0, "{}", text.err);
        assert!(!text.out.contains("Go engine"), "{}", text.out);
    }
}
