//! Every line of the READMEs that is shown to a shell is run, and prints what is shown.
//!
//! Each section has a place of its own: a home directory, in which the lock table is where it is
//! for a new user, and programs that stand in for those of the examples. What a reader must imagine
//! beside an example is started by a comment before it: `<!-- meanwhile: COMMAND -->`, or
//! `<!-- meanwhile -->` for the block that follows. Such a command is live when the next block
//! begins, and runs until the section ends.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    scene::{Done, Running, Scene, TREELOCK, has_started, until},
    timeless::timeless,
};

const README: &str = include_str!("../../README.md");
const CRATE: &str = env!("CARGO_MANIFEST_DIR");
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A block of a README.
#[derive(Default)]
struct Block {
    language: String,
    lines: Vec<String>,
    /// The line of its first line, for messages.
    number: usize,
    /// Commands that are started before it.
    before: Vec<String>,
    /// It is started and goes on.
    goes_on: bool,
}

/// Returns the blocks by section, with the heading of each.
fn sections(readme: &str) -> Vec<(String, Vec<Block>)> {
    let mut sections = vec![(String::new(), Vec::new())];
    let mut next = Block::default();
    let mut lines = readme.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
            next.lines = inside.map(str::to_owned).collect();
            (next.language, next.number) = (language.to_owned(), number + 1);
            sections.last_mut().unwrap().1.push(std::mem::take(&mut next));
        } else if line.starts_with('#') {
            sections.push((line.to_owned(), Vec::new()));
        } else if line == "<!-- meanwhile -->" {
            next.goes_on = true;
        } else if let Some(rest) = line.strip_prefix("<!-- meanwhile: ") {
            next.before.push(rest.strip_suffix(" -->").expect("a comment on one line").to_owned());
        } else {
            let hides =
                ["```", "~~~", "<!--"].iter().any(|mark| line.trim_start().starts_with(mark));
            assert!(!hides, "line {number} hides something from this test: {line}");
        }
    }
    sections
}

/// Where a section's lines run.
struct Place {
    scene: Scene,
    home: PathBuf,
    running: Vec<Running>,
    /// Of a section about clusters.
    cluster: Option<Cluster>,
}

/// The members, where the README names some.
const MEMBERS: &str = "10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379";
const HOST: &str = "build-1";

#[cfg(feature = "etcd")]
use crate::server::Cluster;

/// What stands for a cluster in tests of a binary that knows none.
#[cfg(not(feature = "etcd"))]
struct Cluster;

#[cfg(not(feature = "etcd"))]
impl Cluster {
    fn start(_: usize) -> Option<Cluster> {
        eprintln!("SKIPPED: these tests were built without the feature `etcd`");
        None
    }

    fn endpoints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Programs of the examples. They do nothing; for what goes on meanwhile they wait until their
/// input is closed.
const STAND_INS: [&str; 8] =
    ["agent", "backup.sh", "cargo", "deploy.sh", "git", "jq", "make", "terraform"];
const STAND_IN: &str = "#!/bin/sh
test \"$1\" != rev-parse || pwd
test -z \"$GOES_ON\" || read line
";
const SUDO: &str = "#!/bin/sh\nexec \"$@\"\n";

impl Place {
    fn new() -> Place {
        Place::with(Scene::new(), None)
    }

    /// A place for the lines of the section with this heading; `None` if there is none on this
    /// machine.
    fn of(heading: &str) -> Option<Place> {
        if !heading.contains("cluster") {
            return Some(Place::new());
        }
        let cluster = Cluster::start(1)?;
        Some(Place::with(Scene::on(&cluster.endpoints()), Some(cluster)))
    }

