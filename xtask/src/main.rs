//! `cargo xtask ci` does everything that CI does; `cargo xtask --help` lists the steps.

mod command;
mod python;
mod steps;
mod targets;
mod tidy;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use clap::{Parser, Subcommand};

use command::{Outcome, cargo, command, execute, root};

/// Checks and tests of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Step {
    /// Runs all steps below, in this order, and stops at the first that fails
    Ci,
    /// Checks the formatting
    Fmt,
    /// Checks line widths, lengths of files and functions, circles of imports, numbers of
    /// CONTRACT.md, links, dependencies, and duplicated facts; xtask/tidy.toml lists the exceptions
    Tidy {
        /// The repository to check, instead of this one
        #[arg(long, value_name = "FOLDER")]
        root: Option<PathBuf>,
    },
    /// Runs clippy, with warnings as errors
    Lint,
    /// Runs unit tests, integration tests and documentation examples
    Test,
    /// Runs the hand-offs in every interleaving, with the loom model checker
    Loom,
    /// Builds the documentation, with warnings as errors
    Doc,
    /// Checks that every dependency builds with the stated Rust version
    Msrv,
    /// Checks the crates for 32 bits, musl and macOS, and says what could not be checked, which is
    /// a failure if CI_STRICT_TARGETS is set (gets standard libraries from rustup or Debian)
    Targets,
    /// Checks licences, sources and duplicates of all dependencies (installs cargo-deny if it is
    /// missing)
    Deny,
    /// Runs the examples; `folders` must show no torn or lost folders under the lock; the examples
    /// on a cluster need `etcd` in the PATH
    Examples,
    /// Checks that the instructions per operation stay below their gates (needs valgrind)
    Gates,
    /// Packages the crates and builds the packages
    Package,
    /// Builds, installs and tests the Python package with each CPython on this machine
    Python,
    /// Tests the cluster's lock under more faults than `test` does; not part of `ci`
    Faults {
        /// Run for hours
        #[arg(long)]
        long: bool,
        /// Run only the rows whose name contains this
        #[arg(long)]
        only: Option<String>,
        /// The number of faults in each row, instead of the number in the table
        #[arg(long)]
        count: Option<u64>,
        /// The seed of an earlier run, to repeat its requests and faults
        #[arg(long)]
        seed: Option<u64>,
    },
}

impl Step {
    /// Returns the first word of the step's name in the code.
    fn name(&self) -> String {
        let whole = format!("{self:?}");
        whole.split(' ').next().unwrap_or_default().into()
    }
}

/// The steps that `ci` runs, cheap ones first.
const ALL: [Step; 13] = [
    Step::Fmt,
    Step::Tidy { root: None },
    Step::Lint,
    Step::Test,
    Step::Loom,
    Step::Doc,
    Step::Msrv,
    Step::Targets,
    Step::Deny,
    Step::Examples,
    Step::Gates,
    Step::Package,
    Step::Python,
];

fn main() -> ExitCode {
    let step = Arguments::parse().step;
    let steps = if step == Step::Ci { ALL.into() } else { vec![step] };
    let mut done = Vec::new();
    for step in steps {
        let start = Instant::now();
        eprintln!("\n── {}", step.name());
        if let Err(error) = run(&step) {
            eprintln!("\nxtask: {} failed: {error}", step.name());
            return ExitCode::FAILURE;
        }
        done.push((step, start.elapsed().as_secs()));
    }
    let lines = done.iter().map(|(step, seconds)| format!("{:<10}{seconds:>5} s", step.name()));
    eprintln!("\nAll is well:\n{}", lines.collect::<Vec<_>>().join("\n"));
    ExitCode::SUCCESS
}

fn run(step: &Step) -> Outcome {
    match step {
        Step::Ci => unreachable!("replaced by its steps"),
        Step::Fmt => cargo("fmt --all --check"),
        Step::Tidy { root: folder } => tidy::check(&folder.clone().unwrap_or_else(root)),
        Step::Lint => {
            // The core alone too, because other crates of the workspace enable its features.
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
            let flags = [("RUSTDOCFLAGS", "-D warnings")];
            command("cargo doc --workspace --no-deps --all-features", &flags)
        }
        Step::Msrv => steps::msrv(),
        Step::Targets => targets::check(),
        Step::Deny => steps::deny(),
        Step::Examples => {
            cargo("run -p treelock --example tour")?;
            cargo("run -p treelock-dir --example crash")?;
            cargo("run --release -p treelock-object-store --example folders -- --seconds 2")?;
            steps::engine_examples()
        }
        Step::Gates => cargo("run --release -p treelock-bench --bin ir -- --check"),
        Step::Package => steps::package(),
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
