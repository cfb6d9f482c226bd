//! `treelock ls`: shows the live requests.

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use treelock::{Node, Snapshot};

use crate::{
    arguments::Ls,
    error::Failure,
    json::{self, Listing},
    keeper,
    lock::Lock,
    nodes,
    output::{print, say},
    screen::{self, CUT_OFF, WRAP},
    tree,
};

/// How often `--watch` reads the table.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the live requests. Returns the exit code.
pub(crate) fn ls(lock: &Lock, arguments: &Ls) -> Result<u8, Failure> {
    let node = nodes::node(arguments.naming.naming(), &arguments.node)?;
    match (arguments.watch, arguments.json) {
        (true, json) => watch(lock, &node, json),
        (false, true) => print(&json::line(&listing(&keeper::snapshot(lock)?, &node))),
        (false, false) => {
            let tree = tree::draw(&keeper::snapshot(lock)?, &node);
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

/// Shows the requests repeatedly. Returns only if it fails.
fn watch(lock: &Lock, node: &Node, json: bool) -> Result<(), Failure> {
    let on_screen = !json && io::stdout().is_terminal() && !screen::is_dumb();
    let mut shown = None;
    loop {
        let snapshot = keeper::snapshot(lock)?;
        let listing = listing(&snapshot, node);
        let is_new = shown.replace(timeless(&listing)) != Some(timeless(&listing));
        if json && is_new {
            print(&json::line(&listing))?;
        } else if on_screen || !json && is_new {
            let mut tree = tree::draw(&snapshot, node);
            if tree.is_empty() {
                tree = nothing(lock, node);
            }
            if on_screen { redraw(&tree) } else { print(&tree) }?;
        }
        thread::sleep(WATCH_INTERVAL);
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

/// Draws text over the previous text, as much as fits the screen: a wrapped line would move all
/// others up. Lines are cleared as they are written, because clearing all of them first would
/// flicker.
fn redraw(text: &str) -> Result<(), Failure> {
    const TOP_LEFT: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_REST: &str = "\x1b[J";
    // Colours may be turned off, but moving the cursor is always needed.
    let mut out = io::stdout().lock();
    let stripped = anstream::adapter::strip_str(text).to_string();
    let is_plain = anstream::AutoStream::choice(&out) == anstream::ColorChoice::Never;
    let text = if is_plain { &stripped } else { text };
    let rows = terminal_size::terminal_size().map_or(24, |(_, rows)| usize::from(rows.0));
    let lines = text.lines().take(rows.saturating_sub(1));
    let screen: String = lines.map(|line| format!("{line}{CLEAR_LINE}\n")).collect();
    let drawn =
        write!(out, "{TOP_LEFT}{CUT_OFF}{screen}{CLEAR_REST}{WRAP}").and_then(|()| out.flush());
    drawn.map_err(|error| Failure::output(&error))
}
