//! Sends signals to the command: those that were sent to this process alone, and the end of a
//! command whose lock is lost.

use std::{
    collections::BTreeMap,
    mem,
    process::Child,
    time::{Duration, Instant},
};

use nix::unistd;
use rustix::process::{Pid, Signal as Name, kill_process};
use signal_hook::low_level::signal_name;

use crate::{announcer::Announcer, events::Signal, witness::Witness};

/// How long to wait for further copies of a signal before deciding who gets it. Whoever signals
/// several processes does so one after another, and timeout(1) signals its child twice: alone, and
/// with its group.
const COPIES_TIMEOUT: Duration = Duration::from_millis(50);

/// Forwards signals to the command, each exactly once. The command has not been reaped yet, so no
/// other process can have its pid.
pub(crate) struct Forwarder<'a> {
    command: Pid,
    /// `None` if none could be started.
    witness: Option<Witness>,
    undecided: BTreeMap<i32, Undecided>,
    has_complained: bool,
    announcer: &'a Announcer,
}

/// A signal that has arrived, and may arrive again.
struct Undecided {
    signal: Signal,
    until: Instant,
    /// Others of the group got it too.
    is_for_all: bool,
}

impl Forwarder<'_> {
    /// Returns the forwarder for a command that was just started. The witness must be older.
    pub(crate) fn new<'a>(
        command: &Child,
        witness: Option<Witness>,
        announcer: &'a Announcer,
    ) -> Forwarder<'a> {
        Forwarder {
            command: Pid::from_child(command),
            witness,
            undecided: BTreeMap::new(),
            has_complained: false,
            announcer,
        }
    }

    /// Forwards signals that the command missed, because it was not the command yet. The witness
    /// may have got them.
    pub(crate) fn forward_taken(&mut self, signals: &[Signal]) {
        signals.iter().for_each(|signal| self.forward(signal.number));
        if !signals.is_empty() {
            self.witness = Witness::start();
        }
    }

    /// Takes a signal that has arrived.
    pub(crate) fn receive(&mut self, signal: Signal) {
        let until = Instant::now() + COPIES_TIMEOUT;
        let new = Undecided { signal, until, is_for_all: false };
        self.undecided.entry(signal.number).or_insert(new);
    }

    /// Returns when to [decide](Forwarder::decide) next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.undecided.values().map(|undecided| undecided.until).min()
    }

    /// Forwards the signals that came to this process alone.
    pub(crate) fn decide(&mut self) {
        let now = Instant::now();
        if self.next().is_none_or(|next| next > now) {
            return;
        }
        if self.look() {
            // What is pending stays pending, so the next of its kind needs another witness. The
            // old one is asked again when the new one can see.
            let next = Witness::start();
            self.look();
            self.witness = next;
        }
        let (due, later) = mem::take(&mut self.undecided)
            .into_iter()
            .partition(|(_, undecided)| undecided.until <= now);
        self.undecided = later;
        let due: BTreeMap<i32, Undecided> = due;
        let is_in_group = self.is_command_in_group();
        for (number, undecided) in due {
            if !(undecided.is_for_all && is_in_group) {
                self.forward(number);
            }
        }
    }

    /// Returns whether what is sent to the group of this process reaches the command. One that has
    /// left the group, as by setsid(1), gets it from here.
    fn is_command_in_group(&self) -> bool {
        let command = unistd::Pid::from_raw(self.command.as_raw_nonzero().get());
        unistd::getpgid(Some(command)).is_ok_and(|group| group == unistd::getpgrp())
    }

    /// Finds out which of the undecided signals others got too. Returns whether there are any.
    fn look(&mut self) -> bool {
        let saw = self.witness.as_ref().and_then(Witness::saw);
        let mut found = false;
        for (number, undecided) in &mut self.undecided {
            match &saw {
                Some(saw) if saw(*number) => (undecided.is_for_all, found) = (true, true),
                Some(_) => {}
                None => undecided.is_for_all = undecided.signal.from_terminal,
            }
        }
        found
    }

    pub(crate) fn forward(&mut self, number: i32) {
        if let Some(signal) = Name::from_named_raw(number) {
            self.send(signal);
        }
    }

    pub(crate) fn say(&self, sentence: &str) {
        self.announcer.say(sentence);
    }

    /// Sends a signal, and returns whether it was sent. If it cannot be sent, says so once: a
    /// command that became another user, as under sudo(8), gets no signal from here.
    pub(crate) fn send(&mut self, signal: Name) -> bool {
        let sent = kill_process(self.command, signal);
        if let Err(error) = sent
            && !mem::replace(&mut self.has_complained, true)
        {
            let (pid, name) = (self.command.as_raw_nonzero(), signal_name(signal.as_raw()));
            let name = name.unwrap_or("a signal");
            self.announcer.say(&format!("cannot send {name} to the command (pid {pid}): {error}"));
        }
        sent.is_ok()
    }
}
