//! `cargo xtask ci` does everything that CI does; `cargo xtask --help` lists the steps.

mod links;
mod python;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::{Parser, Subcommand};

/// Checks and tests of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Step {
    /// All steps below, in this order; stops at the first that fails
    Ci,
    /// Formatting
    Fmt,
    /// Clippy, with warnings as errors
    Lint,
    /// Unit tests, integration tests and documentation examples
    Test,
    /// The hand-offs under every interleaving, by the loom model checker
    Loom,
    /// Documentation, with warnings as errors; the links of all Markdown files
    Doc,
    /// Every dependency of the published crates builds with the stated Rust version
    Msrv,
    /// Licences, sources and duplicates of all dependencies (installs cargo-deny if it is missing)
    Deny,
    /// The examples run; `folders` shows no torn and no lost folder under the lock; those on a
    /// cluster need `etcd` in the PATH
    Examples,
    /// Instructions per operation stay under their gates (needs valgrind)
    Gates,
    /// The crates can be packaged, and the packages build
    Package,
    /// The Python package: built, installed and tested with each CPython of this machine
    Python,
    /// The faults that the cluster's lock survives, more of them than the tests do; no part of `ci`
    Faults {
        /// As much as a person has the patience for, hours of it
        #[arg(long)]
        long: bool,
        /// Only the rows whose name contains this
        #[arg(long)]
        only: Option<String>,
        /// So many faults of each row, whatever the table says
        #[arg(long)]
        count: Option<u64>,
        /// That of an earlier run, for the same requests and faults
        #[arg(long)]
        seed: Option<u64>,
    },
}

const ALL: [Step; 11] = [
    Step::Fmt,
    Step::Lint,
    Step::Test,
    Step::Loom,
    Step::Doc,
    Step::Msrv,
    Step::Deny,
    Step::Examples,
    Step::Gates,
    Step::Package,
    Step::Python,
];

/// The crates that are published.
const PUBLISHED: [&str; 5] =
    ["treelock", "treelock-object-store", "treelock-dir", "treelock-etcd", "treelock-cli"];

/// The version that the configuration in deny.toml is written for.
const CARGO_DENY: &str = "0.20.2";

/// What went wrong, in words.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let step = Arguments::parse().step;
    let steps = if step == Step::Ci { ALL.into() } else { vec![step] };
    let mut done = Vec::new();
    for step in steps {
        let start = Instant::now();
        eprintln!("\n── {step:?}");
        if let Err(error) = run(&step) {
            eprintln!("\nxtask: {step:?} failed: {error}");
            return ExitCode::FAILURE;
        }
        done.push((step, start.elapsed().as_secs()));
    }
    let lines =
        done.iter().map(|(step, seconds)| format!("{:<10}{seconds:>5} s", format!("{step:?}")));
    eprintln!("\nAll is well:\n{}", lines.collect::<Vec<_>>().join("\n"));
    ExitCode::SUCCESS
}

