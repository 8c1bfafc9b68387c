//! The second step: clusters that a strong but wrong link brought together early come apart again.

use super::Graph;

/// The clusters, each split in two, again and again, where that is worth more: where all pairs across together
/// oppose a common ensemble.
pub(super) fn split(graph: &Graph, mut partition: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    let mut whole = vec![];
    while let Some(mut set) = partition.pop() {
        match away(graph, &mut set) {
            0 => whole.push(set),
            n => {
                partition.push(set.split_off(n));
                partition.push(set);
            }
        }
    }
    whole
}

/// Moves members to the front, one after the other, always the one that ties the most to those that moved and the least
/// to those that did not (Kernighan and Lin 1970, one pass); returns how many of them are best split off, none if
/// the set is best whole.
fn away(graph: &Graph, set: &mut [u32]) -> usize {
    let sum = |v: u32| {
        let ties = set.iter().filter(|&&u| u != v).map(|&u| graph.tie(v, u));
        ties.fold((0, 0), |(support, z), tie| (support + tie.support, z + tie.z))
    };
    // How much a member's links to those that stay outweigh those to the ones that moved; then the same by z.
    let mut pull: Vec<(i64, i64)> = set.iter().map(|&v| sum(v)).collect();
    let (mut across, mut best) = (0, (0, 0));
    for moved in 0..set.len().saturating_sub(1) {
        let Some(at) = (moved..set.len()).min_by_key(|&at| (pull[at], set[at])) else { break };
        set.swap(moved, at);
        pull.swap(moved, at);
        across += pull[moved].0;
        best = best.min((across, moved + 1));
        for at in moved + 1..set.len() {
            let tie = graph.tie(set[moved], set[at]);
            pull[at] = (pull[at].0 - 2 * tie.support, pull[at].1 - 2 * tie.z);
        }
    }
    best.1
}
