//! Builds and installs the Python package as users do, and tests it on every supported CPython of
//! the machine.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::command::{Outcome, execute, root};

const PACKAGE: &str = "crates/treelock-python";

/// The oldest version that the package supports; the same as in pyproject.toml.
const OLDEST: (u32, u32) = (3, 10);

/// The package that ours replaces, to demonstrate its failures. It must not be installed in the
/// same place as ours.
const SEED: [&str; 2] = ["treelock==0.0.17", "fifolock==0.0.20"];

/// Builds an sdist, and from it a wheel. Installs the folder itself in the first interpreter's
/// environment and the wheel in all others. Runs the tests in each.
pub(crate) fn test() -> Outcome {
    let interpreters = interpreters();
    if interpreters.is_empty() {
        let (major, minor) = OLDEST;
        return Err(format!("no CPython from {major}.{minor} on is here: install python3"));
    }
    let home = root().join("target/python");
    let _ = fs::remove_dir_all(home.join("dist"));
    let mut wheel = None;
    for ((major, minor), interpreter) in interpreters {
        eprintln!("\n── Python {major}.{minor}");
        let python = environment(&home.join(format!("{major}.{minor}")), &interpreter)?;
        let requirements = format!("{PACKAGE}/tests/requirements.txt");
        pip(&python, &["install", "--requirement", &requirements])?;
        let seed = seed(&home.join("seed"), &python)?;
        let from = wheel.clone().unwrap_or_else(|| root().join(PACKAGE));
        pip(&python, &["uninstall", "--yes", "treelock-rs"])?;
        pip(&python, &["install", "--no-cache-dir", &from.to_string_lossy()])?;
        run_tests(&python, &seed)?;
        if wheel.is_none() {
            wheel = Some(distribute(&home, &python)?);
        }
    }
    Ok(())
}

/// Returns the interpreters by version: those in the PATH, and those of pyenv.
fn interpreters() -> BTreeMap<(u32, u32), PathBuf> {
    let mut candidates: Vec<PathBuf> =
        (OLDEST.1..=30).map(|minor| PathBuf::from(format!("python3.{minor}"))).collect();
    candidates.push("python3".into());
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or(home);
    let versions = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    let entries = versions.into_iter().flatten().filter_map(Result::ok);
    candidates.extend(entries.map(|entry| entry.path().join("bin/python3")));
    candidates.into_iter().filter_map(|python| Some((version(&python)?, python))).collect()
}

/// Returns the version of an interpreter, if it is a CPython that the package supports.
fn version(python: &Path) -> Option<(u32, u32)> {
    let script =
        "import ensurepip, sys, venv; print(sys.implementation.name, *sys.version_info[:2])";
    let output = Command::new(python).args(["-c", script]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    let is_cpython = words.next()? == "cpython";
    let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (is_cpython && version >= OLDEST).then_some(version)
}

/// Creates a virtual environment, unless it exists. Returns its interpreter.
fn environment(place: &Path, interpreter: &Path) -> Result<PathBuf, String> {
    let python = place.join("bin/python");
    if version(&python).is_none() {
        let mut make = Command::new(interpreter);
        execute(make.args(["-m", "venv", "--clear"]).arg(place))?;
    }
    Ok(python)
}

fn pip(python: &Path, arguments: &[&str]) -> Outcome {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments);
    // Builds that start in a separate folder find what was compiled before.
    execute(pip.env("CARGO_TARGET_DIR", root().join("target/python/cargo")))
}

/// Downloads the package that this one replaces. Returns its folder.
fn seed(place: &Path, python: &Path) -> Result<PathBuf, String> {
    if !place.join("treelock.py").exists() {
        let target = place.to_string_lossy();
        pip(python, &[&["install", "--no-deps", "--target", &*target], &SEED[..]].concat())?;
    }
    Ok(place.to_path_buf())
}

/// Builds an sdist, and a wheel from it. Returns the wheel.
fn distribute(home: &Path, python: &Path) -> Result<PathBuf, String> {
    let dist = home.join("dist");
    let out = dist.to_string_lossy();
    pip(python, &["install", "maturin>=1.9.4,<2"])?;
    let mut maturin = Command::new(python);
    maturin.args(["-m", "maturin", "sdist", "--manifest-path"]);
    execute(maturin.arg(format!("{PACKAGE}/Cargo.toml")).args(["--out", &out]))?;
    let sdist = only_file(&dist, "gz")?;
    let sdist = sdist.to_string_lossy();
    pip(python, &["wheel", "--no-cache-dir", "--no-deps", "--wheel-dir", &out, &sdist])?;
    only_file(&dist, "whl")
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let found = paths.find(|path| path.extension().is_some_and(|found| found == extension));
    found.ok_or_else(|| format!("nothing with the ending .{extension} in {}", folder.display()))
}

fn run_tests(python: &Path, seed: &Path) -> Outcome {
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "-p", "no:cacheprovider"]);
    tests.current_dir(root().join(PACKAGE)).env("TREELOCK_SEED", seed);
    execute(&mut tests)
}
