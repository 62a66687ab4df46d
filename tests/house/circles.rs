//! Circles in the graph of imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who imports whom, and at which line first.
pub(crate) type Graph = BTreeMap<usize, BTreeMap<usize, usize>>;

/// For every import that lies on a circle the shortest circle through it, each once: none, if and only if there is no
/// circle at all. The shortest come first; each starts with its smallest number.
pub(crate) fn find(graph: &Graph) -> Vec<Vec<usize>> {
    let mut circles = BTreeSet::new();
    for (from, imported) in graph {
        for to in imported.keys() {
            if let Some(mut circle) = shortest(graph, *to, *from) {
                let first = circle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
                circle.rotate_left(first);
                circles.insert((circle.len(), circle));
            }
        }
    }
    circles.into_iter().map(|(_, circle)| circle).collect()
}

/// The largest sets of files in which each leads to each, of two and more.
pub(crate) fn knots(graph: &Graph) -> Vec<Vec<usize>> {
    let mut left: BTreeSet<usize> = graph.keys().copied().collect();
    let mut knots = Vec::new();
    while let Some(node) = left.pop_first() {
        let reached = reach(graph, node);
        let knot: Vec<usize> = left.iter().copied().filter(|other| reached.contains(other)).collect();
        let knot: Vec<usize> = knot.into_iter().filter(|other| reach(graph, *other).contains(&node)).collect();
        if !knot.is_empty() {
            knot.iter().for_each(|other| _ = left.remove(other));
            knots.push([vec![node], knot].concat());
        }
    }
    knots
}

fn reach(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(node) = next.pop() {
        for to in graph.get(&node).into_iter().flatten().map(|(to, _)| *to) {
            if reached.insert(to) {
                next.push(to);
            }
        }
    }
    reached
}

/// The files on a shortest way, both ends included.
fn shortest(graph: &Graph, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before = BTreeMap::from([(from, from)]);
    let mut next = VecDeque::from([from]);
    while let Some(node) = next.pop_front() {
        if node == to {
            let mut way = vec![node];
            while way[0] != from {
                way.insert(0, before[&way[0]]);
            }
            return Some(way);
        }
        for to in graph.get(&node).into_iter().flatten().map(|(to, _)| *to) {
            before.entry(to).or_insert_with(|| {
                next.push_back(to);
                node
            });
        }
    }
    None
}