fn run(step: &Step) -> Outcome {
    match step {
        Step::Ci => unreachable!("replaced by its steps"),
        Step::Fmt => cargo("fmt --all --check"),
        Step::Lint => {
            // The core alone too: other crates of the workspace switch its features on.
            cargo("clippy --workspace --all-targets --all-features -- -D warnings")?;
            cargo("clippy -p treelock --all-targets -- -D warnings")?;
            cargo("clippy -p treelock-cli --all-targets -- -D warnings")
        }
        Step::Test => {
            cargo("test --workspace --all-features")?;
            cargo("test -p treelock")
        }
        Step::Loom => {
            let flags = [("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom")];
            command("cargo test --release -p treelock --test loom", &flags)
        }
        Step::Doc => {
            links::check()?;
            let flags = [("RUSTDOCFLAGS", "-D warnings")];
            command("cargo doc --workspace --no-deps --all-features", &flags)
        }
        Step::Msrv => msrv(),
        Step::Deny => deny(),
        Step::Examples => {
            cargo("run -p treelock --example tour")?;
            cargo("run -p treelock-dir --example crash")?;
            cargo("run --release -p treelock-object-store --example folders -- --seconds 2")?;
            cluster_examples()
        }
        Step::Gates => cargo("run --release -p treelock-bench --bin ir -- --check"),
        Step::Package => package(),
        Step::Python => python::test(),
        Step::Faults { long, only, count, seed } => {
            let number =
                |name: &str, value: &Option<u64>| value.map(|value| format!("--{name}={value}"));
            let arguments = [
                long.then(|| "--long".into()),
                only.as_ref().map(|only| format!("--only={only}")),
                number("count", count),
                number("seed", seed),
            ];
            let mut test = Command::new("cargo");
            test.args(["test", "-p", "treelock-etcd", "--test", "faults", "--"]);
            execute(test.args(arguments.into_iter().flatten()))?;
            // The model check is a row of the table too.
            match *long && only.is_none() {
                true => cargo("test -p treelock-etcd --test model large -- --ignored --nocapture"),
                false => Ok(()),
            }
        }
    }
}

/// The examples on a cluster, as the step `Test` has built them, so that nothing is built twice.
fn cluster_examples() -> Outcome {
    let is_there = Command::new("etcd").arg("--version").output().is_ok();
    if !is_there {
        eprintln!(
            "SKIPPED: there is no `etcd` in the PATH; on Debian: apt-get install etcd-server"
        );
        return Ok(());
    }
    cargo("build --workspace --all-features --profile test --examples")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    for (name, arguments) in [
        ("two_processes", &["--seconds", "2", "--start-etcd"][..]),
        ("two_processes", &["--seconds", "2", "--without-lock"]),
        ("fenced_row", &["--start-etcd"]),
        ("fenced_object", &["--start-etcd"]),
    ] {
        execute(Command::new(target.join("debug/examples").join(name)).args(arguments))?;
    }
    Ok(())
}

fn cargo(arguments: &str) -> Outcome {
    command(&format!("cargo {arguments}"), &[])
}

/// Run a command line in the root of the repository. Its words are split at spaces.
fn command(line: &str, environment: &[(&str, &str)]) -> Outcome {
    let mut words = line.split(' ');
    let program = words.next().expect("a command line has a program");
    execute(Command::new(program).args(words).envs(environment.iter().copied()))
}

/// Run a command, in the root of the repository unless it names another folder.
fn execute(command: &mut Command) -> Outcome {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("$ {line}");
    let status =
        command.status().map_err(|error| format!("`{line}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the root").to_path_buf()
}

/// Cargo unpacks each crate that another one needs into its home, and takes what was unpacked before for a
/// crate of the same version from a folder of the same name. So the folder has another name each time.
fn package() -> Outcome {
    let crates: Vec<String> = PUBLISHED.iter().map(|name| format!("-p {name}")).collect();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let target = root().join(format!("target/package-{}", since_1970.as_nanos()));
    let line = format!("cargo package --allow-dirty {}", crates.join(" "));
    let packaged = command(&line, &[("CARGO_TARGET_DIR", &target.to_string_lossy())]);
    // Nothing of it is used again, and a folder that stays is in nobody's way.
    let _ = std::fs::remove_dir_all(target);
    packaged
}

/// The code is held to the stated version by clippy's `incompatible_msrv`; this holds the dependencies
/// to it, so that a user with that version gets a build.
fn msrv() -> Outcome {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("`cargo metadata` cannot be started: {error}"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let version = |package: &serde_json::Value| -> Option<Vec<u32>> {
        let text = package["rust_version"].as_str()?;
        text.split('.').map(|part| part.parse().ok()).collect()
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

/// The advisories are left to a scheduled run with network: `cargo deny check advisories`.
fn deny() -> Outcome {
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
