//! The live requests as a tree of nodes. Each request is shown below every node that is a root of
//! it.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use termtree::Tree;
use treelock::{Access, Entry, Node, Root, Snapshot, State, engine::Age};

use crate::text;

const NODE: Style = Style::new().bold();
const HELD: Style = AnsiColor::Green.on_default();
const WAITING: Style = AnsiColor::Yellow.on_default();
const LESS: Style = Style::new().dimmed();

/// Returns whether a root concerns a node: whether it is that node, or lies above or below it.
pub(crate) fn concerns(root: &Root, node: &Node) -> bool {
    root.node.contains(node) || node.contains(&root.node)
}

/// Returns the tree of the requests that concern a node, with colours; empty if there are none.
pub(crate) fn draw(snapshot: &Snapshot, node: &Node) -> String {
    let mut places: BTreeMap<&Node, Vec<String>> = BTreeMap::new();
    for entry in &snapshot.entries {
        for root in entry.roots.iter().filter(|root| concerns(root, node)) {
            let lines = places.entry(&root.node).or_default();
            // A root that is given twice is shown once, unless it is both read and written.
            let line = line(entry, root.access);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    // Ancestors come before their descendants, so a sub-tree is one run of these.
    let places: Vec<_> = places.into_iter().collect();
    match places.is_empty() {
        true => String::new(),
        false => branch(&places, 0).to_string(),
    }
}

/// Draws nodes that share their first components, of which the first `above` are drawn already.
/// What they share beyond that becomes one line, since no request names a node in between.
fn branch(places: &[(&Node, Vec<String>)], above: usize) -> Tree<String> {
    let (first, last) = (places[0].0, places[places.len() - 1].0);
    // In this order, what the first and the last share is shared by all.
    let shared = first.components().zip(last.components()).take_while(|(a, b)| a == b).count();
    let name = first.components().skip(above).take(shared - above);
    let name = Node::from_components(name).expect("these are a node's components");
    let mut tree = Tree::new(format!("{NODE}{name}{NODE:#}"));
    let is_here = first.depth() == shared;
    let (here, below) = places.split_at(usize::from(is_here));
    for line in here.iter().flat_map(|(_, lines)| lines) {
        tree.push(line.clone());
    }
    let next = |node: &Node| node.components().nth(shared).map(<[u8]>::to_vec);
    for group in below.chunk_by(|(a, _), (b, _)| next(a) == next(b)) {
        tree.push(branch(group, shared));
    }
    tree
}

/// Returns the line of a request at one of its roots, as in
/// `#4 write waiting 1.1s "agent-9" (pid 4250) after #1`.
fn line(entry: &Entry, access: Access) -> String {
    let style = if entry.state == State::Held { HELD } else { WAITING };
    let age = Age(entry.age);
    let who = text::asker(entry.label.as_deref(), entry.process.as_deref());
    let space = if who.is_empty() { "" } else { " " };
    let after = entry.waits_for.map(|ticket| format!(" {LESS}after{LESS:#} #{ticket}"));
    format!(
        "#{} {access} {style}{}{style:#} {age}{space}{who}{}",
        entry.ticket,
        entry.state,
        after.unwrap_or_default(),
    )
}
