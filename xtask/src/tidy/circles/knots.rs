//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Which file uses which, with one of the lines that do, and what stands there.
pub(super) type Arrows = BTreeMap<String, BTreeMap<String, (usize, String)>>;

/// The sets of files in which each uses all others, directly or by way of others.
pub(super) fn knots(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut knots: Vec<Vec<String>> = Vec::new();
    for (file, others) in &reached {
        let is_back = |other: &&&String| reached.get(*other).is_some_and(|its| its.contains(file));
        let knot: Vec<String> = others.iter().filter(is_back).map(|&other| other.clone()).collect();
        if knot.len() > 1 && !knots.contains(&knot) {
            knots.push(knot);
        }
    }
    knots
}

/// The files that are reached from one, itself only if there is a way back.
fn reach<'a>(arrows: &'a Arrows, from: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_are_found() {
        let pairs = ["ab", "bc", "ca", "cd", "de", "ed", "fa", "gg"];
        let mut arrows = Arrows::new();
        for pair in pairs {
            let to = arrows.entry(pair[..1].into()).or_default();
            to.insert(pair[1..].into(), (1, pair.into()));
        }
        let found: Vec<String> = knots(&arrows).iter().map(|knot| knot.concat()).collect();
        assert_eq!(found, ["abc", "de"]);
    }
}
