//! Checks the crates for other kinds of machines, with the standard libraries that rustup has.

use std::{env, path::Path, process::Command};

use crate::command::{Outcome, execute, root};

/// Targets, and the arguments that name what is checked for them.
struct Group {
    targets: &'static [&'static str],
    checked: &'static str,
}

/// Each C library and each width of a pointer. The lock of one host is for Linux only.
const GROUPS: [Group; 2] = [
    Group {
        targets: &[
            "i686-unknown-linux-gnu",
            "x86_64-unknown-linux-musl",
            "i686-unknown-linux-musl",
        ],
        checked: "-p treelock -p treelock-dir -p treelock-any -p treelock-cli",
    },
    Group {
        targets: &["aarch64-apple-darwin"],
        checked: "-p treelock -p treelock-any --no-default-features",
    },
];

/// If this is set in the environment, a target that cannot be checked is a failure.
const STRICT: &str = "CI_STRICT_TARGETS";

/// Checks all targets that can be checked. The last lines say which were and which were not.
pub(crate) fn check() -> Outcome {
    let mut lines = Vec::new();
    for Group { targets, checked } in &GROUPS {
        add(targets);
        let (there, missing): (Vec<&str>, Vec<&str>) =
            targets.iter().partition(|target| is_installed(target));
        if !missing.is_empty() {
            let missing = format!("not checked: {}: rustup cannot add it", missing.join(", "));
            if env::var_os(STRICT).is_some() {
                return Err(missing);
            }
            lines.push(missing);
        }
        if !there.is_empty() {
            run(&there, checked)?;
            lines.push(format!("checked: {}: {checked}", there.join(", ")));
        }
    }
    lines.iter().for_each(|line| eprintln!("{line}"));
    Ok(())
}

/// Asks rustup for the standard libraries that are missing. Without a network, or where a mirror
/// lacks them, they stay missing; so each is asked for on its own.
fn add(targets: &[&str]) {
    for target in targets.iter().filter(|target| !is_installed(target)) {
        let added = execute(Command::new("rustup").args(["target", "add", target]));
        added.unwrap_or_else(|error| eprintln!("{error}"));
    }
}

/// Returns whether this machine's Rust has a standard library for a target.
fn is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "target-libdir", "--target", target]).output();
    let folder = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    folder.is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Checks the crates that `checked` names for some targets.
fn run(targets: &[&str], checked: &str) -> Outcome {
    let mut cargo = Command::new("cargo");
    cargo.args(["check", "--locked"]).args(checked.split(' '));
    cargo.args(targets.iter().flat_map(|target| ["--target", target]));
    // The C code in dependencies is left out, since it needs a compiler for the target, and nothing
    // is linked.
    cargo.envs([("TARGET_CC", "true"), ("TARGET_AR", "true")]);
    execute(cargo.env("CARGO_TARGET_DIR", root().join("target/targets")))
}
