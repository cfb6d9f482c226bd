//! `treelock ls`: shows the live requests: once, as they change, or how long they wait.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use treelock::{Node, Snapshot, Wait as _, engine::Event};

use crate::{
    arguments::Ls,
    commands::stats,
    error::Failure,
    json::{self, Listing},
    lock::Lock,
    nodes,
    output::{end_with_reader, print, say},
    screen, survivor, tree, view,
};

/// Shows the live requests. Returns the exit code.
pub(crate) fn ls(lock: &Lock, arguments: &Ls) -> Result<u8, Failure> {
    let node = nodes::node(arguments.naming.naming(), &arguments.node)?;
    match (arguments.watch, arguments.json) {
        _ if arguments.stats => return stats::stats(lock, &node, arguments),
        (true, true) => print_events(lock, &node),
        (true, false) if io::stdout().is_terminal() && !screen::is_dumb() => {
            return view::show(lock, &node);
        }
        (true, false) => print_trees(lock, &node),
        (false, true) => print(&json::line(&listing(&survivor::snapshot(lock)?, &node))),
        (false, false) => {
            let tree = tree::draw(&survivor::snapshot(lock)?, &node);
            if tree.is_empty() {
                // Not on standard output, where it could be mistaken for an entry.
                say(&nothing(lock, &node));
                return Ok(0);
            }
            print(tree.trim_end())
        }
    }?;
    Ok(0)
}

/// Prints each event as one document. Returns only if it fails.
fn print_events(lock: &Lock, node: &Node) -> Result<(), Failure> {
    end_with_reader();
    let mut events = lock.any.events().wait()?;
    loop {
        let event = events.next().wait()?;
        if concerns(&event, node) {
            print(&json::line(&json::Event::from(&event)))?;
        }
    }
}

/// Returns whether an event is about a request at, above or below a node, or about unknown ones.
pub(crate) fn concerns(event: &Event, node: &Node) -> bool {
    event.request().is_none_or(|request| {
        request.request.roots().any(|(_, root)| root.contains(node) || node.contains(root))
    })
}

/// Prints the tree whenever anything other than the ages has changed. Returns only if it fails.
fn print_trees(lock: &Lock, node: &Node) -> Result<(), Failure> {
    end_with_reader();
    let mut events = lock.any.events().wait()?;
    let mut shown = None;
    loop {
        let snapshot = survivor::snapshot(lock)?;
        let now = timeless(&listing(&snapshot, node));
        if shown.as_ref() != Some(&now) {
            let tree = tree::draw(&snapshot, node);
            print(&if tree.is_empty() { nothing(lock, node) } else { tree })?;
            shown = Some(now);
        }
        events.next().wait()?;
        while let Some(event) = events.next().wait_timeout(Duration::ZERO) {
            event?;
        }
    }
}

/// Returns everything but the ages, which change whenever time passes.
fn timeless(listing: &Listing) -> String {
    let mut requests = listing.requests.clone();
    requests.iter_mut().for_each(|request| request.age_seconds = 0.0);
    json::line(&Listing { requests })
}

fn listing(snapshot: &Snapshot, node: &Node) -> Listing {
    let entries = snapshot.entries.iter();
    let entries = entries.filter(|entry| entry.roots.iter().any(|root| tree::concerns(root, node)));
    Listing { requests: entries.map(json::Request::from).collect() }
}

fn nothing(lock: &Lock, node: &Node) -> String {
    let place = &lock.any;
    match node.is_root() {
        true => format!("nobody holds or waits for anything in {place}"),
        false => format!("nobody holds or waits for anything at, above or below {node} in {place}"),
    }
}