    fn with(scene: Scene, cluster: Option<Cluster>) -> Place {
        let home = scene.dir().canonicalize().unwrap().join("home");
        fs::create_dir_all(home.join("project/src/lib")).unwrap();
        fs::create_dir_all(home.join(".cargo/bin")).unwrap();
        fs::create_dir_all(home.join("bin")).unwrap();
        symlink(TREELOCK, home.join(".cargo/bin/treelock")).unwrap();
        for (name, script) in
            STAND_INS.map(|name| (name, STAND_IN)).into_iter().chain([("sudo", SUDO)])
        {
            let program = home.join("bin").join(name);
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("../bin/deploy.sh", home.join("project/deploy.sh")).unwrap();
        Place { scene, home, running: Vec::new(), cluster }
    }

    fn shell(&self, script: &str) -> Command {
        let home = self.home.to_str().unwrap();
        let group = Command::new("id").arg("-g").output().unwrap().stdout;
        let group = String::from_utf8(group).unwrap();
        let script = script.replace("/srv/", &format!("{home}/")).replace("builders", group.trim());
        let members =
            self.cluster.iter().flat_map(Cluster::endpoints).collect::<Vec<_>>().join(",");
        let script = script.replace(MEMBERS, &members.replace("http://", ""));
        let mut shell = Command::new("env");
        shell.args(["--default-signal", "sh", "-c", &script]);
        self.scene.environment(&mut shell);
        let path = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{home}/bin:{home}/.cargo/bin:{path}"));
        shell.env("HOME", home).env_remove("XDG_STATE_HOME").env_remove("TREELOCK_DIR");
        shell.current_dir(self.home.join("project"));
        shell
    }

    /// Runs a script to its end.
    fn run(&self, script: &str) -> Done {
        Done(self.shell(script).stdin(std::process::Stdio::null()).output().unwrap())
    }

    /// Starts what goes on; returns when it waits, or its command runs.
    fn start(&mut self, command: &str) {
        let mut shell = self.shell(&format!("exec {command}"));
        let running = Running::start(shell.env("GOES_ON", "1"));
        let pid = running.id();
        self.running.push(running);
        until(&format!("`{command}` waits or runs"), || {
            let listing = self.run("treelock ls --json").stdout();
            let listing: Value = serde_json::from_str(&listing).unwrap();
            let mut requests = listing["requests"].as_array().unwrap().iter();
            let request = requests.find(|request| request["pid"] == pid);
            request.is_some_and(|request| request["state"] == "waiting" || has_started(pid))
        });
    }

    /// Runs a block of commands; each must succeed and have nothing to complain about.
    fn commands(&self, commands: &str) -> Result<(), String> {
        let done = self.run(&format!("set -eu\n{commands}\necho; echo all of it"));
        let whole = done.code() == 0 && done.stdout().ends_with("\nall of it\n");
        match whole && done.stderr().is_empty() {
            true => Ok(()),
            false => Err(format!("{commands}\nended with {}: {}", done.code(), done.stderr())),
        }
    }

    /// Runs a block of commands after `$ `, one after the other in one shell, and compares what
    /// they print.
    fn console(&self, lines: &[String]) -> Result<(), String> {
        const END: &str = "--- that was all of it";
        let mut shown: Vec<(&str, String)> = Vec::new();
        for line in lines {
            match (line.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => shown.push((command, String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => return Err(format!("{line:?} is printed by no command")),
            }
        }
        let mut script = String::from("exec 2>&1\n");
        for (command, _) in &shown {
            script += &format!("{command}\ncode=$?; echo '{END}'; (exit $code)\n");
        }
        let printed = self.run(&script).stdout().replace(self.home.to_str().unwrap(), "/home/you");
        let printed: Vec<&str> = printed.split(&format!("{END}\n")).collect();
        if printed.len() != shown.len() + 1 {
            return Err(format!("{} of {} commands were run", printed.len() - 1, shown.len()));
        }
        for ((command, shown), printed) in shown.iter().zip(printed) {
            let (mut shown, mut printed) = (same_everywhere(shown), same_everywhere(printed));
            if self.cluster.is_some() {
                let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
                printed = printed.replace(&format!(" on {host})"), &format!(" on {HOST})"));
                (shown, printed) = (without_tickets(&shown), without_tickets(&printed));
            }
            if shown != printed {
                return Err(format!("$ {command}\nprints\n{printed}and not\n{shown}"));
            }
        }
        Ok(())
    }
}

/// A text without what differs from run to run and from machine to machine.
fn same_everywhere(text: &str) -> String {
    const ON: &str = "\" is on ";
    let mut parts = timeless(text);
    if let Some((before, after)) = parts.split_once(ON) {
        let after = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        parts = format!("{before}{ON}a file system{after}");
    }
    parts
}

/// On a cluster tickets are revisions, which others count on, too.
fn without_tickets(text: &str) -> String {
    let mut parts = text.split('#');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "#" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Runs all blocks of a README; returns how many lines were run.
fn run(sections: Vec<(String, Vec<Block>)>) -> Result<usize, String> {
    let mut lines = 0;
    for (heading, blocks) in sections.into_iter().filter(|(_, blocks)| !blocks.is_empty()) {
        let Some(mut place) = Place::of(&heading) else { continue };
        for block in blocks {
            let number = block.number;
            lines += run_block(&mut place, &heading, &block)
                .map_err(|wrong| format!("line {number}, {heading:?}: {wrong}"))?;
        }
    }
    Ok(lines)
}

fn run_block(place: &mut Place, heading: &str, block: &Block) -> Result<usize, String> {
    block.before.iter().for_each(|command| place.start(command));
    let text = block.lines.join("\n");
    if block.goes_on {
        return match block.lines.len() {
            1 => {
                place.start(&text);
                Ok(1)
            }
            lines => Err(format!("only one of {lines} lines can go on")),
        };
    }
    match &*block.language {
        "sh" => {
            let (installs, rest): (Vec<_>, Vec<_>) =
                block.lines.iter().partition(|line| line.starts_with("cargo install "));
            installs.into_iter().try_for_each(|line| installs_this(line))?;
            place
                .commands(&rest.into_iter().map(|line| format!("{line}\n")).collect::<String>())?;
        }
        "console" => place.console(&block.lines)?,
        // What these say around their commands is not ours; the commands are.
        "make" => in_a_file(place, block, "", |line| line.strip_prefix('\t'))?,
        "yaml" => in_a_file(place, block, "JOB=7", |line| line.strip_prefix("  - run: "))?,
        "crontab" => in_a_file(place, block, "PATH=/usr/bin:/bin", |line| {
            line.strip_prefix("*/10 * * * * ")
        })?,
        // What tests of the binary hold to the code that draws it.
        "screen" => return Ok(0),
        // A schema, which `schema.rs` holds all output to.
        "json" if heading.starts_with("#### `") => return Ok(0),
        other => return Err(format!("nothing here runs a block of {other:?}")),
    }
    Ok(block.lines.len())
}

/// Runs the commands that another program's file names, with what that program sets for them.
fn in_a_file(
    place: &Place,
    block: &Block,
    set: &str,
    command: impl Fn(&str) -> Option<&str>,
) -> Result<(), String> {
    let commands: Vec<&str> = block.lines.iter().filter_map(|line| command(line)).collect();
    let others = block.lines.iter().filter(|line| command(line).is_none());
    if others.clone().any(|line| line.contains("treelock ")) || commands.is_empty() {
        return Err(format!("not all commands were found: {commands:?}"));
    }
    commands.iter().try_for_each(|command| place.commands(&format!("{set}\n{command}")))
}

/// Holds a line that installs to this crate's name, and its binary's.
fn installs_this(line: &str) -> Result<(), String> {
    let what = line.strip_prefix("cargo install ").unwrap();
    let (what, feature) = match what.strip_suffix(" --features etcd") {
        Some(what) => (what, "etcd = ["),
        None => (what, ""),
    };
    let name = format!("name = {:?}", env!("CARGO_PKG_NAME"));
    let manifest = match what.strip_prefix("--path ") {
        None if what == env!("CARGO_PKG_NAME") => Path::new(CRATE).join("Cargo.toml"),
        None => return Err(format!("{what:?} is not this crate")),
        // A package of this crate has no workspace to look at.
        Some(_) if !Path::new(WORKSPACE).join("Cargo.toml").exists() => return Ok(()),
        Some(path) => Path::new(WORKSPACE).join(path).join("Cargo.toml"),
    };
    let text = fs::read_to_string(&manifest).map_err(|error| format!("{manifest:?}: {error}"))?;
    let has = |line: &str| text.lines().any(|other| other == line);
    let has_feature = text.lines().any(|line| line.starts_with(feature));
    match has(&name) && has_feature && has("[[bin]]") && has("name = \"treelock\"") {
        true => Ok(()),
        false => Err(format!("{manifest:?} makes no binary `treelock`")),
    }
}

#[test]
fn every_line_of_the_readme() {
    let lines = run(sections(README)).unwrap_or_else(|wrong| panic!("README.md: {wrong}"));
    assert!(lines > 60, "{lines}");
}

#[test]
fn what_the_readme_of_the_workspace_shows_of_the_command() {
    // A package of this crate has none.
    let Ok(readme) = fs::read_to_string(Path::new(WORKSPACE).join("README.md")) else { return };
    let mut sections = sections(&readme);
    for (_, blocks) in &mut sections {
        blocks.retain(|block| {
            let is_shell = block.language == "sh" || block.language == "console";
            is_shell && block.lines.iter().any(|line| line.contains("treelock run "))
        });
        // The first goes on while the others show what it does to them.
        if let [first, _, ..] = &mut blocks[..] {
            first.goes_on = true;
        }
    }
    let lines = run(sections).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(lines > 8, "{lines}");
}

#[test]
fn what_is_not_run_or_not_true_is_found() {
    let wrong = |readme: &str| run(sections(readme)).unwrap_err();
    let good = "```console\n$ treelock who a; echo $?\nwrite /a would be granted at once\n0\n```\n";
    assert_eq!(run(sections(good)), Ok(3));
    assert!(wrong(&good.replace("/a", "/b")).contains("prints\nwrite /a would"));
    assert!(wrong(&good.replace("console", "text")).contains("nothing here runs"));
    assert!(wrong(&good.replace("console", "json")).contains("nothing here runs"));
    assert!(wrong("```console\n$ exit\n$ treelock ls\n```\n").contains("0 of 2 commands"));
    assert!(wrong("```sh\ntreelock no-such\n```\n").contains("ended with 64"));
    assert!(wrong("```sh\nexit 0\ntreelock ls\n```\n").contains("ended with 0"));
    assert!(wrong("```sh\nno-such-agent & wait\n```\n").contains("not found"));
    assert!(wrong("```sh\ncargo install treelock\n```\n").contains("is not this crate"));
    assert!(wrong("```sh\ncargo install --path crates/treelock\n```\n").contains("no binary"));
    assert!(wrong("```make\ntreelock ls\n```\n").contains("not all commands were found"));
}

#[test]
fn every_example_of_the_help() {
    let place = Place::new();
    let mut count = 0;
    for name in ["", "run", "hold", "ls"] {
        let help = place.run(&format!("treelock {name} --help")).stdout();
        let examples = help.split_once("\nExamples:\n").unwrap().1.lines();
        for example in examples.map_while(|line| line.strip_prefix("  ")) {
            count += 1;
            // What goes on until Ctrl-C has tests in a terminal.
            if !example.contains("--watch") {
                assert_eq!(place.run(example).code(), 0, "{example}");
            }
        }
    }
    assert_eq!(count, 16);
}

/// Options are named in sentences too.
#[test]
fn every_option_of_the_readme_is_one() {
    let scene = Scene::new();
    let subcommands =
        ["run", "hold", "release", "ls", "who", "break", "doctor", "completions", "man"];
    let help: String = subcommands.map(|name| scene.done(&[name, "--help"]).stdout()).concat();
    let options = README.split('`').flat_map(str::split_whitespace);
    let options = options.map(|word| word.trim_matches(['[', ']', '…', ',', '.']));
    let is_option =
        |word: &&str| word.starts_with("--") && word[2..].starts_with(char::is_alphabetic);
    let options = options.filter(is_option);
    // These are of other programs: git and cargo.
    let mut others = vec!["--show-toplevel", "--path", "--features"];
    if cfg!(not(feature = "etcd")) {
        others.extend(["--etcd", "--namespace", "--ttl", "--ca", "--cert", "--key", "--user"]);
        others.extend(["--password", "--begin-epoch"]);
    }
    let options = options
        .filter(|word| !others.iter().any(|other| word.starts_with(other)) || *word == "--paths");
    let mut count = 0;
    for option in options {
        count += 1;
        assert!(
            help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
            "{option}"
        );
    }
    assert!(count > 20, "{count}");
}
