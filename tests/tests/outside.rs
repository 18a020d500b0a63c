//! What strangers can send: the corpus of the fuzz targets, through the same functions.

use std::collections::BTreeSet;
use std::fs;

use fanfare_tests::outside::PARSERS;
use fanfare_tests::workspace;

#[test]
fn the_corpus_of_every_parser_is_read_without_harm() {
    let corpus = workspace::root().join("tests/fuzz/corpus");
    for (name, parse) in PARSERS {
        let inputs: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().collect();
        assert!(inputs.len() >= 10, "{name} has only {}", inputs.len());
        for input in inputs {
            let path = input.unwrap().path();
            println!("{}", path.display());
            parse(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_parser_has_a_fuzz_target_and_every_target_a_parser() {
    let targets = workspace::root().join("tests/fuzz/fuzz_targets");
    let found: BTreeSet<String> = fs::read_dir(targets)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted = PARSERS.map(|(name, _)| format!("{name}.rs"));
    assert_eq!(found, BTreeSet::from(wanted));
}
