//! The view of `ls --watch` on a terminal. The terminal, the clock and the lock are here; what keys
//! and events change is in `state.rs`, and how that looks in `draw.rs`.

mod cut;
mod draw;
mod requests;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io, mem, panic, process,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{self, KeyEvent, KeyEventKind};
use nix::sys::signal::{Signal as Name, raise};
use ratatui::DefaultTerminal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};
use treelock::{Node, Wait as _};

use self::{
    draw::{Palette, draw},
    state::{Effect, View},
};
use crate::{
    breaking::{Proposal, propose},
    error::Failure,
    exit,
    lock::Lock,
};

/// How often the view is drawn if nothing happens, because ages grow.
const TICK: Duration = Duration::from_secs(1);
/// How long events are gathered before they are drawn.
const FRAME: Duration = Duration::from_millis(40);
/// How late a frame may be while more and more comes.
const FRAME_MAX: Duration = Duration::from_millis(200);
/// How much may wait to be taken in. Beyond that the lock's events wait where they come from.
const INPUTS_QUEUED_MAX: usize = 4_096;
/// How long a broken request may take to end before it is killed, as with `break`.
const GRACE: Duration = Duration::from_secs(10);

/// What the view waits for.
enum Input {
    Key(KeyEvent),
    /// The window has another size.
    Resized,
    /// The terminal is gone.
    Gone,
    Signal(i32),
    Event(Result<treelock::engine::Event, treelock_any::Error>),
    Proposed(u64, Result<Proposal, Failure>),
    Broken(Result<String, Failure>),
}

/// Shows the requests until the user leaves. Returns the exit code.
pub(crate) fn show(lock: &Lock, node: &Node) -> Result<u8, Failure> {
    // What cannot be read at all is better said without a view.
    lock.any.snapshot().wait()?;
    let (tell, inputs) = mpsc::sync_channel(INPUTS_QUEUED_MAX);
    start_threads(lock, &tell).map_err(|error| Failure::new(exit::CANNOT_LOCK, error))?;
    let is_coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let mut app = App {
        lock: lock.clone(),
        view: View::new(lock.any.to_string(), node.clone()),
        palette: Palette::new(is_coloured),
        proposal: None,
        heard: Vec::new(),
        tell,
    };
    end_with_any_panic();
    // It also restores the terminal before a panic is printed.
    let mut terminal = ratatui::try_init().map_err(|error| Failure::output(&error))?;
    let end = app.run(&mut terminal, &inputs);
    drop(terminal);
    // A terminal that is gone needs no restoring.
    let restored = ratatui::try_restore();
    match end.map_err(|error| Failure::output(&error))? {
        End::Left => restored.map(|()| 0).map_err(|error| Failure::output(&error)),
        End::Signal(number) => Ok(exit::end_by_signal(number)),
    }
}

/// Makes a panic of any thread end the process, as one of the main thread does. Otherwise the
/// others would go on drawing on a terminal that is restored.
fn end_with_any_panic() {
    const PANICKED: i32 = 101;
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        process::exit(PANICKED);
    }));
}

/// Starts the threads that wait for keys, signals and events.
fn start_threads(lock: &Lock, tell: &SyncSender<Input>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let told = tell.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in &mut signals {
            let _ = told.send(Input::Signal(number));
        }
    })?;
    let told = tell.clone();
    thread::Builder::new().name("keys".into()).spawn(move || {
        loop {
            let input = match event::read() {
                Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
                Ok(event::Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(_) => Input::Gone,
            };
            let is_over = matches!(input, Input::Gone);
            if told.send(input).is_err() || is_over {
                return;
            }
        }
    })?;
    let (told, lock) = (tell.clone(), lock.any.clone());
    thread::Builder::new().name("events".into()).spawn(move || {
        let mut events = match lock.events().wait() {
            Ok(events) => events,
            Err(error) => return drop(told.send(Input::Event(Err(error)))),
        };
        while told.send(Input::Event(events.next().wait())).is_ok() {}
    })?;
    Ok(())
}

