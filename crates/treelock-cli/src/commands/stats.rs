//! `treelock ls --stats`: listens for a while, and says how long requests waited and were held.

use std::{
    io::{self, IsTerminal as _},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Node, Wait as _};

use crate::{
    arguments::Ls,
    error::Failure,
    events::{Event, Events},
    exit, json,
    lock::Lock,
    output::{print, say},
    statistics::{self, Statistics},
};

/// Listens until the time is over or a signal arrives. Returns the exit code.
pub(crate) fn stats(lock: &Lock, node: &Node, arguments: &Ls) -> Result<u8, Failure> {
    let start = Instant::now();
    // A time too long to represent is as good as no limit.
    let until = arguments.listen_for.and_then(|limit| start.checked_add(limit));
    let inputs = Events::start().map_err(|error| Failure::new(exit::CANNOT_LOCK, error))?;
    if until.is_none() && io::stderr().is_terminal() {
        say("listening until Ctrl-C");
    }
    let is_wanted = |root: &Node| root.contains(node) || node.contains(root);
    let mut statistics = Statistics::default();
    let mut events = lock.any.events().wait()?;
    loop {
        while let Poll::Ready(event) = inputs.poll(Pin::new(&mut events.next())) {
            statistics.take(&event?, is_wanted);
        }
        match inputs.next(until) {
            None | Some(Event::Signal(_)) => break,
            Some(Event::Child | Event::Woken) => {}
        }
    }
    report(&statistics, start.elapsed(), arguments.json)?;
    Ok(0)
}

fn report(statistics: &Statistics, listened: Duration, json: bool) -> Result<(), Failure> {
    let report = statistics.report(listened);
    if json {
        return print(&json::line(&report));
    }
    if report.missed > 0 {
        say(&format!("{} requests came and left unseen, and are not counted", report.missed));
    }
    match report.nodes.is_empty() {
        true => say("nobody held or waited for anything"),
        false => print(&statistics::table(&report))?,
    }
    Ok(())
}
