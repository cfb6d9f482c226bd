//! A signal reaches the command once, whether it was sent to the wrapper, to their process group,
//! or to each process of their control group.

use std::{fs, os::unix::process::CommandExt as _, process::Command};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::scene::{Running, Scene, TREELOCK, can, children, kill, until};

const SIGNALS: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// A command that writes down each signal that it gets, and is the wrapper's child.
struct Counting {
    scene: Scene,
    running: Running,
    wrapper: u32,
    /// The signal at which it ends.
    last: Signal,
}

impl Counting {
    /// Starts one that counts this signal, in a process group of its own.
    fn start(name: &str, launcher: &[&str]) -> Counting {
        Counting::inside(name, launcher, &[])
    }

    /// Starts one that another program becomes.
    fn inside(name: &str, launcher: &[&str], inner: &[&str]) -> Counting {
        let scene = Scene::new();
        let (end, last) = match name {
            "USR1" => ("USR2", Signal::USR2),
            _ => ("USR1", Signal::USR1),
        };
        // A shell counts two that come together as one; perl counts each. It is wherever git is.
        let script = format!(
            "$SIG{{{name}}} = sub {{ open(my $got, '>>', 'got'); syswrite($got, \"{name}\\n\") }}; \
             $SIG{{{end}}} = sub {{ exit 4 }}; $| = 1; print \"up\\n\"; \
             select(undef, undef, undef, 0.05) while 1;"
        );
        let run = ["env", "--default-signal", TREELOCK, "run", "-w", "a", "--"];
        let command_line = [launcher, &run, inner, &["perl", "-e", &script]].concat();
        let mut command = Command::new(command_line[0]);
        command.args(&command_line[1..]).current_dir(scene.dir()).process_group(0);
        scene.environment(&mut command);
        let mut running = Running::start(&mut command);
        assert_eq!(running.line(), "up");
        let wrapper = scene.live()[0]["pid"].as_u64().unwrap() as u32;
        Counting { scene, running, wrapper, last }
    }

    /// Waits until the command got a signal, and ends it by another, which is forwarded after
    /// whatever was to be forwarded before.
    #[track_caller]
    fn got(mut self) -> String {
        let got = self.scene.path("got");
        until("it got one", || fs::read(&got).is_ok_and(|text| !text.is_empty()));
        kill(self.wrapper, self.last);
        assert_eq!(self.running.code(), 4);
        assert_eq!(self.scene.counts(), (0, 0));
        fs::read_to_string(got).unwrap()
    }
}

#[test]
fn to_the_wrapper_alone() {
    for (name, signal) in SIGNALS {
        let counting = Counting::start(name, &[]);
        kill(counting.wrapper, signal);
        assert_eq!(counting.got(), format!("{name}\n"));
    }
}

#[test]
fn to_the_process_group() {
    for (name, signal) in SIGNALS {
        let counting = Counting::start(name, &[]);
        kill_process_group(Pid::from_child(&counting.running), signal).unwrap();
        assert_eq!(counting.got(), format!("{name}\n"));
    }
}

/// As a service manager does: one after the other, the main process first.
#[test]
fn to_each_process_of_a_control_group() {
    for (name, signal) in SIGNALS {
        let counting = Counting::start(name, &[]);
        let all = [&[counting.wrapper][..], &children(counting.wrapper)].concat();
        all.into_iter().for_each(|pid| kill(pid, signal));
        assert_eq!(counting.got(), format!("{name}\n"));
    }
}

/// It signals its child, and then its group, in which the command is.
#[test]
fn from_timeout() {
    if !can(&["timeout", "--version"]) {
        return;
    }
    // Those that it passes on.
    for (name, signal) in &SIGNALS[..4] {
        let counting = Counting::start(name, &["timeout", "1h"]);
        counting.running.signal(*signal);
        let Counting { scene, mut running, wrapper, last } = counting;
        until("it got one", || fs::read(scene.path("got")).is_ok_and(|text| !text.is_empty()));
        kill(wrapper, last);
        running.status(); // timeout(1) has its own code for it
        assert_eq!(fs::read_to_string(scene.path("got")).unwrap(), format!("{name}\n"));
    }
}

#[test]
fn a_command_that_has_left_the_group_gets_it_too() {
    if !can(&["setsid", "true"]) {
        return;
    }
    for (name, signal) in SIGNALS {
        let counting = Counting::inside(name, &[], &["setsid"]);
        kill_process_group(Pid::from_child(&counting.running), signal).unwrap();
        assert_eq!(counting.got(), format!("{name}\n"));
    }
}

#[test]
fn the_next_one_is_counted_too() {
    let counting = Counting::start("TERM", &[]);
    let got = counting.scene.path("got");
    let group = Pid::from_child(&counting.running);
    let lines = || fs::read_to_string(&got).unwrap_or_default().lines().count();
    // To the group, to the wrapper, to the group: what came before does not make it wrong.
    kill_process_group(group, Signal::TERM).unwrap();
    until("it got the first", || lines() == 1);
    until("another process watches", || {
        let watching = children(counting.wrapper);
        watching.len() == 2 && watching.into_iter().all(|pid| !has_pending(pid))
    });
    kill(counting.wrapper, Signal::TERM);
    until("it got the second", || lines() == 2);
    kill_process_group(group, Signal::TERM).unwrap();
    until("it got the third", || lines() == 3);
    assert_eq!(counting.got(), "TERM\n".repeat(3));
}

/// Whether a signal waits until a process takes it.
fn has_pending(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap_or("0");
    u64::from_str_radix(pending.trim(), 16).unwrap() != 0
}

#[test]
fn nothing_is_left_of_the_witness() {
    // The wrapper ends.
    let counting = Counting::start("TERM", &[]);
    let all = children(counting.wrapper);
    kill(counting.wrapper, Signal::TERM);
    counting.got();
    until("all are gone", || all.iter().all(|pid| !crate::scene::is_alive(*pid)));
    // It is killed; the command lives on.
    let Counting { scene, mut running, wrapper, .. } = Counting::start("TERM", &[]);
    let all = children(wrapper);
    kill(wrapper, Signal::KILL);
    running.status();
    let keeper = || scene.live()[0]["pid"].as_u64().unwrap() as u32;
    until("only the command is left", || {
        let alive: Vec<_> = all.iter().filter(|pid| crate::scene::is_alive(**pid)).collect();
        alive == [&keeper()]
    });
    kill(keeper(), Signal::KILL);
}
