//! Implements the steps that are more than one command.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::command::{Outcome, cargo, command, execute, root};

/// The version that the configuration in deny.toml is written for.
const CARGO_DENY: &str = "0.20.2";

/// Runs the examples of the engines. They are built as in the step `Test`, so that nothing is built
/// twice. Runs those on a cluster only if there is an etcd.
pub(crate) fn engine_examples() -> Outcome {
    cargo("build --workspace --all-features --profile test --examples")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let run = |name: &str, arguments: &[&str]| {
        execute(Command::new(target.join("debug/examples").join(name)).args(arguments))
    };
    let locks = format!("dir:{}", target.join("example-locks").display());
    for (name, arguments) in
        [("list_lock", &[][..]), ("any", &["memory:"]), ("any", &[&locks]), ("generic", &[])]
    {
        run(name, arguments)?;
    }
    let is_there = Command::new("etcd").arg("--version").output().is_ok();
    if !is_there {
        eprintln!(
            "SKIPPED: there is no `etcd` in the PATH; on Debian: apt-get install etcd-server"
        );
        return Ok(());
    }
    for (name, arguments) in [
        ("two_processes", &["--seconds", "2", "--start-etcd"][..]),
        ("two_processes", &["--seconds", "2", "--without-lock"]),
        ("fenced_row", &["--start-etcd"]),
        ("fenced_object", &["--start-etcd"]),
    ] {
        run(name, arguments)?;
    }
    Ok(())
}

/// Builds the packages of all crates that are published.
///
/// Cargo unpacks each crate that another one needs into its home, and takes what was unpacked
/// before for a crate of the same version from a folder of the same name. So the folder has another
/// name each time.
pub(crate) fn package() -> Outcome {
    let names: Vec<String> = packages()?.iter().filter_map(published).collect();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let target = root().join(format!("target/package-{}", since_1970.as_nanos()));
    let line = format!("cargo package --allow-dirty -p {}", names.join(" -p "));
    let packaged = command(&line, &[("CARGO_TARGET_DIR", &target.to_string_lossy())]);
    // Nothing in it is used again, and a folder that stays does no harm.
    let _ = std::fs::remove_dir_all(target);
    packaged
}

/// Returns the name of a crate of this repository, if its manifest does not forbid publishing it.
fn published(package: &Value) -> Option<String> {
    let is_ours = package["source"].is_null();
    let is_forbidden = package["publish"].as_array().is_some_and(Vec::is_empty);
    let name = package["name"].as_str()?;
    (is_ours && !is_forbidden).then(|| name.into())
}

/// Returns all packages of the workspace and their dependencies, as `cargo metadata` prints them.
fn packages() -> Result<Vec<Value>, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("`cargo metadata` cannot be started: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    metadata["packages"].as_array().cloned().ok_or("cargo metadata lists no packages".into())
}

/// Checks that no dependency needs a newer Rust than we state, so that the crates build with that
/// version. Clippy's `incompatible_msrv` checks our own code.
pub(crate) fn msrv() -> Outcome {
    let packages = packages()?;
    let version = |package: &Value| -> Option<Vec<u32>> {
        let text = package["rust_version"].as_str()?;
        let mut numbers: Vec<u32> =
            text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        // 1.88 means 1.88.0.
        numbers.resize(3, 0);
        Some(numbers)
    };
    let own = packages.iter().find(|package| package["name"] == "treelock").and_then(version);
    let own = own.ok_or("treelock states no rust-version")?;
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| version(package).is_some_and(|needs| needs > own))
        .map(|package| format!("{} {}", package["name"], package["version"]))
        .collect();
    if !newer.is_empty() {
        return Err(format!("these need a newer Rust than {own:?}: {}", newer.join(", ")));
    }
    eprintln!("all {} packages accept Rust {own:?}", packages.len());
    Ok(())
}

/// Runs cargo-deny, and installs it if it is missing. Advisories are left to a scheduled run with
/// network access: `cargo deny check advisories`.
pub(crate) fn deny() -> Outcome {
    let installed = |program: &Path| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let own = root().join("target/tools/bin/cargo-deny");
    let program =
        if installed(Path::new("cargo-deny")) { PathBuf::from("cargo-deny") } else { own };
    if !installed(&program) {
        // It is built once and runs for seconds, so it need not be fast.
        let line = format!(
            "install cargo-deny --debug --locked --version {CARGO_DENY} --root target/tools"
        );
        cargo(&line)?;
    }
    command(&format!("{} check bans licenses sources", program.display()), &[])
}
