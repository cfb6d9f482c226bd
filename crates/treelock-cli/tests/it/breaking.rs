//! `treelock break`.

use rustix::process::Signal;

use crate::{
    scene::{Running, Scene, is_alive, kill, state, until},
    schema,
};

#[test]
fn a_holder_is_ended() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    let done = scene.done(&["break", "1", "--force"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let text = done.stdout();
    assert!(text.starts_with("#1 held for "), "{text}");
    assert!(text.contains(&format!("s by \"it\" (pid {}): write /a\n", holder.id())), "{text}");
    let command = format!("  kept by pid {}: sh -c echo $$; read line; exit 0\n", holder.command);
    assert!(text.contains(&command), "{text}");
    assert!(
        text.ends_with(&format!("\nsent SIGTERM to {}; #1 is free now\n", holder.id())),
        "{text}"
    );
    assert_eq!(holder.code(), 128 + 15);
    assert!(!is_alive(holder.command));
}

/// What is stopped could not end, nor forward the signal.
#[test]
fn who_is_stopped_is_ended() {
    let scene = Scene::new();
    for both in [false, true] {
        let mut running = scene.run(&["-w", "a"], "trap 'exit 3' TERM; echo $$; read line");
        let command: u32 = running.line().parse().unwrap();
        running.signal(Signal::STOP);
        until("the wrapper is stopped", || state(running.id()) == 'T');
        if both {
            kill(command, Signal::STOP);
            until("the command is stopped", || state(command) == 'T');
        }
        let ticket = scene.live()[0]["ticket"].to_string();
        let done = scene.done(&["break", &ticket, "--force", "--grace", "1h", "--json"]);
        assert_eq!(done.code(), 0, "{}", done.stderr());
        let report = schema::check("break --json", &done.stdout());
        assert_eq!(report["terminated"], serde_json::json!([running.id()]));
        assert_eq!(report["killed"], serde_json::json!([]));
        assert_eq!(running.code(), 3);
    }
}

#[test]
fn one_who_ignores_it_is_killed() {
    let scene = Scene::new();
    let mut running = scene.run(&["-w", "a"], "trap '' TERM; echo $$; read line");
    let command: u32 = running.line().parse().unwrap();
    let done = scene.done(&["break", "#1", "--force", "--grace", "100ms", "--json"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let report = schema::check("break --json", &done.stdout());
    assert_eq!(report["free"], true);
    let killed = report["killed"].as_array().unwrap();
    assert!(killed.contains(&command.into()), "{report}");
    assert_eq!(report["terminated"], serde_json::json!([running.id()]), "it forwards to {command}");
    assert_eq!(report["refused"], serde_json::json!([]));
    until("it is gone", || !is_alive(command));
    assert_ne!(running.status().code(), Some(0));
}

#[test]
fn a_command_without_its_wrapper_is_found() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    holder.kill().unwrap();
    holder.status();
    let done = scene.done(&["break", "1", "--force"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let by = format!("(pid {}): write /a\n", holder.command);
    assert!(done.stdout().contains(&by), "{}", done.stdout());
    assert!(done.stdout().ends_with(&format!("SIGTERM to {}; #1 is free now\n", holder.command)));
}

#[test]
fn a_waiter_is_ended() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-r", "a"]);
    let mut waiter = scene.wait(&["-w", "a"]);
    assert_eq!(scene.done(&["break", "2", "--force"]).code(), 0);
    assert_eq!(waiter.code(), 128 + 15);
    assert_eq!(scene.counts(), (1, 0));
    assert_eq!(holder.finish(), 0);
}

#[test]
fn no_terminal_no_question() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let done = scene.done(&["break", "1"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr().contains("use --force"), "{}", done.stderr());
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_ticket_that_is_not_there() {
    let scene = Scene::new();
    let done = scene.done(&["break", "7", "--force"]);
    assert_eq!(done.code(), 66);
    let sentence = "treelock: no request has ticket #7; `treelock ls` shows all live requests\n";
    assert_eq!(done.stderr(), sentence);
}

#[test]
fn the_shell_that_it_runs_in_is_spared() {
    let scene = Scene::new();
    let script = |force: &str| {
        format!("{} break 1 {force} >out 2>&1; echo $? >code; read line", crate::scene::TREELOCK)
    };
    let mut running = scene.run(&["-w", "a"], &script(""));
    until("it refused", || std::fs::read(scene.path("code")).is_ok_and(|code| code == b"64\n"));
    let said = std::fs::read_to_string(scene.path("out")).unwrap();
    assert!(said.contains("this command runs under that ticket"), "{said}");
    running.close_input();
    assert_eq!(running.code(), 1, "of `read`, at the end of its input");

    let mut running = scene.run(&["-w", "a"], &script("--force").replace("break 1", "break 2"));
    assert_eq!(running.code(), 128 + Signal::TERM.as_raw());
    until("it is free", || scene.counts() == (0, 0));
}

/// The process that asked forwards it to its command, for which two might be one too many.
#[test]
fn a_command_gets_sigterm_once() {
    let scene = Scene::new();
    // The command ends at SIGUSR1, which is forwarded after whatever was forwarded before.
    let script = "trap 'echo TERM >> got' TERM; trap 'kill -KILL $!; exit 4' USR1; \
                  sleep 600 & echo $!; while :; do wait; done";
    let mut running = scene.run(&["-w", "a"], script);
    let below: u32 = running.line().parse().unwrap();
    let mut breaking = scene.treelock(["break", "1", "--force", "--grace", "1h", "--json"]);
    let mut breaking = Running::start(&mut breaking);
    until("it got it", || scene.path("got").exists());
    until("what it started got it", || !is_alive(below));
    running.signal(Signal::USR1);
    assert_eq!(running.code(), 4);
    assert_eq!(std::fs::read_to_string(scene.path("got")).unwrap(), "TERM\n");
    let report = schema::check("break --json", &breaking.line());
    assert_eq!(report["terminated"], serde_json::json!([running.id(), below]));
    assert_eq!(report["killed"], serde_json::json!([]));
}