/// How the view ended.
enum End {
    Left,
    Signal(i32),
}

struct App {
    lock: Lock,
    view: View,
    palette: Palette,
    /// What the user is asked about.
    proposal: Option<Proposal>,
    /// Events that are not taken in yet.
    heard: Vec<treelock::engine::Event>,
    tell: SyncSender<Input>,
}

impl App {
    fn run(&mut self, terminal: &mut DefaultTerminal, inputs: &Receiver<Input>) -> io::Result<End> {
        loop {
            let now = Instant::now();
            self.view.take(mem::take(&mut self.heard), now);
            terminal.draw(|frame| draw(&mut self.view, self.palette, frame, now))?;
            let mut until = now + TICK;
            loop {
                let input = match inputs.recv_timeout(until - Instant::now().min(until)) {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(End::Left),
                };
                let now = Instant::now();
                until = until.min(match input {
                    Input::Event(_) => now + FRAME,
                    _ => now,
                });
                if let Some(end) = self.take(input, terminal)? {
                    return Ok(end);
                }
                if now > until + FRAME_MAX {
                    break;
                }
            }
        }
    }

    fn take(&mut self, input: Input, terminal: &mut DefaultTerminal) -> io::Result<Option<End>> {
        match input {
            Input::Key(key) => {
                // Keys are about what was heard before.
                self.view.take(mem::take(&mut self.heard), Instant::now());
                let effect = self.view.key(key);
                return self.carry_out(effect, terminal);
            }
            Input::Resized => {}
            Input::Gone => return Ok(Some(End::Signal(SIGHUP))),
            Input::Signal(number) => return Ok(Some(End::Signal(number))),
            Input::Event(Ok(event)) => self.heard.push(event),
            Input::Event(Err(error)) => self.view.fail(error.to_string(), Instant::now()),
            Input::Proposed(ticket, Ok(proposal)) => {
                self.view.ask(ticket, &proposal.description(), proposal.question());
                self.proposal = Some(proposal);
            }
            Input::Proposed(_, Err(failure)) | Input::Broken(Err(failure)) => {
                self.view.broken(failure.message);
            }
            Input::Broken(Ok(sentence)) => self.view.broken(sentence),
        }
        Ok(None)
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        terminal: &mut DefaultTerminal,
    ) -> io::Result<Option<End>> {
        match effect {
            Effect::Nothing => {}
            Effect::Leave => return Ok(Some(End::Left)),
            Effect::Interrupt => return Ok(Some(End::Signal(SIGINT))),
            Effect::Redraw => redraw(terminal)?,
            Effect::Suspend => {
                ratatui::try_restore()?;
                raise(Name::SIGTSTP)?;
                *terminal = ratatui::try_init()?;
            }
            Effect::Propose(ticket) => self.start(move |lock| {
                let proposal = propose(lock, ticket).and_then(|proposal| {
                    proposal.is_possible(lock)?;
                    proposal.spare_own()?;
                    Ok(proposal)
                });
                Input::Proposed(ticket, proposal)
            }),
            Effect::Break(_) => {
                if let Some(proposal) = self.proposal.take() {
                    self.start(|lock| {
                        let broken = proposal.carry_out(lock, GRACE);
                        Input::Broken(broken.map(|broken| broken.sentence))
                    });
                }
            }
        }
        Ok(None)
    }

    /// Does something that takes a while.
    fn start(&mut self, work: impl FnOnce(&Lock) -> Input + Send + 'static) {
        let (lock, tell) = (self.lock.clone(), self.tell.clone());
        let work = move || drop(tell.send(work(&lock)));
        if let Err(error) = thread::Builder::new().name("breaking".into()).spawn(work) {
            self.view.broken(format!("cannot start a thread: {error}"));
        }
    }
}

/// Draws every cell with the next frame. `Terminal::clear` would ask the terminal for its cursor,
/// and get no answer, since the thread that reads keys gets that.
fn redraw(terminal: &mut DefaultTerminal) -> io::Result<()> {
    let area = terminal.size()?.into();
    terminal.resize(area)
}
