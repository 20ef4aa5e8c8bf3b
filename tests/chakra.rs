//! Chakra traces of a plan: every collective on every rank, both ends of every message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sim::chakra::{self, Node, NodeType, Value};

use crate::printed;

/// A whole-number attribute.
fn number(node: &Node, name: &str) -> Option<i64> {
    let attribute = node.attr.iter().find(|attribute| attribute.name == name)?;
    match attribute.value.as_ref()? {
        Value::Int32(value) => Some(i64::from(*value)),
        Value::Int64(value) => Some(*value),
        Value::Uint64(value) => i64::try_from(*value).ok(),
        Value::Bool(_) | Value::Text(_) => None,
    }
}

fn traced(folder: &Path, plan: &str, ranks: usize) -> Vec<Vec<Node>> {
    let out = folder.display().to_string();
    printed(&["simulate", "--plan", plan, "--steps", "2", "--chakra", &out]);
    (0..ranks)
        .map(|rank| {
            let bytes =
                fs::read(folder.join(format!("ditplan.{rank}.et"))).expect("a file for every rank");
            let (head, nodes) = chakra::decode(&bytes).unwrap();
            assert_eq!(head.version, "0.0.4");
            // Every dependency is an earlier node of the file.
            let mut known = BTreeSet::new();
            for node in &nodes {
                assert!(
                    node.data_deps.iter().all(|dep| known.contains(dep)),
                    "{plan}: {node:?}"
                );
                assert!(known.insert(node.id));
                let ps = number(node, "duration_ps").unwrap();
                assert!((ps / 1_000_000 - node.duration_micros as i64).abs() <= 1);
            }
            nodes
        })
        .collect()
}

fn of_type(nodes: &[Node], wanted: NodeType) -> impl Iterator<Item = &Node> {
    nodes
        .iter()
        .filter(move |node| node.r#type == wanted as i32)
}

#[test]
fn a_plan_as_chakra_traces_has_every_collective_on_every_rank() {
    let folder = tempfile::tempdir().unwrap();
    let files = traced(folder.path(), "ulysses4", 4);
    // FLUX.1-dev: 57 blocks, two all-to-alls each, two steps.
    let collectives = |nodes: &[Node]| {
        of_type(nodes, NodeType::CommColl)
            .map(|node| {
                (
                    node.id,
                    number(node, "comm_type"),
                    number(node, "comm_size"),
                )
            })
            .collect::<Vec<_>>()
    };
    let first = collectives(&files[0]);
    assert_eq!(first.len(), 57 * 2 * 2);
    assert!(
        first
            .iter()
            .all(|(_, kind, size)| *kind == Some(6) && size.unwrap() > 0)
    );
    for nodes in &files {
        assert_eq!(collectives(nodes), first);
        assert!(of_type(nodes, NodeType::Comp).count() > 57 * 2);
        let waits = nodes
            .iter()
            .skip(1)
            .filter(|node| node.data_deps.is_empty())
            .count();
        assert!(
            waits < 4,
            "only the first tasks wait for nothing, not {waits}"
        );
    }
}

#[test]
fn messages_of_rings_and_pipelines_have_two_ends() {
    for (plan, ranks) in [("ring4", 4), ("pipefusion4", 4), ("ulysses2+ring2", 4)] {
        let folder = tempfile::tempdir().unwrap();
        let mut ends: BTreeMap<(i64, i64, i64), [usize; 2]> = BTreeMap::new();
        for (rank, nodes) in traced(folder.path(), plan, ranks).iter().enumerate() {
            for (end, wanted, key) in [
                (0, NodeType::CommSend, "comm_src"),
                (1, NodeType::CommRecv, "comm_dst"),
            ] {
                for node in of_type(nodes, wanted) {
                    assert_eq!(number(node, key), Some(rank as i64));
                    let of = |name| number(node, name).unwrap();
                    ends.entry((of("comm_src"), of("comm_dst"), of("comm_tag")))
                        .or_default()[end] += 1;
                }
            }
        }
        assert!(!ends.is_empty(), "{plan}");
        assert!(ends.values().all(|count| *count == [1, 1]), "{plan}");
    }
}
