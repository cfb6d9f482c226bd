//! Checks the crates for other kinds of machines. Where this machine's Rust has no standard library
//! for one and cannot get it, Debian's Rust and the sources of its standard library are used.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

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
            "armv7-unknown-linux-musleabihf",
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

/// Where Debian's Rust is unpacked.
const DEBIAN: &str = "target/tools/debian-rust";

/// Checks all targets that can be checked. The last line says which were and which were not.
pub(crate) fn check() -> Outcome {
    let all: Vec<&str> = GROUPS.iter().flat_map(|group| group.targets).copied().collect();
    add(&all);
    let (own, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|target| is_installed(target));
    let mut lines = run(&own, &Rust::Own)?;
    if !other.is_empty() {
        match debian() {
            Ok(rust) => lines.extend(run(&other, &rust)?),
            Err(why) if env::var_os(STRICT).is_some() => {
                return Err(format!("{} cannot be checked: {why}", other.join(", ")));
            }
            Err(why) => lines.push(format!("not checked: {}: {why}", other.join(", "))),
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

/// A Rust to check with.
enum Rust {
    /// This machine's, which has the standard libraries.
    Own,
    /// One that checks the sources of the standard library first.
    Debian { rustc: PathBuf, libraries: PathBuf },
}

/// Checks targets. Returns a line about each group of them.
fn run(targets: &[&str], rust: &Rust) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for group in &GROUPS {
        let chosen: Vec<&str> =
            group.targets.iter().copied().filter(|target| targets.contains(target)).collect();
        if chosen.is_empty() {
            continue;
        }
        let mut cargo = Command::new("cargo");
        cargo.args(["check", "--locked"]).args(group.checked.split(' '));
        cargo.args(chosen.iter().flat_map(|target| ["--target", target]));
        // The C code in dependencies is left out, since it needs a compiler for the target, and
        // nothing is linked.
        cargo.envs([("TARGET_CC", "true"), ("TARGET_AR", "true")]);
        cargo.env("CARGO_TARGET_DIR", root().join("target/targets"));
        let compiler = rust.configure(&mut cargo);
        execute(&mut cargo)?;
        lines.push(format!("checked with {compiler}: {}: {}", chosen.join(", "), group.checked));
    }
    Ok(lines)
}

impl Rust {
    /// Makes cargo use this Rust. Returns its name.
    fn configure(&self, cargo: &mut Command) -> &'static str {
        let Rust::Debian { rustc, libraries } = self else { return "this machine's Rust" };
        cargo.arg("-Zbuild-std=std,panic_abort");
        cargo.env("RUSTC_BOOTSTRAP", "1"); // allows -Z
        cargo.env("RUSTC", rustc).env("LD_LIBRARY_PATH", libraries);
        // The machine code of the standard library would not be used.
        cargo.env("RUSTFLAGS", "-Zno-codegen");
        cargo.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
        "Debian's Rust"
    }
}

/// Returns Debian's Rust, after fetching it if it is missing. Installs nothing.
fn debian() -> Result<Rust, String> {
    let folder = root().join(DEBIAN);
    if !folder.exists() {
        fetch(&folder)?;
    }
    let entries = fs::read_dir(folder.join("usr/lib")).map_err(|error| error.to_string())?;
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.path());
    let libraries = names.find(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    let libraries = libraries.ok_or(format!("{DEBIAN} has no libraries"))?;
    let rustc = folder.join("usr/bin/rustc");
    let version = Command::new(&rustc).arg("--version").env("LD_LIBRARY_PATH", &libraries).output();
    let version = version.map_err(|error| format!("{}: {error}", rustc.display()))?;
    let version = String::from_utf8_lossy(&version.stdout);
    let needed = env!("CARGO_PKG_RUST_VERSION");
    if minor(version.trim_start_matches("rustc ")) < minor(needed) {
        return Err(format!("{DEBIAN} has `{}`, and {needed} is needed", version.trim()));
    }
    Ok(Rust::Debian { rustc, libraries })
}

/// Returns the second number of a version.
fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

/// Downloads Debian's packages of a current Rust, which browsers are built with, and unpacks them.
fn fetch(folder: &Path) -> Outcome {
    // What an earlier run left half done is not used.
    let new = folder.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    let archives = new.join("archives");
    fs::create_dir_all(archives.join("partial")).map_err(|error| error.to_string())?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "--yes", "--download-only", "--no-install-recommends", "--option"]);
        apt.arg(format!("Dir::Cache::archives={}", archives.display()));
        execute(apt.args(["rustc-web", "rust-web-src"]))
    };
    // On a new machine, the list of packages is missing or old.
    download().or_else(|_| {
        execute(Command::new("apt-get").arg("update"))?;
        download()
    })?;
    for entry in fs::read_dir(&archives).map_err(|error| error.to_string())?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            execute(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&new))?;
        }
    }
    let _ = fs::remove_dir_all(&archives);
    fs::rename(&new, folder).map_err(|error| format!("{}: {error}", new.display()))
}
