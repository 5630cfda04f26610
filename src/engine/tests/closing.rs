//! Blocks are closed once, when they are given up.

use super::*;
use crate::blocks::testing::take_closed;

fn closing(names: &[&str]) -> Json {
    let steps: Json = names
        .iter()
        .map(|n| step(n, "Closing", json!({})))
        .collect();
    workflow(&[], steps, &[])
}

#[test]
fn an_engine_closes_its_blocks() {
    take_closed();
    let mut engine = engine(&closing(&["a", "b"])).unwrap();
    run_again(&mut engine, &json!({})).unwrap();
    assert!(take_closed().is_empty());
    drop(engine);
    assert_eq!(take_closed(), ["a", "b"]);
}

#[test]
fn blocks_that_were_taken_over_are_not_closed() {
    take_closed();
    let (_, stages) = engine(&closing(&["a", "b"])).unwrap().into_stages();
    let blocks: Vec<_> = stages
        .into_iter()
        .flat_map(super::super::Stage::into_blocks)
        .collect();
    assert_eq!(blocks.len(), 2);
    drop(blocks);
    assert!(take_closed().is_empty());
}

#[test]
fn a_block_that_cannot_be_made_closes_the_others() {
    take_closed();
    let error = engine(&closing(&["a", "refused", "b"])).err().unwrap();
    assert_eq!(error.class, ErrorClass::BlockInterface);
    assert!(error.context.ends_with("steps_initialisation"));
    assert_eq!(take_closed(), ["a"]);
}
