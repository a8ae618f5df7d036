//! Batches of mixed lengths from several threads that share an embedder of several threads.

use lanewise::{Embedder, Isa};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

#[test]
fn threads_that_share_an_embedder_get_single_text_vectors() {
    let path = tiny_model::written(scratch!("tiny.gguf"), &Options::default());
    let long = "Hello world, ".repeat(20);
    let texts = ["", "Hello", long.as_str(), "the world of 日本 <unused7>"];
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        println!("running on {isa}");
        let embedder = Embedder::builder().threads(3).isa(isa).open(&path).unwrap();
        let single = texts.map(|text| embedder.embed(text).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(embedder.embed_batch(&texts).unwrap(), single);
                    }
                });
            }
        });
    }
}
